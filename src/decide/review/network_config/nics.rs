//! The rule `vc-nic-conflict`.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{HostSet, MGMT, Name, NetworkConfig, Snapshot};
use crate::decide::names::list;
use crate::decide::review::{Code, Reviewed, Violation};

use super::change::Review;

/// The NICs that cluster network `mgmt` uses, according to the node agents' records, each with its
/// hosts.
pub(in crate::decide) fn nics_of_mgmt(snapshot: &Snapshot) -> BTreeMap<&Name, HostSet> {
    let mut nics: BTreeMap<&Name, HostSet> = BTreeMap::new();
    for (_, record, host) in snapshot.mgmt_records() {
        for nic in &record.nics {
            nics.entry(nic).or_default().add(host);
        }
    }
    nics
}

impl Review<'_> {
    /// `vc-nic-conflict`, first part: no NIC is listed twice.
    pub(super) fn nic_twice(&self) -> Option<Violation> {
        let times = |version: &'_ Reviewed<NetworkConfig>| {
            let mut times: BTreeMap<Name, usize> = BTreeMap::new();
            for nic in &version.facts.nics {
                *times.entry(nic.clone()).or_default() += 1;
            }
            times
        };
        let before = self.old.map(times).unwrap_or_default();
        let mut twice = times(self.new?);
        twice.retain(|nic, times| {
            !nic.is_empty() && *times > 1 && before.get(nic).is_none_or(|was| was < times)
        });
        (!twice.is_empty()).then(|| Violation {
            code: Code::VcNicConflict,
            field: Some("spec.uplink.nics".into()),
            message: format!(
                "spec.uplink.nics lists NICs more than once: {}; remove the duplicates",
                list(twice.keys())
            ),
            of_the_object_alone: true,
        })
    }

    /// `vc-nic-conflict`, second part: no host is covered by network configs of two cluster
    /// networks that use the same NIC.
    pub(super) fn nic_conflict(&self) -> Vec<Violation> {
        let Some(new) = self.new else { return Vec::new() };
        let (facts, added) = (&new.facts, self.added());
        let mut violations = Vec::new();
        for (other, theirs, hosts) in self.snapshot.configs() {
            if theirs.cluster_network == facts.cluster_network || other == new.name() {
                continue;
            }
            for (nics, judged) in self.shared_nics(|nic| theirs.nics.contains(nic), &added) {
                if nics.is_empty() {
                    continue;
                }
                let both = judged.intersection(hosts);
                if both.is_empty() {
                    continue;
                }
                violations.push(Violation {
                    code: Code::VcNicConflict,
                    field: Some("spec.uplink.nics".into()),
                    message: format!(
                        "network config {other} of cluster network {} already uses {} {} on hosts: \
                         {}; choose other NICs or other hosts",
                        theirs.cluster_network,
                        if nics.len() == 1 { "NIC" } else { "NICs" },
                        list(nics),
                        list(self.snapshot.names(&both))
                    ),
                    of_the_object_alone: false,
                });
            }
        }
        violations
    }

    /// The NICs that are used elsewhere as well, each group with the hosts on which it is judged. A
    /// NIC that the network config had before is judged only on newly covered hosts, so that an old
    /// conflict blocks nothing.
    fn shared_nics<'s>(
        &'s self,
        is_used: impl Fn(&Name) -> bool,
        added: &'s HostSet,
    ) -> [(BTreeSet<&'s Name>, &'s HostSet); 2] {
        let mine = self.new.map(|new| &*new.facts.nics).unwrap_or_default();
        let old = self.old_of_same_network();
        let (kept, fresh) = mine
            .iter()
            .filter(|nic| is_used(nic))
            .partition(|nic| old.is_some_and(|old| old.facts.nics.contains(nic)));
        [(kept, added), (fresh, &self.new_hosts)]
    }

    /// `vc-nic-conflict`, third part: no NIC carries cluster network `mgmt` on a covered host,
    /// according to the node agent's record of the host. In another bond, it would take the host
    /// off the network.
    pub(super) fn management_nics(&self) -> Option<Violation> {
        self.new?;
        let added = self.added();
        let by_mgmt = nics_of_mgmt(self.snapshot);
        let mut hosts: BTreeMap<&Name, HostSet> = BTreeMap::new();
        for (nics, judged) in self.shared_nics(|nic| by_mgmt.contains_key(nic), &added) {
            for nic in nics {
                let both = by_mgmt.get(nic).map(|hosts| hosts.intersection(judged));
                hosts.extend(both.filter(|both| !both.is_empty()).map(|both| (nic, both)));
            }
        }
        let names = |hosts| list(self.snapshot.names(hosts));
        let used = hosts.iter().map(|(nic, hosts)| format!("{nic} on hosts: {}", names(hosts)));
        (!hosts.is_empty()).then(|| Violation {
            code: Code::VcNicConflict,
            field: Some("spec.uplink.nics".into()),
            message: format!(
                "cluster network {MGMT} already uses NIC {}; choose other NICs or other hosts",
                used.collect::<Vec<_>>().join("; NIC ")
            ),
            of_the_object_alone: false,
        })
    }

    /// `vc-nic-conflict`, fourth part: no NIC is named like the bond or bridge of a cluster network.
    pub(super) fn reserved_nics(&self) -> Option<Violation> {
        let new = self.new?;
        let exists = |name: &str| *name == *new.facts.cluster_network || self.snapshot.exists(name);
        let reserved: BTreeSet<&Name> = new
            .facts
            .nics
            .iter()
            .filter(|nic| {
                nic.strip_suffix("-bo").or_else(|| nic.strip_suffix("-br")).is_some_and(exists)
            })
            .filter(|nic| !self.old.is_some_and(|old| old.facts.nics.contains(nic)))
            .collect();
        (!reserved.is_empty()).then(|| Violation {
            code: Code::VcNicConflict,
            field: Some("spec.uplink.nics".into()),
            message: format!(
                "spec.uplink.nics lists bonds or bridges of cluster networks: {}; list physical \
                 NICs",
                list(reserved)
            ),
            of_the_object_alone: false,
        })
    }
}
