//! The rule `vc-overlap`.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{HostSet, Name, Snapshot};
use crate::decide::names::list;
use crate::decide::review::{Code, Violation};

use super::change::Review;

/// What VlanStatus objects report of a network config.
#[derive(Default)]
struct Reported<'s> {
    hosts: BTreeSet<&'s Name>,
    /// The names of the VlanStatus objects.
    statuses: BTreeSet<&'s Name>,
}

/// The network configs of a cluster network that cover any of these hosts, each with those that it
/// covers.
pub(in crate::decide) fn covering<'s>(
    snapshot: &'s Snapshot,
    cluster_network: &str,
    hosts: &HostSet,
) -> BTreeMap<&'s Name, HostSet> {
    let configs = snapshot.configs_of(cluster_network);
    let both = configs.map(|(config, _, covered)| (config, covered.intersection(hosts)));
    both.filter(|(_, both)| !both.is_empty()).collect()
}

impl Review<'_> {
    /// `vc-overlap`: no two network configs of one cluster network cover a host. A VlanStatus of
    /// another network config counts too, since its uplink may still be there.
    pub(super) fn overlap(&self) -> Vec<Violation> {
        let Some(new) = self.new else { return Vec::new() };
        let (added, name) = (self.added(), &new.facts.cluster_network);
        if added.is_empty() {
            return Vec::new();
        }
        let overlaps = covering(self.snapshot, name, &added);
        let mut reported: BTreeMap<&Name, Reported<'_>> = BTreeMap::new();
        for (status, report) in self.snapshot.reports(name) {
            let Some(host) = self.snapshot.host(&report.host) else { continue };
            // A report about no network config tells of no uplink.
            if report.config.is_empty() {
                continue;
            }
            let seen = overlaps.get(&report.config).is_some_and(|hosts| hosts.contains(host));
            if added.contains(host) && !seen {
                let reported = reported.entry(&report.config).or_default();
                reported.hosts.insert(&report.host);
                reported.statuses.insert(status);
            }
        }
        let by_selector = overlaps.iter().map(|(other, hosts)| {
            let hosts = list(self.snapshot.names(hosts));
            (
                *other,
                format!(
                    "network config {other} of cluster network {name} covers the same hosts: \
                         {hosts}; change a nodeSelector"
                ),
            )
        });
        let by_report = reported.iter().map(|(other, Reported { hosts, statuses })| {
            let remedy = if self.snapshot.config(other).is_some() {
                "wait until the node agent has removed it".to_owned()
            } else {
                // No agent removes what no network config stands for.
                format!(
                    "network config {other} does not exist any more, so delete VlanStatus {}",
                    list(statuses)
                )
            };
            (
                *other,
                format!(
                    "a VlanStatus still reports an uplink of network config {other} of cluster \
                     network {name} on hosts: {}; {remedy}",
                    list(hosts)
                ),
            )
        });
        by_selector
            .chain(by_report)
            .filter(|(other, _)| *other != new.name())
            .map(|(_, message)| Violation {
                code: Code::VcOverlap,
                field: Some("spec.nodeSelector".into()),
                message,
                of_the_object_alone: false,
            })
            .collect()
    }
}
