//! Label selectors and node selector terms, as in Kubernetes.

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::cluster::{Expression, LabelSelector, Labels, Name, Operator};

use super::decode::List;
use super::meta::{StringMap, nullable};
use super::plain::echo;

/// The most expressions of a selector or term, and the most values of an expression.
pub(crate) const MAX_EXPRESSIONS: usize = 4096;

/// An expression as it is written.
#[derive(Deserialize)]
pub(crate) struct Requirement {
    #[serde(default, deserialize_with = "nullable")]
    pub key: String,
    #[serde(default, deserialize_with = "nullable")]
    pub operator: String,
    #[serde(default, deserialize_with = "nullable")]
    pub values: List<Name, MAX_EXPRESSIONS>,
}

impl Requirement {
    /// The expression, or `None` if Kubernetes can't evaluate it.
    pub fn expression(&self) -> Option<Expression> {
        let count = self.values.0.len();
        let is_number = |value: &Name| value.parse::<i64>().is_ok();
        let (operator, usable) = match &*self.operator {
            "In" => (Operator::In, count > 0),
            "NotIn" => (Operator::NotIn, count > 0),
            "Exists" => (Operator::Exists, count == 0),
            "DoesNotExist" => (Operator::DoesNotExist, count == 0),
            "Gt" => (Operator::Gt, count == 1 && self.values.0.iter().all(is_number)),
            "Lt" => (Operator::Lt, count == 1 && self.values.0.iter().all(is_number)),
            _ => return None,
        };
        usable.then(|| Expression {
            key: self.key.as_str().into(),
            operator,
            values: self.values.0.as_slice().into(),
        })
    }
}

/// A label selector.
#[derive(Default)]
pub(crate) struct Selector(LabelSelector);

impl From<Selector> for LabelSelector {
    fn from(selector: Selector) -> Self {
        selector.0
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Written {
            #[serde(default, deserialize_with = "nullable")]
            match_labels: StringMap,
            #[serde(default, deserialize_with = "nullable")]
            match_expressions: List<Requirement, MAX_EXPRESSIONS>,
        }
        let Written { match_labels, match_expressions } = Written::deserialize(deserializer)?;
        let expressions = match_expressions.0.into_iter().enumerate().map(|(at, requirement)| {
            let written = format!("{} {}", requirement.key, requirement.operator);
            let described = echo(written.trim());
            // Only node selector terms know Gt and Lt.
            requirement
                .expression()
                .filter(|it| !matches!(it.operator, Operator::Gt | Operator::Lt))
                .ok_or_else(|| {
                    // The dot says that this extends the path.
                    D::Error::custom(format_args!(
                        ".matchExpressions[{at}]: Invalid value: {described}: must be In or NotIn \
                         with values, or Exists or DoesNotExist without values"
                    ))
                })
        });
        Ok(Self(LabelSelector {
            labels: match_labels.iter().collect::<Labels>(),
            expressions: expressions.collect::<Result<_, _>>()?,
        }))
    }
}
