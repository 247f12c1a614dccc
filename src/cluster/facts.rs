//! Facts: of each object only the parts that can change a decision.
//!
//! Two versions of an object with equal facts are one to us, so equality gates all further work.

use std::collections::BTreeMap;

use super::mtu::effective_mtu;
use super::names::{Key, MGMT, Name, ObjectRef};
use super::vm_networks::VmNetwork;

/// What became of one object.
#[derive(Clone, Debug)]
pub struct Change {
    /// The object.
    pub object: ObjectRef,
    /// What it is now.
    pub now: Now,
}

/// What an object is now.
#[derive(Clone, Debug, PartialEq)]
pub enum Now {
    /// There, and readable.
    Is(Fact),
    /// There, but not readable: a problem, and no reason to forget what it last said.
    Malformed {
        /// Why it can't be read.
        why: Name,
        /// What it said when it last could be, if it ever could.
        last: Option<Box<Fact>>,
    },
    /// Not there, or nothing to us.
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
    /// Its annotation `uplink-mtu`.
    pub uplink_mtu: UplinkMtu,
}

/// The MTU in bytes that a cluster network says its uplinks have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UplinkMtu {
    /// It says none.
    #[default]
    Unset,
    /// As it was written.
    Is(i64),
    /// It is no number.
    Unreadable(Name),
}

/// Labels of a host, or those that a network config's `nodeSelector` wants: sorted `key=value`.
///
/// Neither a label's key nor its value may hold a `=`, so the joined text is as good as the pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(pub(super) Box<[Name]>);

impl Labels {
    /// Whether every one of `wanted` is among these: for a `nodeSelector`, whether it covers a
    /// host with these labels. An empty selector covers every host.
    #[must_use]
    pub fn contain(&self, wanted: &Self) -> bool {
        wanted.0.iter().all(|pair| self.0.binary_search(pair).is_ok())
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut pairs: Vec<Name> = pairs
            .into_iter()
            .map(|(key, value)| [key.as_ref(), "=", value.as_ref()].concat().into())
            .collect();
        pairs.sort_unstable();
        Self(pairs.into())
    }
}

/// A network config (`VlanConfig`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// The cluster network that it brings up.
    pub cluster_network: Name,
    /// The labels of the hosts that it covers.
    pub selector: Labels,
    /// The names of the NICs that it bonds.
    pub nics: Box<[Name]>,
    /// How it bonds them.
    pub options: UplinkOptions,
    /// Whether it is being deleted: then it covers no host any more.
    pub deleting: bool,
    /// Its label `network.harvesterhci.io/clusternetwork`.
    pub label: Option<Name>,
    /// What its author says of it, which no host sees.
    pub description: Name,
}

impl NetworkConfig {
    /// Whether it covers hosts at all: one of `mgmt` is a node agent's record and covers none, and
    /// one that is being deleted none any more (docs/reference.md, "Objects" and "Admission").
    #[must_use]
    pub fn counts(&self) -> bool {
        !self.deleting && !self.is_mgmt()
    }

    /// Whether it covers a host.
    #[must_use]
    pub fn covers(&self, host: &Host) -> bool {
        self.counts() && host.is_covered_by(&self.selector)
    }

    /// Whether it is a node agent's record of `mgmt`.
    #[must_use]
    pub fn is_mgmt(&self) -> bool {
        &*self.cluster_network == MGMT
    }

    /// Whether both make the same uplink: absent options equal their defaults.
    #[must_use]
    pub fn same_uplink(&self, other: &Self) -> bool {
        let (mine, theirs) = (&self.options, &other.options);
        self.nics == other.nics
            && mine.effective_mtu() == theirs.effective_mtu()
            && (&mine.mode, mine.miimon, mine.tx_queue_length, &mine.hardware_address)
                == (&theirs.mode, theirs.miimon, theirs.tx_queue_length, &theirs.hardware_address)
    }
}

/// Bond options and link attributes of a network config, with the defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkOptions {
    /// The bond's mode.
    pub mode: Name,
    /// How often, in milliseconds, the bond looks whether its links are up; -1 is the default.
    pub miimon: i64,
    /// Length of the transmit queue, in packets; -1 is the default.
    pub tx_queue_length: i64,
    /// The bond's MAC address as it was written, empty if none was.
    pub hardware_address: Name,
    /// MTU in bytes as it was written, 0 if it was not.
    pub mtu: i64,
}

impl UplinkOptions {
    /// The MTU in bytes that the uplink gets: 0 means 1500.
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

/// What a node agent reports of a network config on a host (`VlanStatus`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkStatus {
    /// The cluster network.
    pub cluster_network: Name,
    /// The network config that the report was written for.
    pub config: Name,
    /// The host.
    pub host: Name,
    /// Whether its condition `ready` is `True`.
    pub ready: bool,
    /// The condition's message, empty if there is none.
    pub message: Name,
}

/// What is known of the hosts' NICs (`LinkMonitor`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkMonitor {
    /// The links of each host that reports any.
    pub links: BTreeMap<Name, Box<[Link]>>,
}

/// One link of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The NIC's name.
    pub name: Name,
    /// Whether it is up.
    pub state: LinkState,
    /// Its number on the host.
    pub index: i64,
    /// The number of the link that it is enslaved to, if it is.
    pub master: Option<i64>,
}

/// Whether a link is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It carries traffic.
    Up,
    /// It does not.
    Down,
    /// The agent could not tell, which is no reason to avoid the host.
    Unknown,
}

/// The VM networks that something asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Their keys, sorted, each once.
    pub vm_networks: Box<[Key]>,
    /// Why the rest of what is asked for could not be read, if it could not.
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

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vm_networks.is_empty() && self.unreadable.is_none()
    }
}

/// A virtual machine as its owner described it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vm {
    /// The VM networks of its template.
    pub networks: Selection,
    /// The MAC addresses that its interfaces ask for, in lower case with colons, each with the VM
    /// network that the interface is on.
    pub macs: Box<[(Name, Key)]>,
    /// Whether it is to receive a VM from another cluster (`runStrategy: WaitAsReceiver`).
    pub receiving: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Whether it is going away, and all that is in it.
    pub terminating: bool,
}

/// A virtual machine's running instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vmi {
    /// Its UID, empty if it has none (a manifest that was never in a cluster).
    pub uid: Name,
    /// Whether its phase is `Succeeded` or `Failed`.
    pub finished: bool,
    /// The VM networks of its spec. Its pods may still use others.
    pub networks: Selection,
    /// The host that it runs on.
    pub host: Option<Name>,
    /// The hosts of `status.activePods`; ended pods of a migration stay listed.
    pub active_hosts: Box<[Name]>,
    /// The host that an unfinished migration takes it to.
    pub migration_target: Option<Name>,
}

/// A running instance's move to another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The instance that moves.
    pub vmi: Key,
    /// The host that it moves to, while the move is not finished.
    pub target: Option<Name>,
}

/// The pod that a running instance lives in (`virt-launcher`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LauncherPod {
    /// The instance that owns it.
    pub vmi: Key,
    /// That instance's UID, empty if it is not known.
    pub vmi_uid: Name,
    /// Whether its phase is `Succeeded` or `Failed`.
    pub ended: bool,
    /// The host that it is bound to.
    pub host: Option<Name>,
    /// The VM networks of its Multus annotations: what it really uses.
    pub networks: Selection,
}

impl LauncherPod {
    /// Whether it belongs to this instance, and not to an earlier one of the same name.
    pub(super) fn is_of(&self, vmi: &Vmi) -> bool {
        self.vmi_uid.is_empty() || vmi.uid.is_empty() || self.vmi_uid == vmi.uid
    }
}

/// A host (`Node`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Its labels.
    pub labels: Labels,
    /// Whether it is a witness: it votes in etcd and runs no VM.
    pub witness: bool,
}

impl Host {
    /// Whether a network config with this selector covers it. Witness hosts are never covered.
    #[must_use]
    pub fn is_covered_by(&self, selector: &Labels) -> bool {
        !self.witness && self.labels.contain(selector)
    }
}
