//! The hosts that a change of a network config affects, and the rules about what runs there:
//! `vc-running-vms`, `vc-system-network` and `vc-host-network` (docs/reference.md, "Affected hosts").

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::cluster::{HostSet, Key, Name, VmNetwork};
use crate::decide::names::list;
use crate::decide::review::in_place::possibly_in_place;
use crate::decide::review::{Code, Violation};

use super::change::Review;

/// The hosts that a change affects, each list sorted.
#[derive(Default)]
pub(super) struct Affected<'s> {
    /// The hosts that lose the cluster network.
    lost: Vec<&'s Name>,
    /// The hosts that get another uplink for the cluster network.
    swapped: Vec<&'s Name>,
    /// The hosts whose uplink changes and is reported as not ready. They have nothing to lose, so
    /// they are not affected.
    dead: Vec<&'s Name>,
}

impl<'s> Affected<'s> {
    fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.swapped.is_empty()
    }

    /// What the change does to the affected hosts; `it` is their cluster network.
    fn effect(&self) -> &'static str {
        if self.lost.is_empty() { SWAPPED } else { LOST }
    }

    fn all(&self) -> impl Iterator<Item = &'s Name> {
        self.lost.iter().chain(&self.swapped).copied()
    }
}

const LOST: &str = "lose it";
const SWAPPED: &str = "get another uplink for it";

/// A VM with its hosts, which is written only if the message names it.
struct VmOnHosts<'s> {
    vm: &'s Key,
    hosts: Vec<&'s Name>,
}

impl fmt::Display for VmOnHosts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.vm, list(&self.hosts))
    }
}

impl<'a> Review<'a> {
    /// The hosts that the change touches: those from which it takes the network config, or all that
    /// it covered before, if its uplink or cluster network changes. Selectors and the current labels
    /// decide, never an annotation.
    pub(super) fn touched(&self) -> HostSet {
        match (self.old_of_same_network(), self.new) {
            (Some(old), Some(new)) if old.facts.same_uplink(&new.facts) => {
                self.old_hosts.difference(&self.new_hosts)
            }
            _ => self.old_hosts.clone(),
        }
    }

    /// Returns whether another network config of the old cluster network covers a touched host.
    pub(super) fn others_cover_touched(&self) -> bool {
        let touched = self.touched();
        self.others().any(|(_, hosts)| !touched.intersection(hosts).is_empty())
    }

    /// The other network configs of the old cluster network.
    fn others(&self) -> impl Iterator<Item = (&'a Name, &'a HostSet)> {
        let (snapshot, old) = (self.snapshot, self.old);
        old.into_iter().flat_map(move |old| {
            snapshot
                .configs_of(&old.facts.cluster_network)
                .filter(move |(other, ..)| *other != old.name())
                .map(|(other, _, hosts)| (other, hosts))
        })
    }

    /// The hosts that the change affects.
    pub(super) fn affected(&self) -> Affected<'a> {
        let mut affected = Affected::default();
        let Some(old) = self.old else { return affected };
        let touched = self.touched();
        let removed = match self.old_of_same_network() {
            Some(_) => touched.difference(&self.new_hosts),
            None => touched.clone(),
        };
        let covered_by_others =
            self.others().fold(HostSet::default(), |all, (_, hosts)| all.union(hosts));
        affected.lost = self.snapshot.names(&removed.difference(&covered_by_others));
        for name in self.snapshot.names(&removed.intersection(&covered_by_others)) {
            let Some(host) = self.snapshot.host(name) else { continue };
            let others = self.others().filter(|(_, hosts)| hosts.contains(host));
            let covering: Vec<&Name> = others.map(|(other, _)| other).chain([old.name()]).collect();
            let in_place =
                possibly_in_place(self.snapshot, &old.facts.cluster_network, name, &covering);
            if in_place.contains(&old.name()) {
                affected.swapped.push(name);
            }
        }
        let changed = touched.difference(&removed);
        let dead = if changed.is_empty() { BTreeSet::new() } else { self.dead() };
        for name in self.snapshot.names(&changed) {
            let hosts =
                if dead.contains(name) { &mut affected.dead } else { &mut affected.swapped };
            hosts.push(name);
        }
        affected.swapped.sort_unstable();
        affected
    }

    /// The hosts that report the uplink of this network config as not ready. One that another report, such
    /// as an old one, has as ready may carry traffic.
    fn dead(&self) -> BTreeSet<&'a Name> {
        let Some(old) = self.old else { return BTreeSet::new() };
        let with = |ready: bool| -> BTreeSet<&Name> {
            let reports = self.snapshot.reports(&old.facts.cluster_network);
            let reports = reports.filter(|(_, it)| it.config == *old.name() && it.ready == ready);
            reports.map(|(_, report)| &report.host).collect()
        };
        with(false).difference(&with(true)).copied().collect()
    }

    /// The running VMs that use the old cluster network on these hosts, each with its hosts.
    fn vms_on(&self, hosts: &[&'a Name]) -> Vec<VmOnHosts<'a>> {
        let Some(old) = self.old else { return Vec::new() };
        let snapshot = self.snapshot;
        let vm_networks: Vec<&Key> =
            snapshot.vm_networks_of(&old.facts.cluster_network).map(|(key, _)| key).collect();
        let uses = |vmi: &&Key| vm_networks.iter().any(|network| snapshot.is_using(vmi, network));
        let mut vms: BTreeMap<&Key, Vec<&Name>> = BTreeMap::new();
        for host in hosts {
            for vmi in snapshot.vmis_on(host).filter(uses) {
                vms.entry(vmi).or_default().push(host);
            }
        }
        vms.into_iter().map(|(vm, hosts)| VmOnHosts { vm, hosts }).collect()
    }

    /// `vc-running-vms`: no running VM uses the cluster network on an affected host.
    pub(super) fn running_vms(&self, affected: &Affected<'a>) -> Vec<Violation> {
        let Some(old) = self.old else { return Vec::new() };
        [(&affected.lost, LOST), (&affected.swapped, SWAPPED)]
            .into_iter()
            .filter_map(|(hosts, effect)| {
                let vms = self.vms_on(hosts);
                (!vms.is_empty()).then(|| Violation {
                    code: Code::VcRunningVms,
                    field: None,
                    message: format!(
                        "running VMs use cluster network {} on hosts that would {effect}: {}; stop \
                         or migrate them first",
                        old.facts.cluster_network,
                        list(vms)
                    ),
                    of_the_object_alone: false,
                })
            })
            .collect()
    }

    /// The warning about running VMs on hosts whose dead uplink changes.
    pub(super) fn dead_uplink(&self, affected: &Affected<'a>) -> Option<String> {
        let network = &self.old?.facts.cluster_network;
        let vms = self.vms_on(&affected.dead);
        (!vms.is_empty()).then(|| {
            format!(
                "running VMs use cluster network {network} on hosts that report its uplink as not \
                 ready, so the change can't cut them off: {}",
                list(vms)
            )
        })
    }

    /// `vc-system-network`: no host is affected while a system network uses the cluster network.
    pub(super) fn system_network(&self, affected: &Affected<'a>) -> Option<Violation> {
        let name = &self.old?.facts.cluster_network;
        if affected.is_empty() {
            return None;
        }
        let system = |(_, vm_network): &(&Key, &VmNetwork)| vm_network.system;
        let networks: Vec<&Key> =
            self.snapshot.vm_networks_of(name).filter(system).map(|(key, _)| key).collect();
        (!networks.is_empty()).then(|| Violation {
            code: Code::VcSystemNetwork,
            field: None,
            message: format!(
                "system networks use cluster network {name} on hosts that would {}: {}; move them \
                 to another cluster network or disable them first",
                affected.effect(),
                list(networks)
            ),
            of_the_object_alone: false,
        })
    }

    /// `vc-host-network`: no host is affected that a host network config with an underlay covers.
    /// A host network config without one gets a warning that names the addresses.
    pub(super) fn host_network(
        &self,
        affected: &Affected<'a>,
    ) -> (Option<Violation>, Option<String>) {
        let Some(old) = self.old else { return (None, None) };
        let name = &old.facts.cluster_network;
        let (mut underlays, mut others) = (Vec::new(), Vec::new());
        for (config, facts) in self.snapshot.host_networks_of(name) {
            let hosts = affected.all().filter(|host| {
                self.snapshot.labels_of(host).is_some_and(|it| facts.selector.selects(it))
            });
            if facts.underlay {
                let hosts: Vec<_> = hosts.collect();
                if !hosts.is_empty() {
                    underlays.push(format!("{config} ({})", list(hosts)));
                }
            } else {
                let address = |host: &'a Name| match facts.addresses.get(host) {
                    Some(address) => Some(format!("{host} {address}")),
                    None if facts.dhcp => Some(format!("{host} by DHCP")),
                    None => None,
                };
                let addresses: Vec<_> = hosts.filter_map(address).collect();
                if !addresses.is_empty() {
                    others.push(format!("{config} ({})", list(addresses)));
                }
            }
        }
        let violation = (!underlays.is_empty()).then(|| Violation {
            code: Code::VcHostNetwork,
            field: None,
            message: format!(
                "the underlay of host network configs runs over cluster network {name} on hosts \
                 that would {}: {}; move the underlay to another cluster network first",
                affected.effect(),
                list(underlays)
            ),
            of_the_object_alone: false,
        });
        let warning = (!others.is_empty()).then(|| {
            format!(
                "hosts that would {} have addresses of host network configs on cluster network \
                 {name}: {}",
                affected.effect(),
                list(others)
            )
        });
        (violation, warning)
    }
}
