//! From an object to its facts: which kind it is, what it is called, what it says.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::cluster::{
    self, Change, ClusterNetwork, Fact, Host, Key, Kind, LinkMonitor, Name, NetworkConfig, Now,
    ObjectRef, UplinkStatus, VmNetwork,
};

use super::harvester::{
    ClusterNetworkObject, LinkMonitorObject, NetworkAttachmentDefinition, VlanConfig, VlanStatus,
};
use super::kubevirt::{
    Pod, VirtualMachine, VirtualMachineInstance, VirtualMachineInstanceMigration,
};
use super::node::{Namespace, Node};

/// How objects are to be read.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The namespace in which Multus looks for a default network that names none.
    pub multus_namespace: Name,
    /// The namespace of an object that names none.
    pub default_namespace: Name,
}

impl Default for Reader {
    fn default() -> Self {
        Self { multus_namespace: "kube-system".into(), default_namespace: "default".into() }
    }
}

/// The kind of an object, if it is one that a decision can depend on. Versions of a group differ
/// in nothing that we read.
#[must_use]
pub fn kind_of(api_version: &str, kind: &str) -> Option<Kind> {
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let kind = Kind::ALL.into_iter().find(|known| known.kubernetes() == kind)?;
    (group == group_and_version(kind).0).then_some(kind)
}

/// The API group of a kind, and the version in which we ask for it.
#[must_use]
pub fn group_and_version(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::ClusterNetwork | Kind::NetworkConfig | Kind::UplinkStatus | Kind::LinkMonitor => {
            ("network.harvesterhci.io", "v1beta1")
        }
        Kind::VmNetwork => ("k8s.cni.cncf.io", "v1"),
        Kind::Vm | Kind::Vmi | Kind::Migration => ("kubevirt.io", "v1"),
        Kind::LauncherPod | Kind::Namespace | Kind::Host => ("", "v1"),
    }
}

/// The label selector that finds launcher pods.
pub const LAUNCHER_PODS: &str = "kubevirt.io=virt-launcher";

impl Reader {
    /// What an object of this kind says; nothing, for a pod that is no launcher pod.
    ///
    /// # Errors
    /// Says which field can't be read, and why.
    pub fn facts<'de, D: Deserializer<'de>>(
        &self,
        kind: Kind,
        object: D,
    ) -> Result<Option<Fact>, String> {
        Ok(Some(match kind {
            Kind::ClusterNetwork => {
                Fact::ClusterNetwork(ClusterNetwork::from(read::<ClusterNetworkObject, _>(object)?))
            }
            Kind::NetworkConfig => {
                Fact::NetworkConfig(NetworkConfig::from(read::<VlanConfig, _>(object)?))
            }
            Kind::UplinkStatus => {
                Fact::UplinkStatus(UplinkStatus::from(read::<VlanStatus, _>(object)?))
            }
            Kind::LinkMonitor => {
                Fact::LinkMonitor(LinkMonitor::from(read::<LinkMonitorObject, _>(object)?))
            }
            Kind::VmNetwork => {
                Fact::VmNetwork(VmNetwork::from(read::<NetworkAttachmentDefinition, _>(object)?))
            }
            Kind::Vm => Fact::Vm(read::<VirtualMachine, _>(object)?.facts(self)),
            Kind::Vmi => Fact::Vmi(read::<VirtualMachineInstance, _>(object)?.facts(self)),
            Kind::Migration => {
                Fact::Migration(read::<VirtualMachineInstanceMigration, _>(object)?.facts(self))
            }
            Kind::LauncherPod => {
                return Ok(read::<Pod, _>(object)?.facts(self).map(Fact::LauncherPod));
            }
            Kind::Namespace => {
                Fact::Namespace(cluster::Namespace::from(read::<Namespace, _>(object)?))
            }
            Kind::Host => Fact::Host(Host::from(read::<Node, _>(object)?)),
        }))
    }

    /// A manifest as a change: `None` for an object that no decision can depend on.
    ///
    /// # Errors
    /// What has no kind or no usable name can't be kept under a key; says what is missing.
    pub fn change(&self, manifest: &Value) -> Result<Option<Change>, String> {
        let text =
            |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text(manifest.get("apiVersion")), text(manifest.get("kind")));
        if api_version.is_empty() || kind.is_empty() {
            return Err("not a Kubernetes object: it lacks apiVersion or kind".to_owned());
        }
        let Some(kind) = kind_of(&api_version, &kind) else { return Ok(None) };
        let metadata = manifest.get("metadata");
        let name = text(metadata.and_then(|metadata| metadata.get("name")));
        if name.is_empty() || name.contains('/') {
            return Err(format!("{} has no usable metadata.name", kind.kubernetes()));
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

    /// What an object that is there says: gone, for a pod that is no launcher pod.
    pub fn now<'de, D: Deserializer<'de>>(&self, kind: Kind, object: D) -> Now {
        match self.facts(kind, object) {
            Ok(Some(fact)) => Now::Is(fact),
            Ok(None) => Now::Gone,
            Err(why) => Now::Malformed { why: why.into(), last: None },
        }
    }
}

/// Whether an object is being deleted, as far as it can be told of one that may not be readable.
pub(super) fn is_being_deleted(object: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Deleting {
        deletion_timestamp: Option<String>,
    }
    #[derive(Deserialize)]
    struct Metadata {
        metadata: Deleting,
    }
    serde_json::from_str::<Metadata>(object)
        .is_ok_and(|object| object.metadata.deletion_timestamp.is_some())
}

/// Reads a value, and says of one that can't be read which field is at fault.
pub(super) fn read<'de, T: Deserialize<'de>, D: Deserializer<'de>>(object: D) -> Result<T, String> {
    serde_path_to_error::deserialize(object).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if path == "." { inner.to_string() } else { format!("{path}: {inner}") }
    })
}
