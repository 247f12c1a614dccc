//! Facts: the parts of each object that can change a decision.
//!
//! A new version of an object with equal facts can't change any decision, so it causes no work.

use std::collections::BTreeMap;

use super::mtu::effective_mtu;
use super::names::{Key, MGMT, Name, ObjectRef};
use super::selectors::{LabelSelector, Labels};
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

/// A network config (`VlanConfig`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// The cluster network in `spec.clusterNetwork`.
    pub cluster_network: Name,
    /// The labels that `spec.nodeSelector` requires.
    pub selector: Labels,
    /// The names of the NICs in `spec.uplink.nics`.
    pub nics: Box<[Name]>,
    /// The bond options and link attributes.
    pub options: UplinkOptions,
    /// Whether the network config is being deleted. Such a network config covers no host.
    pub deleting: bool,
    /// The label `network.harvesterhci.io/clusternetwork`.
    pub label: Option<Name>,
    /// The description in `spec.description`, which has no effect on any host.
    pub description: Name,
}

impl NetworkConfig {
    /// Returns whether the network config can cover hosts. One that is being deleted covers none,
    /// nor does one of `mgmt`, which is a node agent's record (docs/reference.md, "Objects" and
    /// "When a cluster network is active").
    #[must_use]
    pub fn counts(&self) -> bool {
        !self.deleting && !self.is_mgmt()
    }

    /// Returns whether the network config covers a host.
    #[must_use]
    pub fn covers(&self, host: &Host) -> bool {
        self.counts() && host.is_covered_by(&self.selector)
    }

    /// Returns whether this is a network config of `mgmt`: a node agent's record.
    #[must_use]
    pub fn is_mgmt(&self) -> bool {
        &*self.cluster_network == MGMT
    }

    /// Returns whether both network configs make the same uplink. Absent options equal their
    /// defaults.
    #[must_use]
    pub fn same_uplink(&self, other: &Self) -> bool {
        let (mine, theirs) = (&self.options, &other.options);
        self.nics == other.nics
            && mine.effective_mtu() == theirs.effective_mtu()
            && (&mine.mode, mine.miimon, mine.tx_queue_length, &mine.hardware_address)
                == (&theirs.mode, theirs.miimon, theirs.tx_queue_length, &theirs.hardware_address)
    }
}

/// The bond options and link attributes of a network config, with the defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkOptions {
    /// The bond's mode.
    pub mode: Name,
    /// The interval, in milliseconds, at which the bond checks its links; -1 is the default.
    pub miimon: i64,
    /// The length of the transmit queue, in packets; -1 is the default.
    pub tx_queue_length: i64,
    /// The bond's MAC address as written, empty if absent.
    pub hardware_address: Name,
    /// The MTU in bytes as written, 0 if absent.
    pub mtu: i64,
}

impl UplinkOptions {
    /// The effective MTU in bytes: 0 means 1500.
    #[must_use]
    pub fn effective_mtu(&self) -> i64 {
        effective_mtu(self.mtu)
    }
}

impl Default for UplinkOptions {
    fn default() -> Self {
        Self {
            mode: "active-backup".into(),
            miimon: -1,
            tx_queue_length: -1,
            hardware_address: Name::default(),
            mtu: 0,
        }
    }
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
    /// The hosts that get an address.
    pub selector: LabelSelector,
    /// Whether the pods' network between hosts runs over this one.
    pub underlay: bool,
    /// The address of each host, in CIDR notation. Empty if the hosts ask a DHCP server.
    pub addresses: BTreeMap<Name, Name>,
}

/// The VM networks that a pod, VM or VMI asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The keys of the VM networks, sorted, each once.
    pub vm_networks: Box<[Key]>,
    /// Why some of the networks that are asked for can't be read, if that is so.
    pub unreadable: Option<Name>,
}

impl Selection {
    /// A selection of these VM networks.
    #[must_use]
    pub fn of(mut vm_networks: Vec<Key>, unreadable: Option<Name>) -> Self {
        vm_networks.sort_unstable();
        vm_networks.dedup();
        Self { vm_networks: vm_networks.into(), unreadable }
    }

    /// Returns whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vm_networks.is_empty() && self.unreadable.is_none()
    }
}

/// A virtual machine, running or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vm {
    /// The VM networks in the template.
    pub networks: Selection,
    /// The MAC addresses that the interfaces ask for, in lower case with colons, each with the VM
    /// network of its interface.
    pub macs: Box<[(Name, Key)]>,
    /// Whether the VM waits for another cluster's VM to migrate into it (`runStrategy:
    /// WaitAsReceiver`).
    pub receiving: bool,
    /// Whether the VM is being deleted.
    pub deleting: bool,
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
    /// The UID, empty if there is none, as in a manifest that was never in a cluster.
    pub uid: Name,
    /// Whether the phase is `Succeeded` or `Failed`.
    pub finished: bool,
    /// The VM networks in the spec. The launcher pods may still use others.
    pub networks: Selection,
    /// The host in `status.nodeName`.
    pub host: Option<Name>,
    /// The hosts in `status.activePods`, where pods that ended after a migration stay listed.
    pub active_hosts: Box<[Name]>,
    /// The target of an unfinished migration, from `status.migrationState`.
    pub migration_target: Option<Name>,
}

/// A migration of a VMI to another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The VMI that migrates.
    pub vmi: Key,
    /// The host that the VMI migrates to, as long as the migration is not finished.
    pub target: Option<Name>,
}

/// The pod in which a VMI runs (`virt-launcher`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LauncherPod {
    /// The VMI that owns the pod.
    pub vmi: Key,
    /// The VMI's UID, empty if the UID is not known.
    pub vmi_uid: Name,
    /// Whether the phase is `Succeeded` or `Failed`.
    pub ended: bool,
    /// The host that the pod is bound to.
    pub host: Option<Name>,
    /// The VM networks in the Multus annotations: those that the pod really uses.
    pub networks: Selection,
}

impl LauncherPod {
    /// Returns whether the pod belongs to this VMI, and not to an earlier one of the same name.
    pub(super) fn is_of(&self, vmi: &Vmi) -> bool {
        self.vmi_uid.is_empty() || vmi.uid.is_empty() || self.vmi_uid == vmi.uid
    }
}

/// A host (`Node`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The host's labels.
    pub labels: Labels,
    /// Whether the host is a witness host, which votes in etcd and runs no VMs.
    pub witness: bool,
}

impl Host {
    /// Returns whether a network config with this selector covers the host. Witness hosts are never
    /// covered.
    #[must_use]
    pub fn is_covered_by(&self, selector: &Labels) -> bool {
        !self.witness && self.labels.contain(selector)
    }
}
