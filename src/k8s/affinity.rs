//! The node selector and the required node affinity of a VM or VMI.

use serde::{Deserialize, Deserializer};

use crate::cluster::{Expression, HostChoice, HostTerm, Name, Operator};
use crate::decide::placement::{Term, required_network};

use super::decode::each;
use super::meta::{StringMap, nullable};
use super::selectors::Requirement;

/// The most memory of a required node affinity, in bytes. A review keeps it twice.
const MAX_BYTES: usize = 256 << 10;
/// The memory of a term, or of a requirement beside its texts: more than its JSON has bytes.
const PART: usize = 64;

/// The affinity of a VMI or of a VM's template. A missing member is `None`, since a patch must add
/// it first.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Affinity {
    pub node_affinity: Option<NodeAffinity>,
}

#[derive(Deserialize)]
pub(super) struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub required: Option<NodeSelector>,
}

#[derive(Deserialize)]
pub(super) struct NodeSelector {
    #[serde(rename = "nodeSelectorTerms")]
    pub terms: Option<NodeSelectorTerms>,
}

/// The terms, at most `MAX_BYTES` together.
pub(super) struct NodeSelectorTerms(pub Vec<NodeSelectorTerm>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeSelectorTerm {
    pub match_expressions: Option<Requirements>,
    #[serde(default, deserialize_with = "nullable")]
    match_fields: Requirements,
}

/// The requirements of a term, at most `MAX_BYTES` together.
#[derive(Default)]
pub(super) struct Requirements(Vec<Requirement>);

impl Requirements {
    fn size(&self) -> usize {
        self.0.iter().map(size).sum()
    }
}

impl<'de> Deserialize<'de> for Requirements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mut requirements, mut bytes) = (Vec::new(), 0);
        each(deserializer, |requirement: Requirement| {
            bytes += size(&requirement);
            requirements.push(requirement);
            within_limit(bytes)
        })?;
        Ok(Self(requirements))
    }
}

impl<'de> Deserialize<'de> for NodeSelectorTerms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mut terms, mut bytes) = (Vec::new(), 0);
        each(deserializer, |term: NodeSelectorTerm| {
            let expressions = term.match_expressions.as_ref().map_or(0, Requirements::size);
            bytes += PART + expressions + term.match_fields.size();
            terms.push(term);
            within_limit(bytes)
        })?;
        Ok(Self(terms))
    }
}

/// The memory of a requirement, in bytes.
fn size(Requirement { key, operator, values }: &Requirement) -> usize {
    let values: usize = values.0.iter().map(|value| PART + value.len()).sum();
    PART + key.len() + operator.len() + values
}

fn within_limit<E: serde::de::Error>(bytes: usize) -> Result<(), E> {
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(E::custom(format_args!(
        "the node affinity is larger than {MAX_BYTES} bytes in memory; remove terms or values"
    )))
}

impl Affinity {
    /// The terms of the required node affinity.
    pub fn terms(&self) -> Option<&NodeSelectorTerms> {
        self.node_affinity.as_ref()?.required.as_ref()?.terms.as_ref()
    }
}

/// The hosts that a node selector and a required node affinity allow, without what Lanekeeper
/// requires. A list of terms that is empty requires nothing: the mutation adds a term to it.
pub(super) fn host_choice(selector: &StringMap, affinity: Option<&Affinity>) -> HostChoice {
    let terms = affinity
        .and_then(Affinity::terms)
        .map(|terms| terms.0.iter().map(HostTerm::from).collect::<Box<[HostTerm]>>())
        // One term that restricts nothing allows every host, whatever the others say.
        .filter(|terms| !terms.is_empty() && !terms.iter().any(is_any));
    HostChoice { labels: selector.iter().collect(), terms }
}

fn is_any(term: &HostTerm) -> bool {
    matches!(term, HostTerm::All { labels, name } if labels.is_empty() && name.is_empty())
}

impl From<&NodeSelectorTerm> for HostTerm {
    fn from(term: &NodeSelectorTerm) -> Self {
        if Term::from(term).is_empty() {
            return Self::Never;
        }
        let expressions = term.match_expressions.iter().flat_map(|it| &it.0);
        let own = expressions.filter(|requirement| ours(requirement).is_none());
        let labels: Option<Box<[Expression]>> = own.map(Requirement::expression).collect();
        let fields = term.match_fields.0.iter();
        let name: Option<Box<[Expression]>> = fields.map(about_the_name).collect();
        match (labels, name) {
            (Some(labels), Some(name)) => Self::All { labels, name },
            _ => Self::Never,
        }
    }
}

/// The expression of an element of `matchFields`: Kubernetes evaluates only `In` and `NotIn` with
/// one value, of the host's name.
fn about_the_name(requirement: &Requirement) -> Option<Expression> {
    let is_name = requirement.key == "metadata.name" && requirement.values.0.len() == 1;
    let expression = requirement.expression().filter(|_| is_name)?;
    matches!(expression.operator, Operator::In | Operator::NotIn).then_some(expression)
}

/// The cluster network that a requirement of ours names.
fn ours(requirement: &Requirement) -> Option<Name> {
    required_network(&requirement.key, &requirement.operator, &requirement.values.0)
}

impl From<&NodeSelectorTerm> for Term {
    fn from(term: &NodeSelectorTerm) -> Self {
        Self {
            expressions: term.match_expressions.iter().flat_map(|it| &it.0).map(ours).collect(),
            has_fields: !term.match_fields.0.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::Labels;

    fn choice(selector: &Value, terms: &Value) -> HostChoice {
        let affinity = json!({ "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } } });
        let selector: StringMap = serde_json::from_value(selector.clone()).unwrap();
        host_choice(&selector, serde_json::from_value(affinity).ok().as_ref())
    }

    #[test]
    fn a_host_is_allowed_as_in_kubernetes_and_whatever_lanekeeper_requires() {
        let zone = |value: &str| json!({ "key": "zone", "operator": "In", "values": [value] });
        let name = |operator: &str, values: &[&str]| json!([{ "key": "metadata.name", "operator": operator, "values": values }]);
        let ours =
            json!({ "key": "network.harvesterhci.io/a", "operator": "In", "values": ["true"] });
        let mgmt =
            json!({ "key": "network.harvesterhci.io/mgmt", "operator": "In", "values": ["true"] });
        let odd = json!({ "key": "zone", "operator": "In", "values": [] });
        // Host h has the label zone=1.
        for (selector, terms, allowed) in [
            (json!({}), json!(null), true),
            (json!({}), json!([]), true),
            (json!({ "zone": "1" }), json!(null), true),
            (json!({ "zone": "2" }), json!(null), false),
            (json!({ "zone": "2" }), json!([{ "matchExpressions": [zone("1")] }]), false),
            (json!({}), json!([{ "matchExpressions": [zone("1")] }]), true),
            (json!({}), json!([{ "matchExpressions": [zone("2")] }]), false),
            (json!({}), json!([{ "matchExpressions": [zone("1"), zone("2")] }]), false),
            (
                json!({}),
                json!([{ "matchExpressions": [zone("2")] }, { "matchExpressions": [zone("1")] }]),
                true,
            ),
            (json!({}), json!([{}]), false),
            (json!({}), json!([{ "matchExpressions": [], "matchFields": [] }]), false),
            (json!({}), json!([{ "matchExpressions": [odd] }]), false),
            (json!({}), json!([{ "matchExpressions": [odd, zone("1")] }]), false),
            (json!({}), json!([{ "matchFields": name("In", &["h"]) }]), true),
            (json!({}), json!([{ "matchFields": name("In", &["other"]) }]), false),
            (json!({}), json!([{ "matchFields": name("NotIn", &["other"]) }]), true),
            (json!({}), json!([{ "matchFields": name("In", &["h", "other"]) }]), false),
            (json!({}), json!([{ "matchFields": name("Exists", &[]) }]), false),
            (json!({}), json!([{ "matchExpressions": [ours] }]), true),
            (json!({}), json!([{ "matchExpressions": [ours, zone("2")] }]), false),
            (json!({}), json!([{ "matchExpressions": [ours, odd] }]), false),
            (json!({}), json!([{ "matchExpressions": [mgmt] }]), false),
        ] {
            let labels: Labels = [("zone", "1")].into_iter().collect();
            let choice = choice(&selector, &terms);
            assert_eq!(choice.allows("h", &labels), allowed, "{selector} {terms}");
        }
        assert!(choice(&json!({}), &json!([{ "matchExpressions": [ours] }])).is_any());
    }

    #[test]
    fn an_affinity_has_a_limit() {
        let read =
            |text: &str| serde_json::from_str::<NodeSelectorTerms>(text).map(|it| it.0.len());
        let terms = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
        assert_eq!(read(&terms(4096)).unwrap(), 4096);
        assert!(read(&terms(4097)).unwrap_err().to_string().contains("larger than 262144 bytes"));
        // A term, two requirements and 4,092 values; the key takes the last bytes.
        let values = |key: &str| {
            let values = vec!["\"\""; 4092].join(",");
            format!(r#"[{{"matchExpressions":[{{}},{{"key":"{key}","values":[{values}]}}]}}]"#)
        };
        assert_eq!(read(&values(&"k".repeat(64))).unwrap(), 1);
        assert!(read(&values(&"k".repeat(65))).is_err());
    }
}
