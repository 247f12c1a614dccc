//! A VM network or a cluster network: on which hosts it is active, and what belongs to it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::cluster::{HostRef, Key, Name, Snapshot};
use crate::decide::explain::{Asked, inactive};
use crate::view::table::printable;

use super::row::{Row, names_line, rows_table};

/// A VM network: its cluster network, the VMs that use it, and the hosts on which a VM on it can run.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VmNetworkView<'s> {
    vm_network: &'s str,
    cluster_network: Option<Name>,
    vms: Vec<String>,
    running_vms: Vec<String>,
    /// Whether a VM on the VM network can run on each host.
    pub hosts: Vec<Row>,
}

impl<'s> VmNetworkView<'s> {
    /// The VM network of this name; `None` if it does not exist.
    #[must_use]
    pub fn of(snapshot: &'s Snapshot, key: &'s Key) -> Option<Self> {
        let facts = snapshot.vm_network(key)?;
        let asked = Asked::on_network(snapshot, key);
        let row =
            |host: HostRef<'_>| Row::new(host.name(), asked.causes(snapshot, host), snapshot, host);
        Some(Self {
            vm_network: key.as_str(),
            cluster_network: snapshot.cluster_network_of(facts),
            vms: snapshot.vms_using(key).map(ToString::to_string).collect(),
            running_vms: snapshot.vmis_using(key).map(ToString::to_string).collect(),
            hosts: snapshot.hosts().into_iter().map(row).collect(),
        })
    }

    /// The VM network for people.
    #[must_use]
    pub fn table(&self) -> String {
        let under = self.cluster_network.as_deref().unwrap_or("-, so it restricts no host");
        format!(
            "VM network {}\nCluster network: {}\n{}{}\n{}",
            printable(self.vm_network),
            printable(under),
            names_line("VMs", &self.vms),
            names_line("Running VMs", &self.running_vms),
            rows_table(["HOST", "CAN USE"], &self.hosts),
        )
    }
}

/// A cluster network: the hosts on which it is active, its network configs and its VM networks.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterNetworkView<'s> {
    cluster_network: &'s str,
    network_configs: Vec<String>,
    vm_networks: Vec<String>,
    /// Whether the cluster network is active on each host.
    pub hosts: Vec<Row>,
}

impl<'s> ClusterNetworkView<'s> {
    /// The cluster network of this name; `None` if it does not exist.
    #[must_use]
    pub fn of(snapshot: &'s Snapshot, name: &'s Name) -> Option<Self> {
        let row = |host: HostRef<'_>| {
            let cause = inactive(snapshot, name, host).map(|cause| (None, cause));
            Row::new(host.name(), cause, snapshot, host)
        };
        snapshot.exists(name).then(|| Self {
            cluster_network: name,
            network_configs: snapshot.configs_naming(name).map(ToString::to_string).collect(),
            vm_networks: snapshot.vm_networks_of(name).map(|(key, _)| key.to_string()).collect(),
            hosts: snapshot.hosts().into_iter().map(row).collect(),
        })
    }

    /// The cluster network for people.
    #[must_use]
    pub fn table(&self) -> String {
        format!(
            "Cluster network {}\n{}{}\n{}",
            printable(self.cluster_network),
            names_line("Network configs", &self.network_configs),
            names_line("VM networks", &self.vm_networks),
            rows_table(["HOST", "ACTIVE"], &self.hosts),
        )
    }
}
