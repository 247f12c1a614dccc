//! From an object to its kind, its key and its facts.

use serde::Deserializer;
use serde_json::Value;

use crate::cluster::{Change, Fact, Key, Kind, Now, ObjectRef};

use super::decode::{Decoder, Malformed, read};
use super::harvester::{
    ClusterNetworkObject, HostNetworkConfig, LinkMonitorObject, NetworkAttachmentDefinition,
    VlanConfig, VlanStatus,
};
use super::kubevirt::{VirtualMachine, VirtualMachineInstance, VirtualMachineInstanceMigration};
use super::meta::Object;
use super::node::{Namespace, Node};
use super::pods::Pod;

/// The kind of an object, or `None` if no decision can depend on it. The version does not matter:
/// all versions of a group have the fields that we read.
#[must_use]
pub fn kind_of(api_version: &str, kind: &str) -> Option<Kind> {
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let kind = Kind::ALL.into_iter().find(|known| known.kubernetes() == kind)?;
    (group == group_and_version(kind).0).then_some(kind)
}

/// The API group of a kind, and the version in which we read it.
#[must_use]
pub fn group_and_version(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::ClusterNetwork
        | Kind::NetworkConfig
        | Kind::UplinkStatus
        | Kind::LinkMonitor
        | Kind::HostNetwork => ("network.harvesterhci.io", "v1beta1"),
        Kind::VmNetwork => ("k8s.cni.cncf.io", "v1"),
        Kind::Vm | Kind::Vmi | Kind::Migration => ("kubevirt.io", "v1"),
        Kind::LauncherPod | Kind::Namespace | Kind::Host => ("", "v1"),
    }
}

/// Returns whether the metadata holds everything that we read of a kind.
#[must_use]
pub fn metadata_is_enough(kind: Kind) -> bool {
    matches!(kind, Kind::Host | Kind::Namespace)
}

/// The label selector that finds launcher pods.
pub const LAUNCHER_PODS: &str = "kubevirt.io=virt-launcher";

impl Decoder {
    /// Reads an object's facts. Returns `None` for a pod that is not a launcher pod.
    ///
    /// # Errors
    /// If a field can't be read. The error names it.
    pub fn facts<'de, D: Deserializer<'de>>(
        &self,
        kind: Kind,
        object: D,
    ) -> Result<Option<Fact>, Malformed> {
        Ok(Some(match kind {
            Kind::ClusterNetwork => {
                Fact::ClusterNetwork(self.read::<ClusterNetworkObject, _>(object)?)
            }
            Kind::NetworkConfig => Fact::NetworkConfig(self.read::<VlanConfig, _>(object)?),
            Kind::UplinkStatus => Fact::UplinkStatus(self.read::<VlanStatus, _>(object)?),
            Kind::LinkMonitor => Fact::LinkMonitor(self.read::<LinkMonitorObject, _>(object)?),
            Kind::HostNetwork => Fact::HostNetwork(self.read::<HostNetworkConfig, _>(object)?),
            Kind::VmNetwork => {
                Fact::VmNetwork(self.read::<NetworkAttachmentDefinition, _>(object)?)
            }
            Kind::Vm => Fact::Vm(self.read::<VirtualMachine, _>(object)?),
            Kind::Vmi => Fact::Vmi(self.read::<VirtualMachineInstance, _>(object)?),
            Kind::Migration => {
                Fact::Migration(self.read::<VirtualMachineInstanceMigration, _>(object)?)
            }
            Kind::LauncherPod => {
                return Ok(self.read::<Pod, _>(object)?.map(Fact::LauncherPod));
            }
            Kind::Namespace => Fact::Namespace(self.read::<Namespace, _>(object)?),
            Kind::Host => Fact::Host(self.read::<Node, _>(object)?),
        }))
    }

    fn read<'de, O: Object, D: Deserializer<'de>>(&self, object: D) -> Result<O::Facts, Malformed> {
        read::<O, _>(object).map(|object| object.facts(self))
    }

    /// Reads a manifest as a change. Returns `None` for an object that no decision can depend on.
    ///
    /// # Errors
    /// If the manifest lacks a kind or a usable name, without which it has no key.
    pub fn change(&self, manifest: &Value) -> Result<Option<Change>, Malformed> {
        let text =
            |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text(manifest.get("apiVersion")), text(manifest.get("kind")));
        if api_version.is_empty() || kind.is_empty() {
            return Err("not a Kubernetes object: it lacks apiVersion or kind".into());
        }
        let Some(kind) = kind_of(&api_version, &kind) else { return Ok(None) };
        let metadata = manifest.get("metadata");
        let name = text(metadata.and_then(|metadata| metadata.get("name")));
        if name.is_empty() || name.contains('/') {
            let why = format!("{} has no usable metadata.name", kind.kubernetes());
            return Err(Malformed::new(why));
        }
        let namespace = text(metadata.and_then(|metadata| metadata.get("namespace")));
        let key = match (kind.namespaced(), &*namespace) {
            (false, _) => Key::cluster_scoped(name),
            (true, "") => Key::in_namespace(&self.default_namespace, &name),
            (true, namespace) => Key::in_namespace(namespace, &name),
        };
        let now = self.now(kind, manifest);
        Ok(match now {
            Now::Gone => None,
            now => Some(Change { object: ObjectRef { kind, key }, now }),
        })
    }

    /// The state of an object that exists. A pod that is not a launcher pod counts as gone.
    pub fn now<'de, D: Deserializer<'de>>(&self, kind: Kind, object: D) -> Now {
        match self.facts(kind, object) {
            Ok(Some(fact)) => Now::Is(fact),
            Ok(None) => Now::Gone,
            Err(why) => Now::Malformed { why: why.into(), last: None },
        }
    }
}
