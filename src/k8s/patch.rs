//! Minimal JSON patches (RFC 6902): they add and remove single members and elements, and never
//! replace a map or list that is not empty.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cluster::{Kind, MGMT, Name};
use crate::decide::placement::{LABEL_PREFIX, Placement, Term, TermEdit};
use crate::decide::review::Edits;

use super::affinity::Affinity;
use super::cni;
use super::decode::{Malformed, read_text};
use super::harvester::{CLUSTER_NETWORK_LABEL, NadSpec};
use super::meta::{Annotations, MATCHED_NODES, StringMap, nullable};

/// The longest list of covered hosts, in bytes. Kubernetes refuses an object whose annotations
/// exceed 256 KiB together. A longer list is left out: it is for other programs, and we never read
/// it.
const MAX_MATCHED: usize = 200 << 10;
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

/// The parts of an object that a patch depends on, since `add` fails if a parent is missing.
pub(super) enum PatchTarget {
    /// The object is not patched.
    None,
    /// A network config.
    NetworkConfig(Maps),
    /// A VM network, and its CNI configuration.
    VmNetwork(Maps, String),
    /// A VM's template or a VMI: the path of its spec, and its affinity.
    Placed(&'static [&'static str], Option<Affinity>),
}

/// An object's labels and annotations. A missing map is `None`, since the patch must add it first.
#[derive(Deserialize)]
pub(super) struct Maps {
    labels: Option<StringMap>,
    annotations: Option<Annotations>,
}

impl PatchTarget {
    /// Reads the target of a patch and, for a VM or VMI, its node selector terms.
    pub(super) fn of(kind: Kind, object: &str) -> Result<(Self, Option<Vec<Term>>), Malformed> {
        #[derive(Deserialize)]
        struct WithMaps {
            metadata: Maps,
        }
        #[derive(Deserialize)]
        struct VmNetwork {
            metadata: Maps,
            #[serde(default, deserialize_with = "nullable")]
            spec: NadSpec,
        }
        #[derive(Deserialize)]
        struct Vm {
            spec: VmSpec,
        }
        #[derive(Deserialize)]
        struct VmSpec {
            template: Vmi,
        }
        #[derive(Deserialize)]
        struct Vmi {
            spec: PlacedSpec,
        }
        #[derive(Deserialize)]
        struct PlacedSpec {
            affinity: Option<Affinity>,
        }
        let placed = |path, PlacedSpec { affinity }| {
            let terms = affinity.as_ref().and_then(Affinity::terms);
            let terms = terms.map(|terms| terms.0.iter().map(Term::from).collect());
            (Self::Placed(path, affinity), terms)
        };
        Ok(match kind {
            Kind::NetworkConfig => {
                (Self::NetworkConfig(read_text::<WithMaps>(object)?.metadata), None)
            }
            Kind::VmNetwork => {
                let VmNetwork { metadata, spec } = read_text(object)?;
                (Self::VmNetwork(metadata, spec.config), None)
            }
            Kind::Vm => {
                let vm: Vm = read_text(object)?;
                placed(&["spec", "template", "spec"], vm.spec.template.spec)
            }
            Kind::Vmi => placed(&["spec"], read_text::<Vmi>(object)?.spec),
            _ => (Self::None, None),
        })
    }

    /// The patch for these edits.
    pub(super) fn patch(&self, edits: &Edits) -> Patch {
        let mut operations = Operations::default();
        match (self, edits) {
            (Self::NetworkConfig(maps), Edits::NetworkConfig { cluster_network, covered }) => {
                network_config(&mut operations, maps, cluster_network, covered);
            }
            (Self::VmNetwork(maps, config), Edits::VmNetwork { labels, mtu }) => {
                vm_network(&mut operations, maps, labels);
                if let Some(config) = mtu.and_then(|mtu| cni::with_mtu(config, mtu)) {
                    operations.add(&["spec", "config"], config.into());
                }
            }
            (Self::Placed(path, present), Edits::Affinity(placement)) => {
                affinity(&mut operations, path, present.as_ref(), placement);
            }
            _ => {}
        }
        Patch(operations.0)
    }
}

/// Sets a network config's label and its list of covered hosts.
fn network_config(
    operations: &mut Operations,
    maps: &Maps,
    cluster_network: &str,
    covered: &[Name],
) {
    let hosts = json!(covered).to_string();
    let hosts = Some(&*hosts).filter(|hosts| hosts.len() <= MAX_MATCHED);
    let label = maps.labels.as_ref().map(|labels| labels.get(CLUSTER_NETWORK_LABEL));
    let matched = maps.annotations.as_ref().map(|annotations| annotations.get(MATCHED_NODES));
    for (map, is, key, should) in [
        ("labels", label, CLUSTER_NETWORK_LABEL, Some(cluster_network)),
        ("annotations", matched, MATCHED_NODES, hosts),
    ] {
        match should {
            _ if is.flatten() == should => {}
            Some(should) if is.is_some() => {
                operations.add(&["metadata", map, key], should.into());
            }
            Some(should) => operations.add(&["metadata", map], json!({ key: should })),
            None => operations.remove(&["metadata", map, key]),
        }
    }
}

/// Sets and takes away a VM network's labels. `labels` has the names without their prefix.
fn vm_network(operations: &mut Operations, maps: &Maps, labels: &[(&str, Option<String>)]) {
    let is = |name: &str| maps.labels.as_ref().and_then(|labels| labels.get(name));
    let wrong: Vec<(String, Option<&str>)> = labels
        .iter()
        .map(|(name, value)| (format!("{LABEL_PREFIX}{name}"), value.as_deref()))
        .filter(|(name, value)| is(name) != *value)
        .collect();
    if maps.labels.is_some() {
        for (name, value) in wrong {
            let path = ["metadata", "labels", &name];
            match value {
                Some(value) => operations.add(&path, value.into()),
                None => operations.remove(&path),
            }
        }
    } else if !wrong.is_empty() {
        operations.add(&["metadata", "labels"], wrong.into_iter().collect());
    }
}

/// Edits the node affinity of a VM's template or a VMI.
fn affinity(
    operations: &mut Operations,
    path: &[&str],
    present: Option<&Affinity>,
    placement: &Placement,
) {
    let node_affinity = present.and_then(|it| it.node_affinity.as_ref());
    let required = node_affinity.and_then(|it| it.required.as_ref());
    let terms = required.and_then(|it| it.terms.as_ref());
    let to = [path, &["affinity", "nodeAffinity", REQUIRED, "nodeSelectorTerms"]].concat();
    let made = |networks: &[Name]| json!({ "matchExpressions": requirements(networks) });
    match placement {
        Placement::Right => {}
        Placement::Make(networks) => {
            let terms = json!([made(networks)]);
            // Only the missing part of the path is added.
            let missing = [present.is_none(), node_affinity.is_none(), required.is_none(), true];
            let depth = missing.iter().position(|missing| *missing).unwrap_or_default();
            let (at, rest) = to.split_at(path.len() + depth + 1);
            let value = rest.iter().rev().fold(terms, |value, name| json!({ *name: value }));
            operations.add(at, value);
        }
        Placement::Drop => operations.remove(to.split_last().map_or(&[], |(_, parents)| parents)),
        Placement::Edit { edits, make } => {
            // From the last to the first: a removal shifts only the terms that were edited already.
            for (position, edit) in edits.iter().rev() {
                let has_list = terms
                    .and_then(|terms| terms.0.get(*position))
                    .is_some_and(|term| term.match_expressions.is_some());
                edit_term(operations, &to, *position, edit, has_list);
            }
            if !make.is_empty() {
                operations.add(&[&*to, &["-"]].concat(), made(make));
            }
        }
    }
}

fn edit_term(
    operations: &mut Operations,
    terms: &[&str],
    position: usize,
    edit: &TermEdit,
    has_list: bool,
) {
    let position = position.to_string();
    let term = [terms, &[&*position]].concat();
    let TermEdit::Change { remove, add } = edit else {
        operations.remove(&term);
        return;
    };
    let list = [&*term, &["matchExpressions"]].concat();
    for place in remove.iter().rev() {
        operations.remove(&[&*list, &[&*place.to_string()]].concat());
    }
    if has_list {
        for requirement in requirements(add) {
            operations.add(&[&*list, &["-"]].concat(), requirement);
        }
    } else {
        operations.add(&list, requirements(add).into());
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
