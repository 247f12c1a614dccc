//! What is wrong with network configs, apart from their uplinks.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{HostSet, Kind, MGMT, Name, NetworkConfig, Snapshot};
use crate::decide::names::list;
use crate::decide::review;

use super::{Code, Finding};

/// Finds what is wrong with each network config that counts.
pub(super) fn configs(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let all: Vec<_> = snapshot.configs().collect();
    let by_mgmt = review::nics_of_mgmt(snapshot);
    let any_host = snapshot.count(Kind::Host) > 0;
    for (at, &(name, facts, hosts)) in all.iter().enumerate() {
        let standing = review::standing_config(snapshot, name, facts, hosts).into_iter();
        findings.extend(standing.map(|violation| {
            let code = Code::Rule(violation.code);
            Finding::named(code, Kind::NetworkConfig, name, violation.message)
        }));
        if hosts.is_empty() && any_host {
            let message = format!(
                "network config {name} of cluster network {} covers no host; change its \
                 nodeSelector or the hosts' labels, or delete it",
                facts.cluster_network
            );
            findings.push(found(Code::ConfigCoversNoHost, name, message));
        }
        if facts.nics.is_empty() {
            let message = format!(
                "network config {name} of cluster network {} lists no NIC, so its uplink carries \
                 no traffic; list NICs in spec.uplink.nics",
                facts.cluster_network
            );
            findings.push(found(Code::ConfigWithoutNics, name, message));
        }
        findings.extend(overlap(snapshot, name, facts, hosts));
        let later = all.get(at + 1..).unwrap_or_default();
        findings.extend(nic_conflict(snapshot, name, facts, hosts, later));
        findings.extend(nics_of_mgmt(snapshot, &by_mgmt, name, facts, hosts));
    }
}

fn found(code: Code, name: &Name, message: String) -> Finding {
    Finding::named(code, Kind::NetworkConfig, name, message)
}

/// The hosts that the network config shares with later ones of its cluster network, so that each pair
/// is found once.
fn overlap(
    snapshot: &Snapshot,
    name: &Name,
    facts: &NetworkConfig,
    hosts: &HostSet,
) -> Option<Finding> {
    let mut others = review::covering(snapshot, &facts.cluster_network, hosts);
    others.retain(|other, _| *other > name);
    if others.is_empty() {
        return None;
    }
    let both = others.values().fold(HostSet::default(), |all, hosts| all.union(hosts));
    let hosts = snapshot.names(&both);
    let message = format!(
        "network configs {} of cluster network {} cover the same hosts: {}; change a nodeSelector, \
         so that one network config covers each host",
        list([name].into_iter().chain(others.into_keys())),
        facts.cluster_network,
        list(&hosts)
    );
    Some(found(Code::Rule(review::Code::VcOverlap), name, message).on(hosts))
}

/// The NICs that the network config shares, on the same hosts, with later ones of other cluster
/// networks.
fn nic_conflict(
    snapshot: &Snapshot,
    name: &Name,
    facts: &NetworkConfig,
    hosts: &HostSet,
    later: &[(&Name, &NetworkConfig, &HostSet)],
) -> Option<Finding> {
    let (mut nics, mut others, mut both) = (BTreeSet::new(), Vec::new(), HostSet::default());
    for (other, theirs, covered) in later {
        if theirs.cluster_network == facts.cluster_network {
            continue;
        }
        let mut shared = facts.nics.iter().filter(|nic| theirs.nics.contains(nic)).peekable();
        if shared.peek().is_none() {
            continue;
        }
        let covered = covered.intersection(hosts);
        if !covered.is_empty() {
            nics.extend(shared);
            others.push(format!("{other} of cluster network {}", theirs.cluster_network));
            both = both.union(&covered);
        }
    }
    if others.is_empty() {
        return None;
    }
    let hosts = snapshot.names(&both);
    let message = format!(
        "network config {name} of cluster network {} and network config {} use the same NICs: {} \
         on hosts: {}; choose other NICs or other hosts",
        facts.cluster_network,
        list(others),
        list(nics),
        list(&hosts)
    );
    Some(found(Code::Rule(review::Code::VcNicConflict), name, message).on(hosts))
}

/// The NICs of the network config that carry `mgmt` on covered hosts.
fn nics_of_mgmt(
    snapshot: &Snapshot,
    by_mgmt: &BTreeMap<&Name, HostSet>,
    name: &Name,
    facts: &NetworkConfig,
    hosts: &HostSet,
) -> Option<Finding> {
    let (mut nics, mut both) = (BTreeSet::new(), HostSet::default());
    for nic in &facts.nics {
        let used = by_mgmt.get(nic).map(|used| used.intersection(hosts)).unwrap_or_default();
        if !used.is_empty() {
            nics.insert(nic);
            both = both.union(&used);
        }
    }
    if nics.is_empty() {
        return None;
    }
    let hosts = snapshot.names(&both);
    let message = format!(
        "network config {name} of cluster network {} uses NICs that cluster network {MGMT} uses: \
         {} on hosts: {}; choose other NICs or other hosts",
        facts.cluster_network,
        list(nics),
        list(&hosts)
    );
    Some(found(Code::Rule(review::Code::VcNicConflict), name, message).on(hosts))
}
