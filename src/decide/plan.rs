//! What a change would do: to cluster networks' hosts, and to the hosts that VMs can run on.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Key, Name, Selection, Snapshot};

use super::needs::{Needs, all_active};

/// What a change would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// To cluster networks: the hosts on which each becomes active, or no longer is.
    pub cluster_networks: Vec<(Name, Difference)>,
    /// To VMs, and to running instances without one: the hosts that each gains and loses.
    pub vms: Vec<(Key, Difference)>,
}

/// Hosts gained and lost, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Those that were not there before.
    pub gained: Vec<Name>,
    /// Those that were and are no longer.
    pub lost: Vec<Name>,
    /// How many there are after the change.
    pub left: usize,
}

impl Difference {
    fn between(before: &BTreeSet<Name>, after: &BTreeSet<Name>) -> Option<Self> {
        (before != after).then(|| Self {
            gained: after.difference(before).cloned().collect(),
            lost: before.difference(after).cloned().collect(),
            left: after.len(),
        })
    }
}

/// What leads from one snapshot to the other.
#[must_use]
pub fn effects(before: &Snapshot, after: &Snapshot) -> Effects {
    let networks: BTreeSet<&Name> =
        before.cluster_networks().chain(after.cluster_networks()).collect();
    let cluster_networks = networks.into_iter().filter_map(|name| {
        let needed = std::slice::from_ref(name);
        let difference = Difference::between(&hosts(before, needed), &hosts(after, needed))?;
        Some((name.clone(), difference))
    });
    let (mut earlier, mut later) = (Places::new(before), Places::new(after));
    let vms: BTreeSet<&Key> = before.vms_and_vmis().chain(after.vms_and_vmis()).collect();
    let vms = vms.into_iter().filter_map(|key| {
        // One that comes or goes with the change is no VM that gains or loses.
        let difference = Difference::between(earlier.of(key)?, later.of(key)?)?;
        Some((key.clone(), difference))
    });
    Effects { cluster_networks: cluster_networks.collect(), vms: vms.collect() }
}

/// The hosts on which all of these cluster networks are active.
fn hosts(snapshot: &Snapshot, cluster_networks: &[Name]) -> BTreeSet<Name> {
    match all_active(snapshot, cluster_networks) {
        Some(active) => snapshot.names(&active).into_iter().cloned().collect(),
        None => snapshot.hosts().into_iter().map(|host| host.name().clone()).collect(),
    }
}

/// The hosts that VMs can run on; VMs that need the same share the answer.
struct Places<'s> {
    snapshot: &'s Snapshot,
    known: BTreeMap<Vec<Name>, BTreeSet<Name>>,
    nowhere: BTreeSet<Name>,
}

impl<'s> Places<'s> {
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
