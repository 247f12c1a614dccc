//! The effects of a change: the hosts that cluster networks and VMs would gain and lose.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Difference, HostsChanged, Key, Name, Selection, Snapshot};

use super::needs::{Needs, all_active};

/// The effects of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// For each cluster network that changes, the hosts on which it becomes active or inactive.
    pub cluster_networks: Vec<(Name, HostsChanged)>,
    /// For each VM that changes, or VMI without a VM, the hosts that it gains and loses.
    pub vms: Vec<(Key, HostsChanged)>,
}

/// The effects of the change that leads from one snapshot to the other.
#[must_use]
pub fn effects(before: &Snapshot, after: &Snapshot) -> Effects {
    let cluster_networks = Difference::between(before, after).cluster_networks;
    let (mut earlier, mut later) = (FeasibleHosts::new(before), FeasibleHosts::new(after));
    let vms: BTreeSet<&Key> = before.vms_and_vmis().chain(after.vms_and_vmis()).collect();
    let vms = vms.into_iter().filter_map(|key| {
        // A VM that the change creates or deletes neither gains nor loses hosts.
        let difference = HostsChanged::between(earlier.of(key)?, later.of(key)?)?;
        Some((key.clone(), difference))
    });
    Effects { cluster_networks, vms: vms.collect() }
}

/// The hosts on which all of these cluster networks are active.
fn hosts(snapshot: &Snapshot, cluster_networks: &[Name]) -> BTreeSet<Name> {
    match all_active(snapshot, cluster_networks) {
        Some(active) => snapshot.names(&active).into_iter().cloned().collect(),
        None => snapshot.hosts().into_iter().map(|host| host.name().clone()).collect(),
    }
}

/// The hosts that VMs can run on. VMs that need the same cluster networks share the answer.
struct FeasibleHosts<'s> {
    snapshot: &'s Snapshot,
    known: BTreeMap<Vec<Name>, BTreeSet<Name>>,
    nowhere: BTreeSet<Name>,
}

impl<'s> FeasibleHosts<'s> {
    fn new(snapshot: &'s Snapshot) -> Self {
        Self { snapshot, known: BTreeMap::new(), nowhere: BTreeSet::new() }
    }

    fn of(&mut self, key: &Key) -> Option<&BTreeSet<Name>> {
        let vm = self.snapshot.vm(key).map(|vm| vm.networks.clone());
        let selection: Selection = vm.or_else(|| self.snapshot.selection_of(key))?;
        let needs = Needs::of(self.snapshot, &selection);
        if !needs.everywhere.is_empty() {
            return Some(&self.nowhere);
        }
        let snapshot = self.snapshot;
        let networks = needs.cluster_networks;
        Some(self.known.entry(networks.clone()).or_insert_with(|| hosts(snapshot, &networks)))
    }
}
