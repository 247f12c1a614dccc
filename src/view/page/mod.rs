//! What the web page shows beyond the answers of the commands.

mod host;
mod network_configs;
mod overview;
mod vm_networks;
mod vms;

pub use host::{HostNetworkConfigs, HostPage};
pub use network_configs::{ClusterNetworkPage, NetworkConfigFacts, NetworkConfigs};
pub use overview::Overview;
pub(in crate::view) use vm_networks::trunk_texts;
pub use vm_networks::{VmNetworkPage, VmNetworks};
pub use vms::{VmList, VmPage, VmsAsked};
