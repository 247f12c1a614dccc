//! Hosts × cluster networks at a glance.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use crate::cluster::{Kind, LinkState, MGMT, Name, Snapshot};
use crate::decide::causes::inactive_code;

/// The state of a host on a cluster network that is active there.
const ACTIVE: &str = "active";

/// Hosts × cluster networks, and how much there is of everything.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// The number of the snapshot. A later snapshot has a larger one.
    version: u64,
    /// The states that a host can be in on a cluster network. The first is `active`; the others are
    /// codes of causes.
    codes: Vec<&'static str>,
    /// The cluster networks: `mgmt`, then the others by name.
    cluster_networks: Vec<ClusterNetworkSummary>,
    /// The hosts, by name.
    hosts: Vec<HostSummary>,
    /// How many objects there are.
    counts: Counts,
    /// The number of problems that `lanekeeper check` finds.
    problems: usize,
}

/// A cluster network, counted over all hosts.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ClusterNetworkSummary {
    name: Name,
    /// The number of hosts on which it is active.
    active: usize,
    /// Why it is not active on the others.
    gaps: Vec<Gap>,
    network_configs: usize,
    vm_networks: usize,
    /// The MTU in bytes; null if `uplink-mtu` can't be read.
    mtu: Option<i64>,
}

/// A cause, and on how many hosts it keeps a cluster network from being active.
#[derive(Debug, Serialize, JsonSchema)]
struct Gap {
    code: &'static str,
    hosts: usize,
}

/// A host, and its state on each cluster network.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct HostSummary {
    name: Name,
    /// Whether the host is a witness host, which runs no VMs.
    witness: bool,
    /// Whether a link monitor reports the host's links.
    reports_links: bool,
    /// The number of the host's links that are down.
    links_down: usize,
    /// The number of VMs that run on the host.
    vms: usize,
    /// For each of `clusterNetworks`, a position in `codes`.
    states: Vec<usize>,
}

/// How many objects there are.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Counts {
    network_configs: usize,
    vm_networks: usize,
    vms: usize,
    running_vms: usize,
    host_network_configs: usize,
}

impl Overview {
    /// The overview of a snapshot with this version, in which so many problems were found.
    #[must_use]
    pub fn of(snapshot: &Snapshot, version: u64, problems: usize) -> Self {
        let mgmt = Name::from(MGMT);
        let others: BTreeSet<&Name> =
            snapshot.cluster_networks().filter(|name| ***name != *MGMT).collect();
        let names: Vec<&Name> = std::iter::once(&mgmt).chain(others).collect();
        let networks: Vec<_> = names.iter().map(|name| snapshot.network(name)).collect();
        let mut codes = vec![ACTIVE];
        let mut gaps: Vec<BTreeMap<&'static str, usize>> = vec![BTreeMap::new(); names.len()];
        let mut hosts = Vec::new();
        for host in snapshot.hosts() {
            let states = networks.iter().zip(&mut gaps).map(|(network, gaps)| {
                let Some(why) = network.inactive(host) else { return 0 };
                let code = inactive_code(why);
                *gaps.entry(code).or_default() += 1;
                codes.iter().position(|it| *it == code).unwrap_or_else(|| {
                    codes.push(code);
                    codes.len() - 1
                })
            });
            let states = states.collect();
            let links = || snapshot.links(host).flatten();
            hosts.push(HostSummary {
                name: host.name().clone(),
                witness: snapshot.is_witness(host),
                reports_links: links().next().is_some(),
                links_down: links().filter(|link| link.state == LinkState::Down).count(),
                vms: snapshot.vmis_on(host.name()).count(),
                states,
            });
        }
        let summaries = names.iter().zip(gaps).map(|(name, gaps)| ClusterNetworkSummary {
            name: (*name).clone(),
            active: hosts.len() - gaps.values().sum::<usize>(),
            gaps: gaps.into_iter().map(|(code, hosts)| Gap { code, hosts }).collect(),
            network_configs: snapshot.configs_of(name).count(),
            vm_networks: snapshot.vm_networks_of(name).count(),
            mtu: snapshot.mtu_of(name).ok(),
        });
        Self {
            version,
            cluster_networks: summaries.collect(),
            codes,
            hosts,
            counts: Counts {
                network_configs: snapshot.configs().count(),
                vm_networks: snapshot.count(Kind::VmNetwork),
                vms: snapshot.count(Kind::Vm),
                running_vms: snapshot.vmis().filter(|(_, vmi)| !vmi.finished).count(),
                host_network_configs: snapshot.count(Kind::HostNetwork),
            },
            problems,
        }
    }
}
