//! What the leader keeps right, and what an object lacks.

use std::collections::BTreeSet;
use std::fmt;

use crate::cluster::{Inactive, Key, Kind, Name, Uid};

/// An object that the leader keeps right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A cluster network: whether it exists (`mgmt`), its condition `ready` and its `uplink-mtu`.
    ClusterNetwork(Name),
    /// The labels of a host.
    Host(Name),
    /// The label `ready` of a VM network.
    VmNetwork(Key),
    /// A running VM, which gets an Event if it is cut off.
    Vmi(Key),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name): (Kind, &dyn fmt::Display) = match self {
            Self::ClusterNetwork(name) => (Kind::ClusterNetwork, name),
            Self::Host(name) => (Kind::Host, name),
            Self::VmNetwork(key) => (Kind::VmNetwork, key),
            Self::Vmi(key) => (Kind::Vmi, key),
        };
        write!(f, "{} {name}", kind.kubernetes())
    }
}

/// What an object lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Create the cluster network `mgmt`.
    CreateMgmt,
    /// Change a cluster network.
    ClusterNetwork(ClusterNetworkUpdate),
    /// Change the labels of a host: set each to `true`, or remove it.
    HostLabels {
        /// The host.
        host: Name,
        /// The cluster networks whose labels change, and whether the label is set.
        labels: Vec<(Name, bool)>,
    },
    /// Set the label `ready` of a VM network.
    VmNetworkReady {
        /// The VM network.
        vm_network: Key,
        /// The label's value.
        ready: bool,
    },
    /// Create a Warning Event for a running VM.
    CutOff(CutOff),
}

/// What the leader keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// Events alone: labels and cluster networks are kept by Harvester's agent and manager.
    EventsOnly,
}

/// What a cluster network lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNetworkUpdate {
    /// The cluster network.
    pub name: Name,
    /// The status that the condition `ready` should have, if it has another or is missing: whether
    /// the cluster network is active on at least one host.
    pub ready: Option<bool>,
    /// The MTU in bytes that `uplink-mtu` should have, if it has another or is missing.
    pub uplink_mtu: Option<i64>,
}

/// A running VM that is cut off from cluster networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// The VM.
    pub vmi: Key,
    /// The UID of the VMI.
    pub uid: Uid,
    /// Each host of the VM with a cluster network that is not active there, and why, sorted.
    pub from: BTreeSet<(Name, Name, Inactive)>,
}
