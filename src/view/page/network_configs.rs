//! Network configs, the records of `mgmt`, and a cluster network with what belongs to it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::cluster::{HostSet, Name, NetworkConfig, Snapshot};
use crate::view::explain::ClusterNetworkView;

/// All network configs.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkConfigs {
    /// The network configs, by name.
    network_configs: Vec<NetworkConfigFacts>,
    /// The node agents' records of `mgmt`, by name.
    mgmt: Vec<NetworkConfigFacts>,
}

/// A network config (`VlanConfig`).
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkConfigFacts {
    name: Name,
    cluster_network: Name,
    description: Name,
    /// The labels that a host must have. Without any, every host is covered.
    node_selector: BTreeMap<String, String>,
    nics: Vec<Name>,
    /// The bond's mode.
    mode: Name,
    /// The interval, in milliseconds, at which the bond checks its links; null if it is not set.
    miimon: Option<i64>,
    /// The MTU in bytes.
    mtu: i64,
    /// The hosts that are covered, by name.
    hosts: Vec<Name>,
    /// Whether the network config is being deleted. It then covers no host.
    deleting: bool,
    /// The host whose `mgmt` uplink this records.
    record_of: Option<Name>,
}

impl NetworkConfigFacts {
    /// The network config with these facts, which covers these hosts.
    #[must_use]
    pub fn of(snapshot: &Snapshot, name: &Name, facts: &NetworkConfig, hosts: &HostSet) -> Self {
        let labels = facts.selector.under("");
        Self {
            name: name.clone(),
            cluster_network: facts.cluster_network.clone(),
            description: facts.description.clone(),
            node_selector: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            nics: facts.nics.to_vec(),
            mode: facts.options.bond.mode.clone(),
            miimon: Some(facts.options.bond.miimon).filter(|interval| *interval >= 0),
            mtu: facts.options.effective_mtu(),
            hosts: snapshot.names(hosts).into_iter().cloned().collect(),
            deleting: facts.deleting,
            record_of: facts.named_after.clone().filter(|_| facts.is_mgmt()),
        }
    }
}

impl NetworkConfigs {
    /// The network configs of a snapshot.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let (mut network_configs, mut mgmt) = (Vec::new(), Vec::new());
        for (name, facts, hosts) in snapshot.every_config() {
            let list = if facts.is_mgmt() { &mut mgmt } else { &mut network_configs };
            list.push(NetworkConfigFacts::of(snapshot, name, facts, hosts));
        }
        Self { network_configs, mgmt }
    }
}

/// A cluster network: the hosts on which it is active, and what belongs to it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterNetworkPage<'s> {
    #[serde(flatten)]
    view: ClusterNetworkView<'s>,
    /// The MTU in bytes; null if `uplink-mtu` can't be read.
    mtu: Option<i64>,
    /// The condition `ready`; null if there is none.
    ready: Option<bool>,
    /// The host network configs, by name.
    host_network_configs: Vec<Name>,
}

impl<'s> ClusterNetworkPage<'s> {
    /// The cluster network of this name; `None` if it does not exist.
    #[must_use]
    pub fn of(snapshot: &'s Snapshot, name: &'s Name) -> Option<Self> {
        Some(Self {
            view: ClusterNetworkView::of(snapshot, name)?,
            mtu: snapshot.mtu_of(name).ok(),
            ready: snapshot.cluster_network(name).and_then(|facts| facts.ready),
            host_network_configs: snapshot
                .host_networks_of(name)
                .map(|(name, _)| name.clone())
                .collect(),
        })
    }
}
