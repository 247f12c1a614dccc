//! The index applies changes one at a time and keeps derived state up to date, at a cost in
//! proportion to the change. The same facts give the same index, in whatever order they arrive.
//!
//! ```text
//! Change ─▶ apply ─▶ ground fact (stop if equal) ─▶ derived sets of the objects concerned
//!                                                              │
//!                                      snapshot() ◀── clone ───┘
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;

use super::facts::{
    Change, ClusterNetwork, Fact, LauncherPod, Migration, Now, UplinkStatus, Vm, Vmi,
};
use super::host_set::HostSet;
use super::hosts::Host;
use super::interner::Interner;
use super::names::{Key, Kind, Name, ObjectRef};
use super::options::Options;
use super::snapshot::Snapshot;
use super::state::{ConfigState, State, relate, replace_pair};
use super::uplinks::NetworkConfig;
use super::vm_networks::VmNetwork;

/// The one writable copy of the cluster's facts.
pub struct Index {
    state: State,
    /// The kinds that are not listed. While there are any, a missing object may still exist.
    unlisted: BTreeSet<Kind>,
    interner: Interner,
}

impl Index {
    /// An empty index, in which no kind is listed yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            state: State { options, ..State::default() },
            unlisted: Kind::ALL.into(),
            interner: Interner::default(),
        }
    }

    /// Marks a kind as listed: every object of the kind has been applied.
    pub fn listed(&mut self, kind: Kind) {
        self.unlisted.remove(&kind);
    }

    /// Marks a kind as not listed: some of its objects may not have been applied.
    pub fn unlist(&mut self, kind: Kind) {
        self.unlisted.insert(kind);
    }

    /// The kinds that are not listed.
    pub fn unlisted(&self) -> impl Iterator<Item = Kind> {
        self.unlisted.iter().copied()
    }

    /// Removes all objects of a kind, except for those that exist.
    pub fn retain(&mut self, kind: Kind, existing: &BTreeSet<Key>) {
        for key in self.state.keys(kind).into_iter().filter(|key| !existing.contains(key)) {
            self.apply(Change { object: ObjectRef { kind, key }, now: Now::Gone });
        }
    }

    /// Lets facts that are kept elsewhere share their texts with those of the index.
    pub fn share(&mut self, now: &mut Now) {
        match now {
            Now::Is(Fact::Host(host)) => self.interner.labels(&mut host.labels, None),
            Now::Is(Fact::Vm(vm)) => self.interner.vm(vm),
            Now::Is(Fact::Vmi(vmi)) => self.interner.vmi(vmi),
            Now::Is(Fact::LauncherPod(pod)) => self.interner.pod(pod),
            _ => {}
        }
    }

    /// Marks an object malformed and keeps its last facts. Returns whether anything changed.
    pub fn malformed(&mut self, object: &ObjectRef, why: Name) -> bool {
        self.set_malformed(object, Some(why))
    }

    /// The current snapshot. `None` until every kind has been listed, so that an object that is not
    /// read yet never counts as missing.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        self.unlisted.is_empty().then(|| Snapshot(self.state.clone()))
    }

    /// Replaces the complaints about a place that objects come from. An empty list removes them.
    pub fn complain(&mut self, place: Name, complaints: Vec<Name>) {
        if complaints.is_empty() {
            self.state.complaints.remove(&place);
        } else {
            self.state.complaints.insert(place, complaints.into());
        }
    }

    /// Applies one change. Returns whether anything changed.
    pub fn apply(&mut self, change: Change) -> bool {
        let Change { object, now } = change;
        let (fact, why) = match now {
            Now::Is(fact) => (Some(fact), None),
            Now::Malformed { why, last } => (last.map(|last| *last), Some(why)),
            Now::Gone => (None, None),
        };
        let problem_changed = self.set_malformed(&object, why);
        let Some(fact) = fact else {
            return self.remove(&object) || problem_changed;
        };
        let key = object.key;
        let fact_changed = match fact {
            Fact::ClusterNetwork(facts) => self.set_cluster_network(key.text(), Some(facts)),
            Fact::NetworkConfig(facts) => self.set_config(key.text(), Some(facts)),
            Fact::UplinkStatus(facts) => self.set_status(key.text(), Some(facts)),
            Fact::LinkMonitor(facts) => {
                replace(&mut self.state.monitors, key.text(), Some(facts)).is_some()
            }
            Fact::HostNetwork(facts) => {
                replace(&mut self.state.host_networks, key.text(), Some(facts)).is_some()
            }
            Fact::VmNetwork(facts) => self.set_vm_network(&key, Some(facts)),
            Fact::Vm(facts) => self.set_vm(&key, Some(facts)),
            Fact::Namespace(facts) => {
                replace(&mut self.state.namespaces, key.text(), Some(facts)).is_some()
            }
            Fact::Vmi(facts) => self.set_vmi(&key, Some(facts)),
            Fact::Migration(facts) => self.set_migration(&key, Some(facts)),
            Fact::LauncherPod(facts) => self.set_pod(&key, Some(facts)),
            Fact::Host(facts) => self.set_host(key.text(), Some(facts)),
        };
        fact_changed || problem_changed
    }

    fn remove(&mut self, object: &ObjectRef) -> bool {
        let key = &object.key;
        match object.kind {
            Kind::ClusterNetwork => self.set_cluster_network(key.text(), None),
            Kind::NetworkConfig => self.set_config(key.text(), None),
            Kind::UplinkStatus => self.set_status(key.text(), None),
            Kind::LinkMonitor => replace(&mut self.state.monitors, key.text(), None).is_some(),
            Kind::HostNetwork => replace(&mut self.state.host_networks, key.text(), None).is_some(),
            Kind::VmNetwork => self.set_vm_network(key, None),
            Kind::Vm => self.set_vm(key, None),
            Kind::Namespace => replace(&mut self.state.namespaces, key.text(), None).is_some(),
            Kind::Vmi => self.set_vmi(key, None),
            Kind::Migration => self.set_migration(key, None),
            Kind::LauncherPod => self.set_pod(key, None),
            Kind::Host => self.set_host(key.text(), None),
        }
    }

    fn set_malformed(&mut self, object: &ObjectRef, why: Option<Name>) -> bool {
        let malformed = &mut self.state.malformed;
        match why {
            Some(why) => malformed.insert(object.clone(), why.clone()) != Some(why),
            None => !malformed.is_empty() && malformed.remove(object).is_some(),
        }
    }

    fn set_cluster_network(&mut self, name: &Name, facts: Option<ClusterNetwork>) -> bool {
        let old = self.state.networks.get(name).and_then(|network| network.facts.as_deref());
        if old == facts.as_ref() {
            return false;
        }
        let network = self.state.networks.entry(name.clone()).or_default();
        Arc::make_mut(network).facts = facts.map(Arc::new);
        self.state.drop_if_unused(name);
        true
    }

    fn set_config(&mut self, name: &Name, facts: Option<NetworkConfig>) -> bool {
        let state = &mut self.state;
        let old = state.configs.get(name).cloned();
        if old.as_ref().map(|old| &*old.facts) == facts.as_ref() {
            return false;
        }
        let mut affected = HostSet::default();
        if let Some(old) = &old {
            affected = (*old.hosts).clone();
            state.index_selector(name, &old.facts, false);
            if let Some(network) = state.networks.get_mut(&old.facts.cluster_network) {
                Arc::make_mut(network).configs.remove(name);
            }
        }
        let new_network = facts.as_ref().map(|facts| facts.cluster_network.clone());
        if let Some(mut facts) = facts {
            self.interner.labels(&mut facts.selector, None);
            let hosts =
                if facts.counts() { state.covered(&facts.selector) } else { HostSet::default() };
            state.index_selector(name, &facts, true);
            affected = affected.union(&hosts);
            let network = state.networks.entry(facts.cluster_network.clone()).or_default();
            Arc::make_mut(network).configs.insert(name.clone());
            state.configs.insert(
                name.clone(),
                ConfigState { facts: Arc::new(facts), hosts: Arc::new(hosts) },
            );
        } else {
            state.configs.remove(name);
        }
        let old_network = old.map(|old| old.facts.cluster_network.clone());
        let moved = old_network.filter(|old| Some(old) != new_network.as_ref());
        for network in moved.iter().chain(&new_network) {
            for host in affected.numbers() {
                state.refresh(network, host);
            }
            state.drop_if_unused(network);
        }
        true
    }

    fn set_status(&mut self, name: &Name, facts: Option<UplinkStatus>) -> bool {
        let new = facts.as_ref().map(|facts| (facts.cluster_network.clone(), facts.host.clone()));
        let Some(old) = replace(&mut self.state.statuses, name, facts) else { return false };
        let old = old.map(|old| (old.cluster_network.clone(), old.host.clone()));
        for ((network, host), exists) in
            old.map(|old| (old, false)).into_iter().chain(new.map(|new| (new, true)))
        {
            relate(&mut self.state.reports, (network.clone(), host.clone(), name.clone()), exists);
            if let Some(host) = self.state.hosts.find(&host) {
                self.state.refresh(&network, host);
            }
        }
        true
    }

    fn set_vm_network(&mut self, key: &Key, facts: Option<VmNetwork>) -> bool {
        let new = facts.as_ref().and_then(VmNetwork::claim);
        let Some(old) = replace(&mut self.state.vm_networks, key, facts) else { return false };
        let old = old.and_then(|old| old.claim());
        let pair = |network: Name| (network, key.clone());
        replace_pair(&mut self.state.claims, old.map(pair), new.map(pair));
        true
    }

    fn set_vm(&mut self, key: &Key, mut facts: Option<Vm>) -> bool {
        let key = &self.state.shared_vm_key(key);
        if let Some(facts) = &mut facts {
            self.interner.vm(facts);
        }
        let Some(old) = replace(&mut self.state.vms, key, facts) else { return false };
        let new = self.state.vms.get(key).cloned();
        for (vm, exists) in [(old, false), (new, true)] {
            let Some(vm) = vm else { continue };
            let Vm { networks, macs, .. } = &*vm;
            for network in &networks.vm_networks {
                relate(&mut self.state.vms_using, (network.clone(), key.clone()), exists);
            }
            for (mac, _) in macs {
                relate(&mut self.state.macs, (*mac, key.clone()), exists);
            }
        }
        true
    }

    fn set_vmi(&mut self, key: &Key, mut facts: Option<Vmi>) -> bool {
        let key = self.state.shared_vm_key(key);
        if let Some(facts) = &mut facts {
            self.interner.vmi(facts);
        }
        self.update_vmis([key.clone()], |state| replace(&mut state.vmis, &key, facts).is_some())
    }

    fn set_migration(&mut self, key: &Key, facts: Option<Migration>) -> bool {
        let old = self.state.migrations.get(key).map(|old| old.vmi.clone());
        let new = facts.as_ref().map(|new| new.vmi.clone());
        self.update_vmis(old.clone().into_iter().chain(new.clone()), |state| {
            let pair = |vmi: Key| (vmi, key.clone());
            replace_pair(&mut state.migrations_of, old.map(pair), new.map(pair));
            replace(&mut state.migrations, key, facts).is_some()
        })
    }

    fn set_pod(&mut self, key: &Key, mut facts: Option<LauncherPod>) -> bool {
        if let Some(facts) = &mut facts {
            self.interner.pod(facts);
            facts.vmi = self.state.shared_vm_key(&facts.vmi);
        }
        let old = self.state.pods.get(key).map(|old| old.vmi.clone());
        let new = facts.as_ref().map(|new| new.vmi.clone());
        self.update_vmis(old.clone().into_iter().chain(new.clone()), |state| {
            let pair = |vmi: Key| (vmi, key.clone());
            replace_pair(&mut state.pods_of, old.map(pair), new.map(pair));
            let waits = facts.as_ref().is_some_and(|pod| pod.waiting.is_some());
            relate(&mut state.waiting, key.clone(), waits);
            replace(&mut state.pods, key, facts).is_some()
        })
    }

    fn set_host(&mut self, name: &Name, facts: Option<Host>) -> bool {
        let state = &mut self.state;
        let number = state.hosts.find(name);
        let old = number.and_then(|number| state.hosts.facts(number)).cloned();
        if old.as_deref() == facts.as_ref() {
            return false;
        }
        let configs = state.configs_to_recheck(old.as_deref(), facts.as_ref());
        if let Some(mut facts) = facts {
            self.interner.labels(&mut facts.labels, old.as_ref().map(|old| &old.labels));
            let facts = Arc::new(facts);
            let number = state.hosts.set(name, facts.clone());
            state.update_coverage(configs, number, |config| config.covers(&facts));
        } else if let Some(number) = number {
            state.update_coverage(configs, number, |_| false);
            state.hosts.remove(name);
        }
        true
    }

    /// Makes `change`, which concerns these VMIs, and updates which hosts and VM networks they
    /// occupy.
    fn update_vmis(
        &mut self,
        vmis: impl IntoIterator<Item = Key>,
        change: impl FnOnce(&mut State) -> bool,
    ) -> bool {
        let vmis: BTreeSet<Key> = vmis.into_iter().collect();
        let before: Vec<_> = vmis.iter().map(|vmi| self.state.occupancy_of(vmi)).collect();
        let changed = change(&mut self.state);
        for (vmi, before) in vmis.iter().zip(before) {
            let after = self.state.occupancy_of(vmi);
            if before == after {
                continue;
            }
            for (occupancy, occupied) in [(before, false), (after, true)] {
                for host in occupancy.hosts {
                    relate(&mut self.state.vmis_on, (host, vmi.clone()), occupied);
                }
                for network in occupancy.vm_networks {
                    relate(&mut self.state.vmis_using, (network, vmi.clone()), occupied);
                }
            }
        }
        changed
    }
}

impl Snapshot {
    /// A copy of this snapshot with changes applied, such as fresh reads or a planned change.
    #[must_use]
    pub fn with(&self, changes: impl IntoIterator<Item = Change>) -> Self {
        let mut index = Index {
            state: self.0.clone(),
            unlisted: BTreeSet::new(),
            interner: Interner::default(),
        };
        for change in changes {
            index.apply(change);
        }
        Self(index.state)
    }
}

/// Sets or removes the facts under `key`. Returns the old facts, or `None` if nothing changed.
#[expect(clippy::option_option, reason = "whether it changed, and from what, are two questions")]
fn replace<K: Ord + Clone, V: PartialEq>(
    map: &mut OrdMap<K, Arc<V>>,
    key: &K,
    facts: Option<V>,
) -> Option<Option<Arc<V>>> {
    if map.get(key).map(|old| &**old) == facts.as_ref() {
        return None;
    }
    Some(match facts {
        Some(facts) => map.insert(key.clone(), Arc::new(facts)),
        None => map.remove(key),
    })
}
