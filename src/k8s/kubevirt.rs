//! VMs, their running instances, migrations and launcher pods.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::cluster::{Key, Kind, LauncherPod, Migration, Name, Selection, Vm, Vmi};

use super::decode::{Decoder, List, Malformed};
use super::fold::{Folded, folded};
use super::meta::{Annotations, Meta, Object, nullable};
use super::multus::{Asked, network_name, pod_networks};

/// The most networks, and the most interfaces, of a VM: far more than a hypervisor supports.
const MAX_NETWORKS: usize = 1024;

#[derive(Deserialize)]
pub(crate) struct VirtualMachine {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Meta,
    #[serde(default, deserialize_with = "nullable")]
    spec: VmSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VmSpec {
    #[serde(default, deserialize_with = "nullable")]
    run_strategy: String,
    #[serde(default, deserialize_with = "nullable")]
    template: VmTemplate,
}

#[derive(Default, Deserialize)]
struct VmTemplate {
    #[serde(default, deserialize_with = "nullable")]
    spec: VmiSpec,
}

#[derive(Default, Deserialize)]
struct VmiSpec {
    #[serde(default, deserialize_with = "nullable")]
    networks: List<Network, MAX_NETWORKS>,
    #[serde(default, deserialize_with = "nullable")]
    domain: Domain,
}

#[derive(Deserialize)]
struct Network {
    #[serde(default, deserialize_with = "nullable")]
    name: String,
    multus: Option<Multus>,
}

#[derive(Default, Deserialize)]
struct Domain {
    #[serde(default, deserialize_with = "nullable")]
    devices: Devices,
}

#[derive(Default, Deserialize)]
struct Devices {
    #[serde(default, deserialize_with = "nullable")]
    interfaces: List<Interface, MAX_NETWORKS>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Interface {
    #[serde(default, deserialize_with = "nullable")]
    name: String,
    #[serde(default, deserialize_with = "nullable")]
    mac_address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Multus {
    #[serde(default, deserialize_with = "nullable")]
    network_name: String,
    #[serde(default, deserialize_with = "nullable")]
    default: bool,
}

impl VmiSpec {
    /// The VM networks that are asked for. For a network with `default: true` and no namespace,
    /// Multus looks in its own namespace.
    fn selection(&self, meta: &Meta, decoder: &Decoder) -> Selection {
        let mut asked = Asked::default();
        for network in &self.networks.0 {
            let Some(key) = network.key(meta, decoder) else { continue };
            asked.add(key.map(|key| vec![key]), "networks[].multus.networkName");
        }
        asked.selection()
    }

    /// The MAC addresses of interfaces on VM networks, if they are set in the spec.
    fn macs(&self, meta: &Meta, decoder: &Decoder) -> Box<[(Name, Key)]> {
        let interfaces = self.domain.devices.interfaces.0.iter();
        interfaces
            .filter(|interface| !interface.mac_address.is_empty())
            .filter_map(|interface| {
                let network = self.networks.0.iter().find(|it| it.name == interface.name)?;
                let mac = interface.mac_address.to_ascii_lowercase().replace('-', ":");
                Some((mac.into(), network.key(meta, decoder)?.ok()?))
            })
            .collect()
    }
}

impl Network {
    /// The key of the VM network, or `None` for a network without Multus, such as the pod network.
    fn key(&self, meta: &Meta, decoder: &Decoder) -> Option<Result<Key, Malformed>> {
        let multus = self.multus.as_ref()?;
        let namespace =
            if multus.default { &decoder.multus_namespace } else { decoder.namespace(meta) };
        Some(network_name(&multus.network_name, namespace))
    }
}

impl Object for VirtualMachine {
    const KIND: Kind = Kind::Vm;
    type Facts = Vm;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn facts(self, decoder: &Decoder) -> Vm {
        Vm {
            networks: self.spec.template.spec.selection(&self.metadata, decoder),
            macs: self.spec.template.spec.macs(&self.metadata, decoder),
            receiving: self.spec.run_strategy == "WaitAsReceiver",
            deleting: self.metadata.deleting(),
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct VirtualMachineInstance {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Meta,
    #[serde(default, deserialize_with = "nullable")]
    spec: VmiSpec,
    #[serde(default, deserialize_with = "nullable")]
    status: VmiStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VmiStatus {
    #[serde(default, deserialize_with = "nullable")]
    phase: String,
    node_name: Option<Name>,
    #[serde(default, deserialize_with = "nullable")]
    active_pods: BTreeMap<String, Option<Name>>,
    migration_state: Option<MigrationState>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MigrationState {
    target_node: Option<Name>,
    #[serde(default, deserialize_with = "nullable")]
    completed: bool,
    #[serde(default, deserialize_with = "nullable")]
    failed: bool,
}

impl MigrationState {
    /// The target host, until the migration completes or fails.
    fn target(self) -> Option<Name> {
        non_empty(self.target_node).filter(|_| !self.completed && !self.failed)
    }
}

fn non_empty(name: Option<Name>) -> Option<Name> {
    name.filter(|name| !name.is_empty())
}

fn has_ended(phase: &str) -> bool {
    matches!(phase, "Succeeded" | "Failed")
}

impl Object for VirtualMachineInstance {
    const KIND: Kind = Kind::Vmi;
    type Facts = Vmi;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn facts(self, decoder: &Decoder) -> Vmi {
        Vmi {
            networks: self.spec.selection(&self.metadata, decoder),
            finished: has_ended(&self.status.phase),
            host: non_empty(self.status.node_name),
            active_hosts: self.status.active_pods.into_values().filter_map(non_empty).collect(),
            migration_target: self.status.migration_state.and_then(MigrationState::target),
            uid: self.metadata.uid,
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct VirtualMachineInstanceMigration {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Meta,
    spec: MigrationSpec,
    #[serde(default, deserialize_with = "nullable")]
    status: MigrationStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MigrationSpec {
    vmi_name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MigrationStatus {
    #[serde(default, deserialize_with = "nullable")]
    phase: String,
    migration_state: Option<MigrationState>,
}

impl Object for VirtualMachineInstanceMigration {
    const KIND: Kind = Kind::Migration;
    type Facts = Migration;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn facts(self, decoder: &Decoder) -> Migration {
        let Self { metadata, spec, status } = self;
        Migration {
            vmi: Key::in_namespace(decoder.namespace(&metadata), &spec.vmi_name),
            target: status
                .migration_state
                .and_then(MigrationState::target)
                .filter(|_| !has_ended(&status.phase)),
        }
    }
}

#[derive(Default, Deserialize)]
pub(crate) struct Pod {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Meta,
    #[serde(default, deserialize_with = "nullable")]
    spec: PodSpec,
    #[serde(default, deserialize_with = "nullable")]
    status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    node_name: Option<Name>,
}

#[derive(Default, Deserialize)]
struct PodStatus {
    #[serde(default, deserialize_with = "nullable")]
    phase: String,
}

impl Object for Pod {
    const KIND: Kind = Kind::LauncherPod;
    type Facts = Option<LauncherPod>;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    /// The facts of a launcher pod, or `None` for any other pod.
    fn facts(self, decoder: &Decoder) -> Option<LauncherPod> {
        let meta = &self.metadata;
        if meta.label("kubevirt.io") != Some("virt-launcher") {
            return None;
        }
        let owner = meta.vmi.as_ref().map(|owner| (&*owner.name, owner.uid.clone()));
        let labelled = || {
            let uid = meta.label("kubevirt.io/created-by").unwrap_or_default();
            Some((meta.label("vm.kubevirt.io/name")?, Name::from(uid)))
        };
        let (vmi, vmi_uid) = owner.or_else(labelled)?;
        Some(LauncherPod {
            vmi: Key::in_namespace(decoder.namespace(meta), vmi),
            vmi_uid,
            ended: has_ended(&self.status.phase),
            networks: pod_networks(|key| meta.annotation(key), decoder.namespace(meta), decoder),
            host: non_empty(self.spec.node_name),
        })
    }
}

/// A pod as the scheduler sends it, reduced to what an extender's answer depends on.
#[derive(Debug)]
pub struct ScheduledPod {
    /// Its name.
    pub name: Name,
    /// Its namespace.
    pub namespace: Name,
    /// The host that it is bound to, if any.
    pub host: Option<Name>,
    /// The VM networks that it asks for.
    pub networks: Selection,
}

/// The members of a pod that `ScheduledPod` is read from.
#[derive(Default)]
struct PodHead {
    metadata: Option<Folded<PodHeadMeta>>,
    spec: Option<Folded<PodHeadSpec>>,
}

#[derive(Default)]
struct PodHeadMeta {
    name: Option<Name>,
    namespace: Option<Name>,
    annotations: Option<Annotations>,
}

#[derive(Default)]
struct PodHeadSpec {
    node_name: Option<Name>,
}

folded!(PodHead { "metadata" => metadata, "spec" => spec });
folded!(PodHeadMeta { "name" => name, "namespace" => namespace, "annotations" => annotations });
folded!(PodHeadSpec { "nodeName" => node_name });

impl Decoder {
    /// Reads a pod of a scheduler's request.
    ///
    /// # Errors
    /// If it is not a pod, or its annotations exceed Kubernetes' limit.
    pub fn scheduled_pod(&self, pod: &str) -> Result<ScheduledPod, Malformed> {
        let Folded(head) = serde_json::from_str::<Folded<PodHead>>(pod)?;
        let Folded(metadata) = head.metadata.unwrap_or_default();
        let Folded(spec) = head.spec.unwrap_or_default();
        let namespace = metadata.namespace.filter(|it| !it.is_empty());
        let namespace = namespace.unwrap_or_else(|| self.default_namespace.clone());
        let annotations = metadata.annotations.unwrap_or_default();
        Ok(ScheduledPod {
            name: metadata.name.unwrap_or_default(),
            networks: pod_networks(|key| annotations.get(key), &namespace, self),
            namespace,
            host: non_empty(spec.node_name),
        })
    }
}
