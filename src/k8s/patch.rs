//! Minimal JSON patches (RFC 6902): they add and remove single members and elements, and never
//! replace a map or a list that has anything in it.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::cluster::{MGMT, Name, NetworkConfig};
use crate::decide::needs::Needs;
use crate::decide::placement::{LABEL_PREFIX, Placement, Term, TermEdit, place, required_network};

use super::cni;
use super::harvester::{CLUSTER_NETWORK_LABEL, MATCHED_NODES, NetworkAttachmentDefinition};
use super::meta::StringMap;
use super::objects::read;

/// How long the list of covered hosts may be, in bytes. Kubernetes refuses an object whose
/// annotations are larger than 256 KiB together; a longer list is left out, since it is for other
/// programs and never read by us.
const MOST_MATCHED: usize = 200 << 10;
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

#[derive(Default)]
struct Operations(Vec<PatchOperation>);

impl Operations {
    fn add(&mut self, path: &[&str], value: Value) {
        let path = PointerBuf::from_tokens(path.iter().copied());
        self.0.push(PatchOperation::Add(AddOperation { path, value }));
    }

    fn remove(&mut self, path: &[&str]) {
        let path = PointerBuf::from_tokens(path.iter().copied());
        self.0.push(PatchOperation::Remove(RemoveOperation { path }));
    }
}

/// An object's maps, those that are missing told from those that are empty.
#[derive(Deserialize)]
struct Labelled {
    metadata: Maps,
}

#[derive(Deserialize)]
struct Maps {
    labels: Option<StringMap>,
    annotations: Option<StringMap>,
}

/// Sets a network config's label and its list of covered hosts. One of `mgmt`, or one that is
/// being deleted, is left alone.
///
/// # Errors
/// Says which field of the object can't be read.
pub fn network_config(
    object: &str,
    facts: &NetworkConfig,
    covered: &[&Name],
) -> Result<Patch, String> {
    let mut operations = Operations::default();
    if !facts.counts() {
        return Ok(Patch(operations.0));
    }
    let Labelled { metadata: maps } = read(&mut serde_json::Deserializer::from_str(object))?;
    let hosts = json!(covered).to_string();
    let hosts = Some(&*hosts).filter(|hosts| hosts.len() <= MOST_MATCHED);
    let network = Some(&*facts.cluster_network);
    for (map, members, key, should) in [
        ("labels", maps.labels, CLUSTER_NETWORK_LABEL, network),
        ("annotations", maps.annotations, MATCHED_NODES, hosts),
    ] {
        let is = members.as_ref().and_then(|members| members.get(key));
        match should {
            _ if is == should => {}
            Some(should) if members.is_some() => {
                operations.add(&["metadata", map, key], should.into());
            }
            Some(should) => operations.add(&["metadata", map], json!({ key: should })),
            None => operations.remove(&["metadata", map, key]),
        }
    }
    Ok(Patch(operations.0))
}

/// Sets a VM network's labels, by the last part of their names, and the MTU in its configuration.
///
/// # Errors
/// Says which field of the object can't be read.
pub fn vm_network(
    object: &str,
    labels: &[(&str, String)],
    mtu: Option<i64>,
) -> Result<Patch, String> {
    let network: NetworkAttachmentDefinition =
        read(&mut serde_json::Deserializer::from_str(object))?;
    let Labelled { metadata } = read(&mut serde_json::Deserializer::from_str(object))?;
    let mut operations = Operations::default();
    let wrong: Vec<(String, &str)> = labels
        .iter()
        .map(|(name, value)| (format!("{LABEL_PREFIX}{name}"), &**value))
        .filter(|(name, value)| network.metadata.label(name) != Some(value))
        .collect();
    if metadata.labels.is_some() {
        for (name, value) in wrong {
            operations.add(&["metadata", "labels", &name], value.into());
        }
    } else if !wrong.is_empty() {
        operations.add(&["metadata", "labels"], wrong.into_iter().collect());
    }
    if let Some(config) = mtu.and_then(|mtu| cni::with_mtu(&network.spec.config, mtu)) {
        operations.add(&["spec", "config"], config.into());
    }
    Ok(Patch(operations.0))
}

/// Puts right the node affinity of a VM's template.
///
/// # Errors
/// Says which field of the object can't be read.
pub fn vm_affinity(object: &str, needs: &Needs) -> Result<Patch, String> {
    #[derive(Deserialize)]
    struct Vm {
        spec: VmSpec,
    }
    #[derive(Deserialize)]
    struct VmSpec {
        template: Vmi,
    }
    let vm: Vm = read(&mut serde_json::Deserializer::from_str(object))?;
    Ok(affinity(&["spec", "template", "spec"], vm.spec.template.spec, needs))
}

/// Puts right the node affinity of a VMI.
///
/// # Errors
/// Says which field of the object can't be read.
pub fn vmi_affinity(object: &str, needs: &Needs) -> Result<Patch, String> {
    let vmi: Vmi = read(&mut serde_json::Deserializer::from_str(object))?;
    Ok(affinity(&["spec"], vmi.spec, needs))
}

/// A VMI, or a VM's template of one.
#[derive(Deserialize)]
struct Vmi {
    spec: Placed,
}

fn affinity(path: &[&str], Placed { affinity }: Placed, needs: &Needs) -> Patch {
    let node_affinity = affinity.as_ref().and_then(|it| it.node_affinity.as_ref());
    let required = node_affinity.and_then(|it| it.required.as_ref());
    let terms = required.and_then(|it| it.terms.as_ref());
    let facts: Option<Vec<Term>> = terms.map(|terms| terms.iter().map(Term::from).collect());

    let mut operations = Operations::default();
    let to = [path, &["affinity", "nodeAffinity", REQUIRED, "nodeSelectorTerms"]].concat();
    match place(needs, facts.as_deref()) {
        Placement::Right => {}
        Placement::Make(networks) => {
            let terms = json!([{ "matchExpressions": requirements(&networks) }]);
            // As much of the path is made as is missing.
            let missing = [affinity.is_none(), node_affinity.is_none(), required.is_none(), true];
            let present = missing.iter().position(|missing| *missing).unwrap_or_default();
            let (at, rest) = to.split_at(path.len() + present + 1);
            let value = rest.iter().rev().fold(terms, |value, name| json!({ *name: value }));
            operations.add(at, value);
        }
        Placement::Drop => operations.remove(to.split_last().map_or(&[], |(_, parents)| parents)),
        Placement::Edit(edits) => {
            // From the last to the first, so that no removal moves what is still to be edited.
            for (position, edit) in edits.into_iter().rev() {
                let has_list = terms
                    .and_then(|terms| terms.get(position))
                    .is_some_and(|term| term.match_expressions.is_some());
                edit_term(&mut operations, &to, position, edit, has_list);
            }
        }
    }
    Patch(operations.0)
}

fn edit_term(
    operations: &mut Operations,
    terms: &[&str],
    position: usize,
    edit: TermEdit,
    has_list: bool,
) {
    let position = position.to_string();
    let term = [terms, &[&*position]].concat();
    let TermEdit::Change { remove, add } = edit else {
        operations.remove(&term);
        return;
    };
    let list = [&*term, &["matchExpressions"]].concat();
    for place in remove.into_iter().rev() {
        operations.remove(&[&*list, &[&*place.to_string()]].concat());
    }
    if has_list {
        for requirement in requirements(&add) {
            operations.add(&[&*list, &["-"]].concat(), requirement);
        }
    } else {
        operations.add(&list, requirements(&add).into());
    }
}

fn requirements(networks: &[Name]) -> Vec<Value> {
    debug_assert!(networks.iter().all(|name| **name != *MGMT), "mgmt needs no requirement");
    networks
        .iter()
        .map(|name| {
            json!({ "key": format!("{LABEL_PREFIX}{name}"), "operator": "In", "values": ["true"] })
        })
        .collect()
}

#[derive(Deserialize)]
struct Placed {
    affinity: Option<Affinity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Affinity {
    node_affinity: Option<NodeAffinity>,
}

#[derive(Deserialize)]
struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Option<NodeSelector>,
}

#[derive(Deserialize)]
struct NodeSelector {
    #[serde(rename = "nodeSelectorTerms")]
    terms: Option<Vec<NodeSelectorTerm>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeSelectorTerm {
    match_expressions: Option<Vec<Requirement>>,
    match_fields: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
struct Requirement {
    #[serde(default)]
    key: String,
    #[serde(default)]
    operator: String,
    values: Option<Vec<String>>,
}

impl From<&NodeSelectorTerm> for Term {
    fn from(term: &NodeSelectorTerm) -> Self {
        let ours = |it: &Requirement| {
            required_network(&it.key, &it.operator, it.values.as_deref().unwrap_or_default())
        };
        Self {
            expressions: term.match_expressions.iter().flatten().map(ours).collect(),
            has_fields: term.match_fields.as_ref().is_some_and(|fields| !fields.is_empty()),
        }
    }
}
