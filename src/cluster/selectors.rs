//! Labels and what selects hosts by them: label selectors, and the node selector and required node
//! affinity of a VM. They hold as in Kubernetes.

use super::names::Name;

/// The labels of a host, or those that a network config's `nodeSelector` requires, as sorted
/// `key=value`. Neither the key nor the value of a label may contain `=`, so the text is
/// unambiguous.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels(pub(super) Box<[Name]>);

impl Labels {
    /// Returns whether all the labels in `required` are among these. With an empty `nodeSelector`
    /// that is true for every host.
    #[must_use]
    pub fn contain(&self, required: &Self) -> bool {
        required.0.iter().all(|pair| self.0.binary_search(pair).is_ok())
    }

    /// The labels that only one of the two has.
    pub(super) fn in_one_of<'s>(&'s self, other: &'s Self) -> Vec<&'s Name> {
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut only = Vec::new();
        loop {
            match (left.peek(), right.peek()) {
                (Some(one), Some(another)) if one == another => {
                    left.next();
                    right.next();
                }
                (Some(one), another) if another.is_none_or(|another| one < another) => {
                    only.extend(left.next());
                }
                (_, Some(_)) => only.extend(right.next()),
                (_, None) => return only,
            }
        }
    }

    /// The labels whose keys begin with `prefix`, each as the rest of its key and its value.
    pub fn under<'s>(&'s self, prefix: &'s str) -> impl Iterator<Item = (&'s str, &'s str)> {
        let from = self.0.partition_point(|pair| **pair < *prefix);
        let rest = self.0.get(from..).unwrap_or_default().iter();
        rest.map_while(move |pair| pair.strip_prefix(prefix)?.split_once('='))
    }

    /// The value of the label with this key, if there is one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let before = |pair: &Name| pair.bytes().lt(key.bytes().chain(*b"="));
        let at = self.0.partition_point(before);
        self.0.get(at)?.strip_prefix(key)?.strip_prefix('=')
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut pairs: Vec<Name> = pairs
            .into_iter()
            .map(|(key, value)| [key.as_ref(), "=", value.as_ref()].concat().into())
            .collect();
        pairs.sort_unstable();
        Self(pairs.into())
    }
}

/// An operator of an [`Expression`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// The label exists and has one of the values.
    In,
    /// The label is missing, or has none of the values.
    NotIn,
    /// The label exists.
    Exists,
    /// The label is missing.
    DoesNotExist,
    /// The label is a whole number greater than the only value.
    Gt,
    /// The label is a whole number less than the only value.
    Lt,
}

/// One expression about a label, or about the name of a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Expression {
    /// The label's key.
    pub key: Name,
    /// How the label is compared.
    pub operator: Operator,
    /// The values that the label is compared with.
    pub values: Box<[Name]>,
}

impl Expression {
    /// Returns whether the expression holds for a value; `None` stands for a missing label.
    #[must_use]
    pub fn holds(&self, value: Option<&str>) -> bool {
        let listed = || value.is_some_and(|value| self.values.iter().any(|it| **it == *value));
        let number = |text: &str| text.parse::<i64>().ok();
        let compared = |holds: fn(&i64, &i64) -> bool| match (value.and_then(number), &*self.values)
        {
            (Some(value), [limit]) => number(limit).is_some_and(|limit| holds(&value, &limit)),
            _ => false,
        };
        match self.operator {
            Operator::In => listed(),
            Operator::NotIn => !listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => compared(i64::gt),
            Operator::Lt => compared(i64::lt),
        }
    }
}

/// A label selector (`LabelSelector`). An empty one selects every host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// The labels in `matchLabels`.
    pub labels: Labels,
    /// The expressions in `matchExpressions`.
    pub expressions: Box<[Expression]>,
}

impl LabelSelector {
    /// Returns whether the selector selects an object with these labels.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        labels.contain(&self.labels)
            && self.expressions.iter().all(|it| it.holds(labels.get(&it.key)))
    }
}

/// The hosts that a VM's own `nodeSelector` and required node affinity allow. Requirements that
/// Lanekeeper adds are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HostChoice {
    /// The labels in `nodeSelector`.
    pub labels: Labels,
    /// The terms of the required node affinity, of which one must match; `None` if it requires
    /// nothing.
    pub terms: Option<Box<[HostTerm]>>,
}

/// A node selector term.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostTerm {
    /// The term matches no host: it is empty, or can't be understood.
    Never,
    /// All of the term's expressions must hold.
    All {
        /// The expressions in `matchExpressions`, about labels.
        labels: Box<[Expression]>,
        /// The expressions in `matchFields`, about the host's name.
        name: Box<[Expression]>,
    },
}

impl HostChoice {
    /// Returns whether every host is allowed.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether the host of this name and with these labels is allowed.
    #[must_use]
    pub fn allows(&self, name: &str, host: &Labels) -> bool {
        host.contain(&self.labels)
            && self.terms.as_ref().is_none_or(|terms| terms.iter().any(|it| it.matches(name, host)))
    }
}

impl HostTerm {
    fn matches(&self, host_name: &str, host: &Labels) -> bool {
        match self {
            Self::Never => false,
            Self::All { labels, name } => {
                labels.iter().all(|it| it.holds(host.get(&it.key)))
                    && name.iter().all(|it| it.holds(Some(host_name)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expression(key: &str, operator: Operator, values: &[&str]) -> Expression {
        let values = values.iter().map(|value| Name::from(*value)).collect();
        Expression { key: key.into(), operator, values }
    }

    #[test]
    fn expressions_hold_as_in_kubernetes() {
        let labels = Labels::from_iter([("a", "1"), ("ab", "x"), ("n", "10"), ("e", "")]);
        for (key, operator, values, holds) in [
            ("a", Operator::In, &["0", "1"][..], true),
            ("a", Operator::In, &["0"], false),
            ("z", Operator::In, &["1"], false),
            ("a", Operator::NotIn, &["1"], false),
            ("a", Operator::NotIn, &["0"], true),
            ("z", Operator::NotIn, &["1"], true),
            ("e", Operator::Exists, &[], true),
            ("z", Operator::Exists, &[], false),
            ("z", Operator::DoesNotExist, &[], true),
            ("ab", Operator::DoesNotExist, &[], false),
            ("n", Operator::Gt, &["9"], true),
            ("n", Operator::Gt, &["10"], false),
            ("n", Operator::Lt, &["11"], true),
            ("n", Operator::Lt, &["10"], false),
            ("ab", Operator::Gt, &["1"], false),
            ("n", Operator::Gt, &["x"], false),
            ("n", Operator::Gt, &["1", "2"], false),
            ("z", Operator::Lt, &["1"], false),
        ] {
            let it = expression(key, operator, values);
            assert_eq!(it.holds(labels.get(key)), holds, "{it:?}");
        }
    }

    #[test]
    fn one_term_must_match_and_an_empty_selector_allows_every_host() {
        let host = Labels::from_iter([("rack", "1")]);
        let term = |value: &str, name: &[&str]| HostTerm::All {
            labels: [expression("rack", Operator::In, &[value])].into(),
            name: name.iter().map(|it| expression("metadata.name", Operator::In, &[it])).collect(),
        };
        let choice = |labels: &[(&str, &str)], terms: Option<Vec<HostTerm>>| HostChoice {
            labels: labels.iter().copied().collect(),
            terms: terms.map(Into::into),
        };
        for (choice, allows) in [
            (choice(&[], None), true),
            (choice(&[("rack", "1")], None), true),
            (choice(&[("rack", "2")], None), false),
            (choice(&[], Some(vec![])), false),
            (choice(&[], Some(vec![HostTerm::Never])), false),
            (choice(&[], Some(vec![HostTerm::Never, term("1", &[])])), true),
            (choice(&[], Some(vec![term("1", &["h"])])), true),
            (choice(&[], Some(vec![term("1", &["other"])])), false),
            (choice(&[], Some(vec![term("2", &["h"])])), false),
            (choice(&[("rack", "2")], Some(vec![term("1", &[])])), false),
        ] {
            assert_eq!(choice.allows("h", &host), allows, "{choice:?}");
        }
        assert!(choice(&[], None).is_any() && !choice(&[], Some(vec![])).is_any());
    }
}
