//! What is: the cluster's facts, and the index that keeps what follows from them at hand.
//!
//! Pure. Nothing in here knows of Kubernetes' formats, of files, clocks or tasks, so a test is
//! [`Index::apply`] and an assertion.
#![warn(missing_docs)]

mod activity;
mod facts;
mod hosts;
mod index;
mod names;
mod problems;
mod snapshot;
mod state;
mod vm_networks;
mod vms;

pub use activity::{Activation, Inactive, Uplink};
pub use facts::{
    Change, ClusterNetwork, DEFAULT_MTU, Fact, Host, Labels, LauncherPod, Link, LinkMonitor,
    LinkState, Migration, Namespace, NetworkConfig, Now, Selection, UplinkMtu, UplinkOptions,
    UplinkStatus, Vm, Vmi, effective_mtu,
};
pub use hosts::{HostRef, HostSet, HostWalk};
pub use index::{Index, Options};
pub use names::{Key, Kind, MGMT, Name, ObjectRef};
pub use problems::Problem;
pub use snapshot::{Network, Snapshot};
pub use vm_networks::{Cni, CniConfig, VmNetwork};
