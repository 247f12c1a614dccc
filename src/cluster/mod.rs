//! The cluster's facts, and the index that keeps what is derived from them up to date.
//!
//! Everything here is pure. It knows nothing of Kubernetes' formats, files, clocks or tasks, so a
//! test consists of [`Index::apply`] and an assertion.
#![warn(missing_docs)]

mod difference;
mod facts;
mod followers;
mod host_names;
mod host_set;
mod hosts;
mod index;
mod interner;
mod mac;
mod mtu;
mod names;
mod network;
mod options;
mod overview;
mod problems;
mod selectors;
mod snapshot;
mod state;
mod uid;
mod uplinks;
mod vm_networks;

pub use difference::{Difference, HostsChanged};
pub use facts::{
    Change, ClusterNetwork, Fact, HostNetwork, LauncherPod, Link, LinkMonitor, LinkState,
    Migration, Moves, Namespace, Now, Run, Selection, UplinkMtu, UplinkStatus, Vm, Vmi, Waiting,
};
pub use host_set::{HostRef, HostSet};
pub use hosts::{Host, HostRun, HostWalk};
pub use index::Index;
pub use mac::Mac;
pub use mtu::{DEFAULT_MTU, effective_mtu};
pub use names::{Key, Kind, MGMT, Name, ObjectRef, is_dns_subdomain};
pub use network::Network;
pub use options::{Activation, Options};
pub use problems::{Problem, ProblemKind};
pub use selectors::{Expression, HostChoice, HostTerm, LabelSelector, Labels, Operator};
pub use snapshot::Snapshot;
pub use state::{Inactive, Uplink};
pub use uid::Uid;
pub use uplinks::{BondOptions, NetworkConfig, UplinkOptions};
pub use vm_networks::{
    Cni, CniConfig, RepeatedKey, Route, TrunkEntry, UnreadableCni, VmNetwork, is_bridge_kind,
};
