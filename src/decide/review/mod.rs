//! The review of a change to an object, in two pure steps: `scope` says what must be read afresh
//! before a verdict is safe, `judge` answers from a snapshot that has it (spec, section 5).

pub mod cluster_network;
mod code;
pub mod host;
pub mod network_config;
mod uplink;
pub mod vm;
pub mod vm_network;

use crate::cluster::{Key, Kind, MGMT, Name, ObjectRef, Snapshot};

pub use code::Code;

/// What a request does to an object.
#[derive(Clone, Debug)]
pub enum Write<T> {
    /// Makes it.
    Create(T),
    /// Replaces the old one.
    Update {
        /// As it is now.
        old: T,
        /// As it would be.
        new: T,
    },
    /// Deletes it.
    Delete(T),
}

impl<T> Write<T> {
    /// The old version, if there is one.
    pub fn before(&self) -> Option<&T> {
        match self {
            Self::Create(_) => None,
            Self::Update { old, .. } | Self::Delete(old) => Some(old),
        }
    }

    /// The new version, if there is one.
    pub fn after(&self) -> Option<&T> {
        match self {
            Self::Create(new) | Self::Update { new, .. } => Some(new),
            Self::Delete(_) => None,
        }
    }
}

/// A change to an object of one of the kinds that have rules.
#[derive(Clone, Debug)]
pub enum Request {
    /// To a cluster network.
    ClusterNetwork(Write<cluster_network::Subject>),
    /// To a network config.
    NetworkConfig(Write<network_config::Subject>),
    /// To a VM network.
    VmNetwork(Write<vm_network::Subject>),
    /// To a VM.
    Vm(Write<vm::Subject>),
    /// To a host.
    Host(Write<host::Subject>),
}

/// What must be read afresh before a verdict is safe.
#[must_use]
pub fn scope(snapshot: &Snapshot, request: &Request) -> Scope {
    match request {
        Request::ClusterNetwork(write) => cluster_network::scope(snapshot, write),
        Request::NetworkConfig(write) => network_config::scope(snapshot, write),
        Request::VmNetwork(write) => vm_network::scope(snapshot, write),
        Request::Vm(write) => vm::scope(snapshot, write),
        Request::Host(write) => host::scope(write),
    }
}

/// By whose word a change is judged, and how strictly.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy {
    /// Whether its author is one of those who keep `mgmt`.
    pub trusted: bool,
    /// Whether a VM that no host can run is refused, and not only warned about.
    pub deny_unschedulable: bool,
}

/// Judges a change.
pub fn judge(snapshot: &Snapshot, request: &Request, policy: Policy) -> Judgement {
    let Policy { trusted, deny_unschedulable } = policy;
    match request {
        Request::ClusterNetwork(write) => cluster_network::judge(snapshot, write, trusted),
        Request::NetworkConfig(write) => network_config::judge(snapshot, write, trusted),
        Request::VmNetwork(write) => vm_network::judge(snapshot, write),
        Request::Vm(write) => vm::judge(snapshot, write, deny_unschedulable),
        Request::Host(write) => host::judge(snapshot, write),
    }
}

/// How long a cluster network's name may be: with `-br` behind it, it must fit an interface's 15
/// characters.
pub const MOST_NAME: usize = 12;
/// The lowest MTU, in bytes, that may be set.
pub const MIN_MTU: i64 = 576;
/// The highest MTU, in bytes, that may be set.
pub const MAX_MTU: i64 = 9000;

/// Whether an MTU may be set: 0 stands for the default.
fn mtu_in_range(mtu: i64) -> bool {
    mtu == 0 || (MIN_MTU..=MAX_MTU).contains(&mtu)
}

/// What must be read afresh before a verdict is safe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The hosts whose running VMs matter.
    pub running_vms_on: Vec<Name>,
    /// The cluster network whose network configs and VM networks matter.
    pub users_of: Option<Name>,
    /// The VM network whose VMs matter.
    pub users_of_vm_network: Option<Key>,
    /// Objects that the change speaks of and that are unknown here.
    pub unknown: Vec<ObjectRef>,
    /// Cluster networks whose network configs matter, and may be too young to be known.
    pub configs_of: Vec<Name>,
}

/// Whether a cluster network has no network config that is known. A new one and its first config come
/// by two watches, of which one may be ahead.
fn lacks_configs(snapshot: &Snapshot, cluster_network: &Name) -> bool {
    &**cluster_network != MGMT && snapshot.configs_of(cluster_network).next().is_none()
}

/// What there is to say about a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Judgement {
    /// The rules that it breaks, in the order of the spec's table; none admits it.
    pub violations: Vec<Violation>,
    /// What its author should know, though nothing forbids it.
    pub warnings: Vec<String>,
}

impl Judgement {
    /// Whether the change may pass.
    #[must_use]
    pub fn admitted(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether each violation is a fault of the object alone, whatever else the cluster holds.
    #[must_use]
    pub fn faults_of_the_object_alone(&self) -> bool {
        self.violations.iter().all(|violation| violation.of_the_object_alone)
    }

    /// The codes of all violations.
    #[must_use]
    pub fn codes(&self) -> Vec<&'static str> {
        self.violations.iter().map(|violation| violation.code.as_str()).collect()
    }

    /// All violations, one line each: `code: text`.
    #[must_use]
    pub fn message(&self) -> String {
        let lines: Vec<String> = self
            .violations
            .iter()
            .map(|violation| format!("{}: {}", violation.code, violation.message))
            .collect();
        lines.join("\n")
    }
}

impl Judgement {
    /// Refuses an object that can't be read, and so not judged.
    pub fn unreadable(kind: Kind, why: &str) -> Self {
        let violation = Violation {
            code: Code::Unreadable,
            field: None,
            message: format!("this {} can't be read: {why}", kind.kubernetes()),
            of_the_object_alone: true,
        };
        Self { violations: vec![violation], warnings: Vec::new() }
    }
}

/// A rule that a change breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub code: Code,
    /// The path of the field that breaks it, if it is one field.
    pub field: Option<&'static str>,
    /// What is wrong, and the objects to act on.
    pub message: String,
    /// Whether the object is at fault whatever else the cluster holds.
    pub of_the_object_alone: bool,
}
