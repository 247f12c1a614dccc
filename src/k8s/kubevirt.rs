//! VMs, their running instances and migrations.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::cluster::{Key, Kind, Mac, Migration, Moves, Name, Run, Selection, Uid, Vm, Vmi};

use super::affinity::{Affinity, host_choice};
use super::decode::{Decoder, List, Malformed};

use super::meta::{MAC_ADDRESSES, Meta, Object, StringMap, nullable};
use super::multus::{Asked, network_name};
use super::plain::echo;

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
    /// The older form of the run strategy.
    running: Option<bool>,
    #[serde(default, deserialize_with = "nullable")]
    template: VmTemplate,
}

#[derive(Default, Deserialize)]
struct VmTemplate {
    #[serde(default, deserialize_with = "nullable")]
    spec: VmiSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VmiSpec {
    #[serde(default, deserialize_with = "nullable")]
    networks: List<Network, MAX_NETWORKS>,
    #[serde(default, deserialize_with = "nullable")]
    domain: Domain,
    #[serde(default, deserialize_with = "nullable")]
    node_selector: StringMap,
    affinity: Option<Affinity>,
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
    #[serde(default, deserialize_with = "nullable")]
    state: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Multus {
    #[serde(default, deserialize_with = "nullable")]
    network_name: String,
    #[serde(default, deserialize_with = "nullable")]
    default: bool,
}

impl VmSpec {
    /// Whether the VM is to run. KubeVirt requires one of both fields.
    fn run(&self) -> Run {
        match (&*self.run_strategy, self.running) {
            ("WaitAsReceiver", _) => Run::Receiving,
            ("Halted", _) | ("", Some(false)) => Run::Halted,
            _ => Run::Asked,
        }
    }
}

impl Interface {
    /// Returns whether KubeVirt makes launcher pods without the interface.
    fn is_absent(&self) -> bool {
        self.state == "absent"
    }
}

impl VmiSpec {
    /// The interfaces that are not absent.
    fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.domain.devices.interfaces.0.iter().filter(|interface| !interface.is_absent())
    }

    /// The VM networks that are asked for. For a network with `default: true` and no namespace,
    /// Multus looks in its own namespace.
    fn selection(&self, meta: &Meta, decoder: &Decoder) -> Selection {
        let interfaces = self.domain.devices.interfaces.0.iter();
        let absent: BTreeSet<&str> = interfaces
            .filter(|interface| interface.is_absent())
            .map(|interface| &*interface.name)
            .collect();
        let mut asked = Asked::default();
        for network in self.networks.0.iter().filter(|it| !absent.contains(&*it.name)) {
            let Some(key) = network.key(meta, decoder) else { continue };
            asked.add(key.map(|key| vec![key]), "networks[].multus.networkName");
        }
        asked.selection()
    }

    /// The MAC addresses of interfaces on VM networks, if they are set in the spec, or else in
    /// Harvester's annotation, from which Harvester fills them in when the VM stops.
    fn macs(&self, meta: &Meta, decoder: &Decoder) -> Box<[(Mac, Key)]> {
        let annotated: BTreeMap<String, Option<String>> = meta
            .annotation(MAC_ADDRESSES)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        self.interfaces()
            .filter_map(|interface| {
                let text = match &*interface.mac_address {
                    "" => annotated.get(&interface.name)?.as_deref()?,
                    text => text,
                };
                let network = self.networks.0.iter().find(|it| it.name == interface.name)?;
                Some((mac_address(text)?, network.key(meta, decoder)?.ok()?))
            })
            .collect()
    }
}

/// A MAC address in any form that Go's `net.ParseMAC` reads: `aa:bb:cc:dd:ee:ff`,
/// `aa-bb-cc-dd-ee-ff` or `aabb.ccdd.eeff`.
fn mac_address(text: &str) -> Option<Mac> {
    let (separator, digits) = match text.len() {
        14 => ('.', 4),
        17 if text.contains(':') => (':', 2),
        17 => ('-', 2),
        _ => return None,
    };
    let is_group =
        |group: &str| group.len() == digits && group.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !text.split(separator).all(is_group) {
        return None;
    }
    let number = u64::from_str_radix(&text.replace(separator, ""), 16).ok()?;
    let [_, _, bytes @ ..] = number.to_be_bytes();
    Some(Mac(bytes))
}

impl Network {
    /// The key of the VM network, or `None` for a network without Multus, such as the pod network.
    fn key(&self, meta: &Meta, decoder: &Decoder) -> Option<Result<Key, Malformed>> {
        let multus = self.multus.as_ref()?;
        let namespace =
            if multus.default { &decoder.multus_namespace } else { decoder.namespace(meta) };
        let text = &multus.network_name;
        let key = network_name(text, namespace);
        Some(key.map_err(|_| {
            let why = format!("{} is not the name of a VM network", echo(text));
            Malformed::new(why)
        }))
    }
}

impl Object for VirtualMachine {
    const KIND: Kind = Kind::Vm;
    type Facts = Vm;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn facts(self, decoder: &Decoder) -> Vm {
        let Self { metadata, spec } = self;
        let run = spec.run();
        let VmiSpec { node_selector, affinity, .. } = &spec.template.spec;
        Vm {
            networks: spec.template.spec.selection(&metadata, decoder).into(),
            macs: spec.template.spec.macs(&metadata, decoder),
            hosts: host_choice(node_selector, affinity.as_ref()).into(),
            run,
            deleting: metadata.deleting(),
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

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MigrationState {
    target_node: Option<Name>,
    #[serde(default, deserialize_with = "nullable")]
    migration_uid: Name,
    #[serde(default, deserialize_with = "nullable")]
    source_state: MigrationSide,
    #[serde(default, deserialize_with = "nullable")]
    target_state: MigrationSide,
    #[serde(default, deserialize_with = "nullable")]
    completed: bool,
    #[serde(default, deserialize_with = "nullable")]
    failed: bool,
}

/// The source or the target of a migration.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MigrationSide {
    sync_address: Option<Name>,
}

impl MigrationSide {
    fn has_address(&self) -> bool {
        self.sync_address.as_ref().is_some_and(|address| !address.is_empty())
    }
}

impl MigrationState {
    /// The target host, until the migration completes or fails. A migration with the address of one
    /// side only is decentralised: its target is a host of another cluster or namespace.
    fn target(&self) -> Option<Name> {
        let decentralised = self.source_state.has_address() != self.target_state.has_address();
        non_empty(self.target_node.clone())
            .filter(|_| !self.completed && !self.failed && !decentralised)
    }
}

pub(super) fn non_empty(name: Option<Name>) -> Option<Name> {
    name.filter(|name| !name.is_empty())
}

pub(super) fn has_ended(phase: &str) -> bool {
    matches!(phase, "Succeeded" | "Failed")
}

impl Object for VirtualMachineInstance {
    const KIND: Kind = Kind::Vmi;
    type Facts = Vmi;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn facts(self, decoder: &Decoder) -> Vmi {
        let migration = self.status.migration_state.unwrap_or_default();
        let host = non_empty(self.status.node_name);
        let active_hosts = self.status.active_pods.into_values().filter_map(non_empty);
        let moves = Moves {
            active_hosts: active_hosts.filter(|it| host.as_ref() != Some(it)).collect(),
            target: migration.target(),
            uid: Uid::from(&*migration.migration_uid),
        };
        Vmi {
            networks: self.spec.selection(&self.metadata, decoder).into(),
            hosts: host_choice(&self.spec.node_selector, self.spec.affinity.as_ref()).into(),
            finished: has_ended(&self.status.phase),
            host,
            moves: (moves != Moves::default()).then(|| Box::new(moves)),
            uid: Uid::from(&*self.metadata.uid),
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
    /// Set on the source of a decentralised migration.
    send_to: Option<IgnoredAny>,
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
        let sends = spec.send_to.is_some();
        Migration {
            vmi: Key::in_namespace(decoder.namespace(&metadata), &spec.vmi_name),
            uid: Uid::from(&*metadata.uid),
            target: status
                .migration_state
                .and_then(|state| state.target())
                .filter(|_| !has_ended(&status.phase) && !sends),
            sends,
        }
    }
}
