//! Facts: the parts of each object that can change a decision.
//!
//! A new version of an object with equal facts can't change any decision, so it causes no work.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::hosts::Host;
use super::mac::Mac;
use super::names::{Key, Name, ObjectRef};
use super::selectors::{HostChoice, LabelSelector};
use super::uid::Uid;
use super::uplinks::NetworkConfig;
use super::vm_networks::VmNetwork;

/// A change of one object.
#[derive(Clone, Debug)]
pub struct Change {
    /// The object.
    pub object: ObjectRef,
    /// The object's new state.
    pub now: Now,
}

/// The state of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Now {
    /// The object exists and can be read.
    Is(Fact),
    /// The object exists but can't be read. Its last facts still count.
    Malformed {
        /// Why the object can't be read.
        why: Name,
        /// The facts of the last readable version, if there was one.
        last: Option<Box<Fact>>,
    },
    /// The object does not exist, or no decision depends on it.
    Gone,
}

/// The facts of one object.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is named as the facts that it holds")]
pub enum Fact {
    ClusterNetwork(ClusterNetwork),
    NetworkConfig(NetworkConfig),
    UplinkStatus(UplinkStatus),
    LinkMonitor(LinkMonitor),
    HostNetwork(HostNetwork),
    VmNetwork(VmNetwork),
    Vm(Vm),
    Vmi(Vmi),
    Migration(Migration),
    LauncherPod(LauncherPod),
    Namespace(Namespace),
    Host(Host),
}

/// A cluster network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterNetwork {
    /// The annotation `network.harvesterhci.io/uplink-mtu`.
    pub uplink_mtu: UplinkMtu,
    /// Whether the condition `ready` is `True`; `None` if there is no such condition. No decision
    /// depends on it, but the controller keeps it.
    pub ready: Option<bool>,
}

/// The MTU in bytes in the annotation `network.harvesterhci.io/uplink-mtu`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UplinkMtu {
    /// The annotation is absent.
    #[default]
    Unset,
    /// The MTU as written.
    Is(i64),
    /// The annotation is not a number.
    Unreadable(Name),
}

/// A node agent's report on the uplink of a network config on a host (`VlanStatus`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkStatus {
    /// The cluster network.
    pub cluster_network: Name,
    /// The network config that the report was written for.
    pub config: Name,
    /// The host.
    pub host: Name,
    /// Whether the condition `ready` is `True`.
    pub ready: bool,
    /// The condition's message, empty if there is none.
    pub message: Name,
}

/// The state of the hosts' NICs (`LinkMonitor`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkMonitor {
    /// The links of each host that reports any.
    pub links: BTreeMap<Name, Box<[Link]>>,
}

/// One link of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The link's name.
    pub name: Name,
    /// The link's state.
    pub state: LinkState,
    /// The link's type, such as `device` or `bond`, empty if it is not reported. No decision depends
    /// on it, but an administrator chooses a NIC by it.
    pub kind: Name,
    /// The link's MAC address, if one of six bytes is reported. No decision depends on it either.
    pub mac: Option<[u8; 6]>,
    /// The link's index on the host.
    pub index: i64,
    /// The index of the link to which this one is enslaved, if there is one.
    pub master: Option<i64>,
}

/// The state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// The link carries traffic.
    Up,
    /// The link carries no traffic.
    Down,
    /// The agent could not determine the state. That is no reason to avoid the host.
    Unknown,
}

/// A host network config (`HostNetworkConfig`): the addresses of hosts on a cluster network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNetwork {
    /// The cluster network in `spec.clusterNetwork`.
    pub cluster_network: Name,
    /// The VLAN of the addresses.
    pub vlan: i64,
    /// The hosts that get an address.
    pub selector: LabelSelector,
    /// Whether the pods' network between hosts runs over this one.
    pub underlay: bool,
    /// Whether the hosts get their addresses by DHCP.
    pub dhcp: bool,
    /// The address of each host, in CIDR notation. None counts with DHCP.
    pub addresses: BTreeMap<Name, Name>,
}

/// The VM networks that a pod, VM or VMI asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    /// The keys of the VM networks, sorted, each once.
    pub vm_networks: Box<[Key]>,
    /// Why networks that are asked for can't be read, one text for each, sorted.
    pub unreadable: Box<[Name]>,
}

impl Selection {
    /// A selection of these VM networks.
    #[must_use]
    pub fn of(mut vm_networks: Vec<Key>, mut unreadable: Vec<Name>) -> Self {
        vm_networks.sort_unstable();
        vm_networks.dedup();
        unreadable.sort_unstable();
        unreadable.dedup();
        Self { vm_networks: vm_networks.into(), unreadable: unreadable.into() }
    }

    /// Returns whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vm_networks.is_empty() && self.unreadable.is_empty()
    }
}

/// A virtual machine, running or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vm {
    /// The VM networks in the template.
    pub networks: Arc<Selection>,
    /// The MAC addresses that the interfaces ask for, each with the VM network of its interface.
    pub macs: Box<[(Mac, Key)]>,
    /// The hosts that the VM's own node selector and required node affinity allow.
    pub hosts: Arc<HostChoice>,
    /// Whether the VM is to run.
    pub run: Run,
    /// Whether the VM is being deleted.
    pub deleting: bool,
}

/// Whether a VM is to run (`spec.runStrategy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Run {
    /// The VM is asked to run.
    #[default]
    Asked,
    /// The VM is stopped, or is to be stopped (`Halted`).
    Halted,
    /// The VM waits for another cluster's VM to migrate into it (`WaitAsReceiver`).
    Receiving,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Whether the namespace is terminating, and all objects in it with it.
    pub terminating: bool,
}

/// A virtual machine instance (VMI).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vmi {
    /// The UID.
    pub uid: Uid,
    /// Whether the phase is `Succeeded` or `Failed`.
    pub finished: bool,
    /// The VM networks in the spec. The launcher pods may still use others.
    pub networks: Arc<Selection>,
    /// The hosts that the VMI's own node selector and required node affinity allow.
    pub hosts: Arc<HostChoice>,
    /// The host in `status.nodeName`.
    pub host: Option<Name>,
    /// What the status says of migrations, if it says anything. Most VMIs never migrated.
    pub moves: Option<Box<Moves>>,
}

/// What the status of a VMI says of its migrations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// The other hosts in `status.activePods`, where pods that ended after a migration stay listed.
    pub active_hosts: Box<[Name]>,
    /// The target of an unfinished migration, from `status.migrationState`. A target that is known
    /// to be in another cluster or namespace is left out.
    pub target: Option<Name>,
    /// The UID of the last migration.
    pub uid: Uid,
}

/// A migration of a VMI to another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The VMI that migrates.
    pub vmi: Key,
    /// The migration's own UID.
    pub uid: Uid,
    /// Whether the migration is decentralised and sends the VMI to another cluster or namespace.
    pub sends: bool,
    /// The host that the VMI migrates to, as long as the migration is not finished. A target in
    /// another cluster or namespace is left out.
    pub target: Option<Name>,
}

/// The pod in which a VMI runs (`virt-launcher`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LauncherPod {
    /// The VMI that owns the pod.
    pub vmi: Key,
    /// The VMI's UID.
    pub vmi_uid: Uid,
    /// Whether the phase is `Succeeded` or `Failed`.
    pub ended: bool,
    /// The host that the pod is bound to.
    pub host: Option<Name>,
    /// The VM networks in the Multus annotations: those that the pod really uses.
    pub networks: Arc<Selection>,
    /// The VM networks in the annotations that the pod's network status lacks: a hot-plug that waits
    /// for a migration. Without a network status, there are none.
    pub unattached: Box<[Key]>,
    /// The pod as the scheduler left it, if it found no host for the pod.
    pub waiting: Option<Box<Waiting>>,
}

/// A pod for which the scheduler found no host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The pod's UID.
    pub uid: Uid,
    /// The hosts that the pod's own node selector and required node affinity allow.
    pub hosts: HostChoice,
    /// The host in `status.nominatedNodeName`.
    pub nominated: Option<Name>,
}

impl LauncherPod {
    /// Returns whether the pod belongs to this VMI, and not to an earlier one of the same name.
    pub(super) fn is_of(&self, vmi: &Vmi) -> bool {
        self.vmi_uid.is_unknown() || vmi.uid.is_unknown() || self.vmi_uid == vmi.uid
    }
}
