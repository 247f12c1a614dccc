//! The form of a VM network: a new one, or a changed one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::cluster::{Cni, Key, Snapshot, VmNetwork, is_bridge_kind};
use crate::k8s::CLUSTER_NETWORK_LABEL;

use crate::view::page::trunk_texts;

use super::{Draft, editable, name_problem, set};

/// Harvester's label of a VM network that says of which type it is.
const TYPE_LABEL: &str = "network.harvesterhci.io/type";

/// How the VMs' traffic is tagged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Tagging {
    /// One VLAN, which the bridge tags.
    #[default]
    Vlan,
    /// None.
    Untagged,
    /// Several VLANs, which VMs tag themselves.
    Trunk,
}

/// The form of a VM network, as far as it is filled in.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct VmNetworkForm {
    /// The VM network to change, as NAMESPACE/NAME; null for a new one. If nothing else is given, the
    /// form is filled in with what the VM network has now.
    pub change: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    cluster_network: Option<String>,
    r#type: Option<Tagging>,
    /// The VLAN, for the type `vlan`.
    vlan: Option<i64>,
    /// The VLANs, for the type `trunk`, such as `1-100, 200`.
    trunk: Option<String>,
    /// The MTU in bytes; that of the cluster network, if this is left out.
    mtu: Option<i64>,
}

impl VmNetworkForm {
    /// The VM network to change.
    #[must_use]
    pub fn changed(&self) -> Option<Key> {
        let (namespace, name) = self.change.as_deref()?.split_once('/')?;
        Some(Key::in_namespace(namespace, name))
    }

    /// What the form describes so far. `existing` is the object to change.
    #[must_use]
    pub fn draft(self, snapshot: &Snapshot, existing: Option<Value>) -> Draft<Self> {
        let facts = self.changed().and_then(|key| snapshot.vm_network(&key));
        let form = match facts {
            Some(facts) if self.is_only_change() => self.filled(snapshot, facts),
            _ => self.with_defaults(),
        };
        let mut problems = form.problems(snapshot);
        if form.change.is_some() && existing.is_none() {
            let name = form.change.as_deref().unwrap_or_default();
            problems.insert(0, format!("there is no VM network {name}"));
        }
        let objects = match form.object(existing) {
            Ok(object) => vec![object],
            Err(problem) => {
                problems.push(problem);
                Vec::new()
            }
        };
        Draft::new(form, problems, objects)
    }

    fn is_only_change(&self) -> bool {
        let Self { change, namespace, name, cluster_network, r#type, vlan, trunk, mtu } = self;
        change.is_some()
            && (namespace, name, cluster_network, trunk) == (&None, &None, &None, &None)
            && (r#type.is_none() && vlan.is_none() && mtu.is_none())
    }

    fn filled(self, snapshot: &Snapshot, facts: &VmNetwork) -> Self {
        let key = self.changed();
        let cni = facts.bridge();
        let tagging = match cni {
            Some(cni) if !cni.trunk.is_empty() => Tagging::Trunk,
            Some(cni) if cni.vlan == 0 => Tagging::Untagged,
            _ => Tagging::Vlan,
        };
        let trunk = cni.into_iter().flat_map(|cni| &cni.trunk).flat_map(trunk_texts);
        Self {
            namespace: key.as_ref().and_then(Key::namespace).map(str::to_owned),
            name: key.as_ref().map(|key| key.name().to_owned()),
            cluster_network: snapshot.cluster_network_of(facts).map(|name| name.to_string()),
            r#type: Some(tagging),
            vlan: cni.map(|cni| cni.vlan).filter(|vlan| *vlan != 0),
            trunk: Some(trunk.collect::<Vec<_>>().join(", ")),
            mtu: cni.map(|cni: &Cni| cni.mtu).filter(|mtu| *mtu != 0),
            change: self.change,
        }
        .with_defaults()
    }

    fn with_defaults(mut self) -> Self {
        let key = self.changed();
        let namespace = key.as_ref().and_then(Key::namespace).unwrap_or("default");
        self.namespace.get_or_insert_with(|| namespace.to_owned());
        let name = key.as_ref().map(Key::name).unwrap_or_default();
        self.name.get_or_insert_with(|| name.to_owned());
        self.cluster_network.get_or_insert_default();
        self.r#type.get_or_insert_default();
        self.trunk.get_or_insert_default();
        self
    }

    fn problems(&self, snapshot: &Snapshot) -> Vec<String> {
        let mut problems = Vec::new();
        match self.cluster_network.as_deref().unwrap_or_default() {
            "" => problems.push("choose a cluster network".to_owned()),
            name if !snapshot.exists(name) => {
                problems.push(format!("there is no cluster network {name}; make it first"));
            }
            _ => {}
        }
        let (namespace, name) = (
            self.namespace.as_deref().unwrap_or_default(),
            self.name.as_deref().unwrap_or_default(),
        );
        problems.extend(name_problem("namespace", namespace));
        if self.change.is_none() {
            problems.extend(name_problem("VM network", name));
            if snapshot.vm_network(&Key::in_namespace(namespace, name)).is_some() {
                problems.push(format!(
                    "VM network {namespace}/{name} exists already; choose another name, or change \
                     that one"
                ));
            }
        }
        match self.r#type.unwrap_or_default() {
            Tagging::Vlan if self.vlan.is_none() => problems.push("give a VLAN".to_owned()),
            Tagging::Trunk => problems.extend(self.trunk_entries().err()),
            Tagging::Vlan | Tagging::Untagged => {}
        }
        problems
    }

    /// The entries of the trunk as a CNI configuration has them.
    fn trunk_entries(&self) -> Result<Vec<Value>, String> {
        let text = self.trunk.as_deref().unwrap_or_default();
        let parts: Vec<&str> =
            text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            return Err("give the VLANs of the trunk, such as 1-100, 200".to_owned());
        }
        let entry = |part: &&str| {
            let number = |text: &str| {
                text.trim()
                    .parse::<i64>()
                    .map_err(|_| format!("{part:?} is neither a VLAN nor a range such as 1-100"))
            };
            match part.split_once('-') {
                None => Ok(json!({ "id": number(part)? })),
                Some((from, to)) => Ok(json!({ "minID": number(from)?, "maxID": number(to)? })),
            }
        };
        parts.iter().map(entry).collect()
    }

    /// The object that the form describes.
    fn object(&self, existing: Option<Value>) -> Result<Value, String> {
        let (namespace, name) = (self.namespace.as_deref(), self.name.as_deref());
        let cluster_network = self.cluster_network.as_deref().unwrap_or_default();
        let tagging = self.r#type.unwrap_or_default();
        let mut object = existing.map_or_else(
            || {
                json!({
                    "apiVersion": "k8s.cni.cncf.io/v1",
                    "kind": "NetworkAttachmentDefinition",
                    "metadata": { "name": name, "namespace": namespace },
                    "spec": {},
                })
            },
            editable,
        );
        let written = object.pointer("/spec/config").and_then(Value::as_str).unwrap_or_default();
        let mut config: Value = if written.trim().is_empty() {
            json!({
                "cniVersion": "0.3.1",
                "name": name,
                "type": "bridge",
                "promiscMode": true,
                "ipam": {},
            })
        } else {
            serde_json::from_str(written)
                .map_err(|why| format!("spec.config of the VM network can't be read: {why}"))?
        };
        let plugin = plugin(&mut config)
            .ok_or("the VM network is no bridge, so that this form can't change it")?;
        let mut put = |key: &str, value: Option<Value>| {
            plugin.retain(|name, _| !name.eq_ignore_ascii_case(key));
            plugin.extend(value.map(|value| (key.to_owned(), value)));
        };
        put("bridge", Some(format!("{cluster_network}-br").into()));
        put("vlan", self.vlan.filter(|_| tagging == Tagging::Vlan).map(Value::from));
        let trunk = (tagging == Tagging::Trunk).then(|| self.trunk_entries()).transpose();
        put("vlanTrunk", trunk.unwrap_or_default().map(Value::from));
        put("mtu", self.mtu.map(Value::from));
        set(&mut object, &["spec", "config"], Some(config.to_string().into()));
        let labels = ["metadata", "labels"];
        let path = [&labels[..], &[CLUSTER_NETWORK_LABEL]].concat();
        set(&mut object, &path, Some(cluster_network.into()));
        let kind = match tagging {
            Tagging::Vlan => "L2VlanNetwork",
            Tagging::Untagged => "UntaggedNetwork",
            Tagging::Trunk => "L2VlanTrunkNetwork",
        };
        set(&mut object, &[&labels[..], &[TYPE_LABEL]].concat(), Some(kind.into()));
        Ok(object)
    }
}

/// The plug-in that counts: the only one, if it is a bridge or has no type, or the first bridge of a
/// list.
fn plugin(config: &mut Value) -> Option<&mut Map<String, Value>> {
    fn kind(plugin: &Map<String, Value>) -> Option<&str> {
        plugin.get("type").and_then(Value::as_str)
    }
    if config.get("plugins").is_some() {
        let plugins = config.get_mut("plugins")?.as_array_mut()?;
        let mut plugins = plugins.iter_mut().filter_map(Value::as_object_mut);
        return plugins.find(|it| kind(it).is_some_and(is_bridge_kind));
    }
    config.as_object_mut().filter(|it| kind(it).is_none_or(is_bridge_kind))
}
