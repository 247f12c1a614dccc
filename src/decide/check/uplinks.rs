//! What hosts report of NICs and uplinks, if it is bad news.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{
    Activation, HostRef, HostSet, Inactive, Kind, MGMT, Name, NetworkConfig, Snapshot, UplinkStatus,
};
use crate::decide::names::list;
use crate::decide::review::Nics;

use super::{Code, Finding};

/// Finds NICs that are down, missing or in another bond, for each network config and each record of
/// `mgmt`. A host without any known links says nothing of its NICs.
pub(super) fn nics(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    if snapshot.count(Kind::LinkMonitor) == 0 {
        return;
    }
    let records = snapshot.mgmt_records().map(|(name, facts, host)| {
        let mut hosts = HostSet::default();
        hosts.add(host);
        (name, facts, hosts)
    });
    let records: Vec<_> = records.collect();
    let configs = snapshot.configs();
    let all: Vec<_> =
        configs.chain(records.iter().map(|(name, facts, hosts)| (*name, *facts, hosts))).collect();
    let names: BTreeSet<&Name> = all.iter().flat_map(|(_, facts, _)| &*facts.nics).collect();
    let reported = Nics::of(snapshot, names, snapshot.every_host());
    for (name, facts, hosts) in all {
        nics_of(snapshot, &reported, (name, facts, hosts), findings);
    }
}

fn nics_of(
    snapshot: &Snapshot,
    reported: &Nics<'_>,
    (name, facts, hosts): (&Name, &NetworkConfig, &HostSet),
    findings: &mut Vec<Finding>,
) {
    let found = |code, hosts: &HostSet, message: &dyn Fn(String) -> String| {
        let hosts = snapshot.names(hosts);
        Finding::named(code, Kind::NetworkConfig, name, message(list(&hosts))).on(hosts)
    };
    let nics: BTreeSet<&Name> = facts.nics.iter().collect();
    let unusable = |nic| reported.down(nic, hosts).union(&reported.missing(nic, hosts));
    let dead = nics.iter().map(|nic| unusable(nic)).reduce(|all, more| all.intersection(&more));
    let dead = dead.unwrap_or_default();
    if !dead.is_empty() {
        findings.push(found(Code::AllNicsDown, &dead, &|names| {
            format!(
                "every NIC of network config {name} ({}) is down or missing on {} of {} covered \
                 hosts, where the uplink carries no traffic: {names}; check cables, switch ports \
                 and the NICs' names",
                list(&nics),
                dead.len(),
                hosts.len()
            )
        }));
    }
    for nic in nics {
        for (of, what, remedy) in [
            (reported.down(nic, hosts), "down", "check the cable and the switch port"),
            (reported.missing(nic, hosts), "missing", "correct spec.uplink.nics, or replace it"),
        ] {
            let of = of.difference(&dead);
            if !of.is_empty() {
                findings.push(found(Code::NicDown, &of, &|names| {
                    format!(
                        "NIC {nic} of network config {name} is {what} on {} of {} covered hosts, \
                         where other NICs carry the traffic: {names}; {remedy}",
                        of.len(),
                        hosts.len()
                    )
                }));
            }
        }
        if facts.is_mgmt() {
            continue;
        }
        for (link, enslaved) in reported.enslaved(nic, &facts.cluster_network) {
            // Other bonds may be the uplink, under a name of somebody's own.
            let Some(link) = link.filter(|link| is_bond(snapshot, link)) else { continue };
            let of = enslaved.intersection(hosts);
            if !of.is_empty() {
                findings.push(found(Code::NicEnslaved, &of, &|names| {
                    format!(
                        "NIC {nic} of network config {name} is enslaved to {link}, the bond of \
                         another cluster network, on hosts: {names}; choose another NIC, or take \
                         it out of that bond"
                    )
                }));
            }
        }
    }
}

/// Returns whether this is the bond of a cluster network.
fn is_bond(snapshot: &Snapshot, link: &str) -> bool {
    link.strip_suffix("-bo").is_some_and(|network| snapshot.exists(network))
}

/// The VlanStatus objects that report on a network config that is gone.
#[derive(Default)]
struct Orphaned<'s> {
    statuses: BTreeSet<&'s Name>,
    hosts: BTreeSet<&'s Name>,
}

/// Finds uplinks that are not ready, or with `--activation=reported` not reported, and reports on
/// network configs that are gone, which stand in the way of new ones (`vc-overlap`).
pub(super) fn reports(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let mut not_ready: BTreeMap<&Name, BTreeMap<&Name, &UplinkStatus>> = BTreeMap::new();
    let mut orphaned: BTreeMap<(&Name, &Name), Orphaned<'_>> = BTreeMap::new();
    for (status, report) in snapshot.all_reports() {
        let UplinkStatus { cluster_network, config, host, .. } = report;
        if &**cluster_network == MGMT || config.is_empty() {
            continue;
        }
        let Some(known) = snapshot.host(host) else { continue };
        if snapshot.config(config).is_none() {
            let orphaned = orphaned.entry((cluster_network, config)).or_default();
            orphaned.statuses.insert(status);
            orphaned.hosts.insert(host);
        } else if !report.ready {
            let network = snapshot.network(cluster_network);
            if network.uplinks(known).any(|uplink| uplink.config == config) {
                not_ready.entry(config).or_default().insert(host, report);
            }
        }
    }
    for (config, hosts) in not_ready {
        let told = hosts.iter().map(|(host, report)| match &*report.message {
            "" => host.to_string(),
            message => format!("{host} ({message})"),
        });
        let message = format!(
            "the uplink of network config {config} is reported as not ready on hosts: {}; check the \
             NICs and the node agent there",
            list(told)
        );
        let code = Code::Uplink(Inactive::UplinkNotReady);
        findings
            .push(Finding::named(code, Kind::NetworkConfig, config, message).on(hosts.into_keys()));
    }
    if snapshot.options().activation == Activation::Reported {
        not_reported(snapshot, findings);
    }
    for ((cluster_network, config), Orphaned { statuses, hosts }) in orphaned {
        let message = format!(
            "a VlanStatus still reports an uplink of network config {config}, which does not exist \
             any more, on hosts: {}; so no other network config of cluster network \
             {cluster_network} may cover them: delete VlanStatus {}",
            list(&hosts),
            list(statuses)
        );
        let code = Code::OrphanedUplinkStatus;
        findings
            .push(Finding::named(code, Kind::ClusterNetwork, cluster_network, message).on(hosts));
    }
}

fn not_reported(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for (config, facts, covered) in snapshot.configs() {
        let network = snapshot.network(&facts.cluster_network);
        let silent = covered.difference(&network.active().unwrap_or_default());
        let hosts: BTreeSet<&Name> = snapshot
            .hosts_in(&silent)
            .filter(|host| network.inactive(*host) == Some(Inactive::UplinkNotReported))
            .map(HostRef::name)
            .collect();
        if !hosts.is_empty() {
            let message = format!(
                "no VlanStatus reports the uplink of network config {config} on hosts: {}; check \
                 that the node agent runs there",
                list(&hosts)
            );
            let code = Code::Uplink(Inactive::UplinkNotReported);
            findings.push(Finding::named(code, Kind::NetworkConfig, config, message).on(hosts));
        }
    }
}
