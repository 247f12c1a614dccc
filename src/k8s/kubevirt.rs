//! VMs, their running instances, migrations and launcher pods.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::cluster::{Key, LauncherPod, Migration, Name, Selection, Vm, Vmi};

use super::meta::{Meta, nullable};
use super::multus::{Asked, DEFAULT_NETWORK, NETWORKS, network_name, networks};
use super::objects::{Reader, read};

fn namespace<'a>(meta: &'a Meta, reader: &'a Reader) -> &'a str {
    meta.namespace.as_deref().filter(|it| !it.is_empty()).unwrap_or(&reader.default_namespace)
}

#[derive(Deserialize)]
pub(crate) struct VirtualMachine {
    #[serde(default, deserialize_with = "nullable")]
    pub metadata: Meta,
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
    networks: Vec<Network>,
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
    interfaces: Vec<Interface>,
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
    /// The VM networks asked for. One marked `default` goes by name into Multus's own annotation
    /// and is looked for in Multus's namespace.
    fn selection(&self, meta: &Meta, reader: &Reader) -> Selection {
        let mut asked = Asked::default();
        for network in &self.networks {
            let Some(key) = network.key(meta, reader) else { continue };
            asked.add(key.map(|key| vec![key]), "networks[].multus.networkName");
        }
        asked.selection()
    }

    /// The MAC addresses that interfaces on VM networks ask for.
    fn macs(&self, meta: &Meta, reader: &Reader) -> Box<[(Name, Key)]> {
        let interfaces = self.domain.devices.interfaces.iter();
        interfaces
            .filter(|interface| !interface.mac_address.is_empty())
            .filter_map(|interface| {
                let network = self.networks.iter().find(|it| it.name == interface.name)?;
                let mac = interface.mac_address.to_ascii_lowercase().replace('-', ":");
                Some((mac.into(), network.key(meta, reader)?.ok()?))
            })
            .collect()
    }
}

impl Network {
    /// The VM network, if it is one.
    fn key(&self, meta: &Meta, reader: &Reader) -> Option<Result<Key, String>> {
        let multus = self.multus.as_ref()?;
        let of = if multus.default { &reader.multus_namespace } else { namespace(meta, reader) };
        Some(network_name(&multus.network_name, of))
    }
}

impl VirtualMachine {
    pub fn facts(&self, reader: &Reader) -> Vm {
        Vm {
            networks: self.spec.template.spec.selection(&self.metadata, reader),
            macs: self.spec.template.spec.macs(&self.metadata, reader),
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
    /// The host that it moves to, while it does.
    fn target(self) -> Option<Name> {
        given(self.target_node).filter(|_| !self.completed && !self.failed)
    }
}

fn given(name: Option<Name>) -> Option<Name> {
    name.filter(|name| !name.is_empty())
}

fn over(phase: &str) -> bool {
    matches!(phase, "Succeeded" | "Failed")
}

impl VirtualMachineInstance {
    pub fn facts(self, reader: &Reader) -> Vmi {
        Vmi {
            networks: self.spec.selection(&self.metadata, reader),
            finished: over(&self.status.phase),
            host: given(self.status.node_name),
            active_hosts: self.status.active_pods.into_values().filter_map(given).collect(),
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

impl VirtualMachineInstanceMigration {
    pub fn facts(self, reader: &Reader) -> Migration {
        let Self { metadata, spec, status } = self;
        Migration {
            vmi: Key::in_namespace(namespace(&metadata, reader), &spec.vmi_name),
            target: status
                .migration_state
                .and_then(MigrationState::target)
                .filter(|_| !over(&status.phase)),
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

impl Pod {
    /// The facts of a launcher pod; of any other pod there are none.
    pub fn facts(self, reader: &Reader) -> Option<LauncherPod> {
        let meta = &self.metadata;
        if meta.label("kubevirt.io") != Some("virt-launcher") {
            return None;
        }
        let owner = meta
            .owner_references
            .iter()
            .find(|owner| owner.kind == "VirtualMachineInstance")
            .map(|owner| (&*owner.name, owner.uid.clone()));
        let labelled = || {
            let uid = meta.label("kubevirt.io/created-by").unwrap_or_default();
            Some((meta.label("vm.kubevirt.io/name")?, Name::from(uid)))
        };
        let (vmi, vmi_uid) = owner.or_else(labelled)?;
        Some(LauncherPod {
            vmi: Key::in_namespace(namespace(meta, reader), vmi),
            vmi_uid,
            ended: over(&self.status.phase),
            networks: pod_networks(meta, reader),
            host: given(self.spec.node_name),
        })
    }
}

/// A pod of which only its metadata matters.
#[derive(Deserialize)]
struct PodMeta {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Meta,
}

impl Reader {
    /// The key of an object in a namespace.
    pub(crate) fn key(&self, meta: &Meta) -> Key {
        Key::in_namespace(namespace(meta, self), meta.name.as_deref().unwrap_or_default())
    }

    /// The VM networks that a pod asks for, from the pod as the scheduler sends it.
    ///
    /// # Errors
    /// If it is no pod.
    pub fn pod_selection(&self, pod: &str) -> Result<Selection, String> {
        if !pod.starts_with('{') {
            return Err("not an object".to_owned());
        }
        let pod: PodMeta = read(&mut serde_json::Deserializer::from_str(pod))?;
        Ok(pod_networks(&pod.metadata, self))
    }
}

fn pod_networks(meta: &Meta, reader: &Reader) -> Selection {
    let mut asked = Asked::default();
    if let Some(text) = meta.annotation(NETWORKS) {
        asked.add(networks(text, namespace(meta, reader)), NETWORKS);
    }
    if let Some(text) = meta.annotation(DEFAULT_NETWORK) {
        let found = networks(text, &reader.multus_namespace).and_then(|keys| match keys.len() {
            0 | 1 => Ok(keys),
            more => Err(format!("{more} networks where one is allowed")),
        });
        asked.add(found, DEFAULT_NETWORK);
    }
    asked.selection()
}
