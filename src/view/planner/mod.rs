//! The planner: from a form as far as it is filled in, to the objects to apply and what they would do.
//! Nothing is written.

mod cluster_network;
mod hosts;
mod network_config;
mod nics;
mod placement;
mod vm_network;

use std::fmt::{Display, Write as _};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cluster::is_dns_subdomain;
use crate::decide::first_of;
use crate::view::plan::PlanView;
use crate::view::table::turns;
use crate::view::{WriteError, to_yaml};

pub use cluster_network::ClusterNetworkForm;
pub use hosts::{Choices, HostsBy};
pub use network_config::{Known, NetworkConfigDraft, NetworkConfigForm};
pub use placement::PlacementForm;
pub use vm_network::VmNetworkForm;

/// The API version of cluster networks and network configs.
const API_VERSION: &str = "network.harvesterhci.io/v1beta1";

/// A form, and the objects that it describes so far.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{F}Draft")]
pub struct Draft<F> {
    /// The form as it is understood, with every field set.
    form: F,
    /// What is missing or wrong in the form. Until it is mended, there are no objects.
    problems: Vec<String>,
    /// The objects to apply.
    #[serde(skip)]
    objects: Vec<Value>,
}

impl<F> Draft<F> {
    fn new(form: F, problems: Vec<String>, objects: Vec<Value>) -> Self {
        let objects = if problems.is_empty() { objects } else { Vec::new() };
        Self { form, problems, objects }
    }

    /// The objects to apply; none while the form has problems.
    #[must_use]
    pub fn objects(&self) -> &[Value] {
        &self.objects
    }
}

/// A form, the objects to apply, and what they would do.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Planned{D}")]
pub struct Planned<D> {
    #[serde(flatten)]
    draft: D,
    /// The objects to apply, as YAML. Empty while the form has problems.
    yaml: String,
    /// What the objects would do; null while the form has problems.
    plan: Option<PlanView>,
}

impl<D> Planned<D> {
    /// A draft whose objects would do this.
    ///
    /// # Errors
    /// If the objects can't be written as YAML.
    pub fn new(draft: D, objects: &[Value], plan: Option<PlanView>) -> Result<Self, WriteError> {
        let documents = objects.iter().map(document).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { draft, yaml: documents.join("---\n"), plan })
    }
}

/// An object as YAML. One with a text that would be shown in another direction than it is written in
/// is JSON, which is YAML too, with these characters escaped.
fn document(object: &Value) -> Result<String, WriteError> {
    let yaml = to_yaml(object)?;
    if !yaml.contains(turns) {
        return Ok(yaml);
    }
    let mut json = String::new();
    for c in serde_json::to_string_pretty(object)?.chars() {
        if turns(c) {
            // Writing to a String can't fail.
            let _ = write!(json, "\\u{:04x}", u32::from(c));
        } else {
            json.push(c);
        }
    }
    Ok(json + "\n")
}

/// A cluster network that does not exist yet.
fn new_cluster_network(name: &str) -> Value {
    json!({ "apiVersion": API_VERSION, "kind": "ClusterNetwork", "metadata": { "name": name } })
}

/// What is wrong with the name of a new object, if anything is.
fn name_problem(what: &str, name: &str) -> Option<String> {
    if name.is_empty() {
        return Some(format!("give the {what} a name"));
    }
    (!is_dns_subdomain(name)).then(|| {
        format!(
            "{name:?} can't be the name of a {what}; use lower-case letters, digits and hyphens"
        )
    })
}

/// An existing object, without what only the API server may set.
fn editable(mut object: Value) -> Value {
    const SERVER_SET: [&str; 6] =
        ["managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"];
    const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in SERVER_SET {
            metadata.remove(field);
        }
        let annotations = metadata.get_mut("annotations").and_then(Value::as_object_mut);
        if annotations.is_some_and(|it| it.remove(LAST_APPLIED).is_some() && it.is_empty()) {
            metadata.remove("annotations");
        }
    }
    object
}

/// Sets a member of the object at `path`, whose missing parents are made, or removes it.
fn set(object: &mut Value, path: &[&str], value: Option<Value>) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut at = object;
    for parent in parents {
        if !at.get(*parent).is_some_and(Value::is_object) {
            if value.is_none() {
                return;
            }
            let Some(map) = at.as_object_mut() else { return };
            map.insert((*parent).to_owned(), json!({}));
        }
        let Some(next) = at.get_mut(*parent) else { return };
        at = next;
    }
    let Some(map) = at.as_object_mut() else { return };
    match value {
        Some(value) => {
            map.insert((*last).to_owned(), value);
        }
        None => {
            map.remove(*last);
        }
    }
}

/// The first names, which fit beside a NIC, and the number of the others.
fn listed(names: &[impl Display]) -> String {
    first_of(names, 5)
}
