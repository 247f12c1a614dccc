//! What is wrong with cluster networks, host network configs and VM networks.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{
    HostRef, Inactive, Key, Kind, MGMT, Name, Snapshot, UplinkMtu, effective_mtu,
};
use crate::decide::names::list;
use crate::decide::review::{self, reserved_vlans, standing_network, standing_vm_network};

use super::{Code, Finding};

/// Finds faults of cluster networks, MTUs that differ, and cluster networks with VM networks that are
/// active nowhere.
pub(super) fn cluster_networks(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for name in snapshot.cluster_networks() {
        let found = |code, message| Finding::named(code, Kind::ClusterNetwork, name, message);
        let facts = snapshot.cluster_network(name);
        let standing = facts.map(|facts| standing_network(name, facts)).unwrap_or_default();
        let is_sound = standing.is_empty();
        findings.extend(standing.into_iter().map(|it| found(Code::Rule(it.code), it.message)));
        let configs: Vec<(&Name, i64)> = snapshot.config_mtus(name).collect();
        let mtus: BTreeSet<i64> = configs.iter().map(|(_, mtu)| *mtu).collect();
        let configs = list(configs.iter().map(|(config, mtu)| format!("{config} ({mtu})")));
        let uplink_mtu = facts.map(|facts| &facts.uplink_mtu);
        match (mtus.len(), mtus.first(), uplink_mtu) {
            (2.., ..) => findings.push(found(
                Code::Rule(review::Code::VcMtu),
                format!(
                    "the network configs of cluster network {name} have different MTUs: {configs}; \
                     give them the same MTU, one after the other, while no running VM and no \
                     system network uses the cluster network"
                ),
            )),
            (1, Some(mtu), Some(UplinkMtu::Is(written)))
                if is_sound && effective_mtu(*written) != *mtu =>
            {
                findings.push(found(
                    Code::Rule(review::Code::CnMtu),
                    format!(
                        "uplink-mtu {written} of cluster network {name} differs from the MTU of \
                         its network configs: {configs}; set uplink-mtu to {mtu}"
                    ),
                ));
            }
            _ => {}
        }
        if let Some(message) = inactive(snapshot, name) {
            findings.push(found(Code::ClusterNetworkInactive, message));
        }
    }
}

/// Why a cluster network with VM networks is active nowhere.
fn inactive(snapshot: &Snapshot, name: &Name) -> Option<String> {
    if snapshot.network(name).is_active_anywhere() || snapshot.count(Kind::Host) == 0 {
        return None;
    }
    let vm_networks: Vec<&Key> = snapshot.vm_networks_of(name).map(|(key, _)| key).collect();
    if vm_networks.is_empty() {
        return None;
    }
    let configs: Vec<_> = snapshot.configs_of(name).collect();
    let why = if configs.is_empty() {
        "has no network config; create one".to_owned()
    } else {
        let names = list(configs.iter().map(|(config, ..)| config));
        if configs.iter().all(|(_, _, hosts)| hosts.is_empty()) {
            format!("has network configs that cover no host: {names}; change a nodeSelector")
        } else {
            format!("has no uplink that is ready, of network configs: {names}; repair one")
        }
    };
    Some(format!(
        "cluster network {name} is active on no host, so no VM can use its VM networks: {}. It {why}",
        list(vm_networks)
    ))
}

/// Finds host network configs that select hosts where their cluster network is not active. That a
/// witness host has none is as it should be.
pub(super) fn host_networks(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for (name, facts) in snapshot.host_networks() {
        let network = snapshot.network(&facts.cluster_network);
        if **network.name() == *MGMT || !network.exists() {
            continue;
        }
        let active = network.active().unwrap_or_default();
        let hosts: BTreeSet<&Name> = snapshot
            .every_host()
            .filter(|host| !active.contains(*host) && snapshot.selects(&facts.selector, *host))
            .filter(|host| network.inactive(*host) != Some(Inactive::WitnessHost))
            .map(HostRef::name)
            .collect();
        if hosts.is_empty() {
            continue;
        }
        let underlay =
            if facts.underlay { ", and the pods' network between hosts runs over it" } else { "" };
        let message = format!(
            "host network config {name} selects hosts where cluster network {} is not \
             active{underlay}: {}; change its nodeSelector, or bring the cluster network up there",
            facts.cluster_network,
            list(&hosts)
        );
        let code = Code::HostNetworkInactive;
        findings.push(Finding::named(code, Kind::HostNetwork, name, message).on(hosts));
    }
}

/// Finds VM networks that break rules as they stand.
pub(super) fn vm_networks(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let reserving =
        snapshot.vm_networks().filter(|(_, facts)| facts.system && facts.exclusive_vlan);
    let reserving: BTreeSet<Name> =
        reserving.filter_map(|(_, facts)| snapshot.cluster_network_of(facts)).collect();
    let reserved: BTreeMap<&Name, _> =
        reserving.iter().map(|name| (name, reserved_vlans(snapshot, name))).collect();
    for (key, facts) in snapshot.vm_networks() {
        let under = snapshot.cluster_network_of(facts);
        let reserved = under.as_ref().and_then(|under| reserved.get(under));
        let reserved = reserved.map(|reserved| &**reserved).unwrap_or_default();
        let standing = standing_vm_network(snapshot, key, facts, reserved).into_iter();
        findings.extend(standing.map(|violation| {
            Finding::of(Code::Rule(violation.code), Kind::VmNetwork, key, violation.message)
        }));
    }
}
