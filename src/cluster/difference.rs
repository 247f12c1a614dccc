//! The difference between two snapshots. It contains names only, since a host's number may stand
//! for another host in another snapshot.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use super::host_set::HostSet;
use super::names::{Key, Kind, MGMT, Name, ObjectRef};
use super::snapshot::Snapshot;

/// The difference between a snapshot and a later one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// The objects that appeared, disappeared or changed their facts, sorted.
    pub objects: Vec<ObjectRef>,
    /// The cluster networks that are active on other hosts than before, sorted by name.
    pub cluster_networks: Vec<(Name, HostsChanged)>,
}

/// Hosts gained and lost, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostsChanged {
    /// The hosts that are in the later set only.
    pub gained: Vec<Name>,
    /// The hosts that are in the earlier set only.
    pub lost: Vec<Name>,
    /// The number of hosts in the later set.
    pub left: usize,
}

impl HostsChanged {
    /// The change from one set of hosts to another; `None` if they are equal.
    #[must_use]
    pub fn between(before: &BTreeSet<Name>, after: &BTreeSet<Name>) -> Option<Self> {
        (before != after).then(|| Self {
            gained: after.difference(before).cloned().collect(),
            lost: before.difference(after).cloned().collect(),
            left: after.len(),
        })
    }
}

impl Difference {
    /// The difference between `before` and `after`. Two snapshots of one index share what did not
    /// change, so only the rest is compared.
    #[must_use]
    pub fn between(before: &Snapshot, after: &Snapshot) -> Self {
        let mut objects = BTreeSet::new();
        let (old, new) = (&before.0, &after.0);
        let mut named = |kind, names: Vec<Name>| {
            objects.extend(
                names.into_iter().map(|name| ObjectRef { kind, key: Key::cluster_scoped(name) }),
            );
        };
        named(Kind::UplinkStatus, changed(&old.statuses, &new.statuses));
        named(Kind::LinkMonitor, changed(&old.monitors, &new.monitors));
        named(Kind::HostNetwork, changed(&old.host_networks, &new.host_networks));
        named(Kind::Namespace, changed(&old.namespaces, &new.namespaces));
        named(
            Kind::NetworkConfig,
            changed_by(&old.configs, &new.configs, |a, b| a.facts == b.facts),
        );
        let networks = changed_by(&old.networks, &new.networks, |a, b| a.facts == b.facts);
        let existing = networks.into_iter().filter(|name| {
            let facts = |snapshot: &Snapshot| snapshot.cluster_network(name).cloned();
            facts(before) != facts(after)
        });
        named(Kind::ClusterNetwork, existing.collect());
        named(Kind::Host, hosts_changed(before, after));
        let mut keyed = |kind, keys: Vec<Key>| {
            objects.extend(keys.into_iter().map(|key| ObjectRef { kind, key }));
        };
        keyed(Kind::VmNetwork, changed(&old.vm_networks, &new.vm_networks));
        keyed(Kind::Vm, changed(&old.vms, &new.vms));
        keyed(Kind::Vmi, changed(&old.vmis, &new.vmis));
        keyed(Kind::Migration, changed(&old.migrations, &new.migrations));
        keyed(Kind::LauncherPod, changed(&old.pods, &new.pods));
        Self {
            objects: objects.into_iter().collect(),
            cluster_networks: networks_changed(before, after),
        }
    }

    /// Returns whether there is no difference.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.cluster_networks.is_empty()
    }
}

/// The keys whose facts appeared, disappeared or changed.
fn changed<K: Ord + Clone, V: PartialEq>(
    old: &OrdMap<K, Arc<V>>,
    new: &OrdMap<K, Arc<V>>,
) -> Vec<K> {
    changed_by(old, new, |a, b| a == b)
}

fn changed_by<K: Ord + Clone, V: PartialEq>(
    old: &OrdMap<K, V>,
    new: &OrdMap<K, V>,
    same: impl Fn(&V, &V) -> bool,
) -> Vec<K> {
    old.diff(new)
        .filter_map(|item| match item {
            DiffItem::Add(key, _) | DiffItem::Remove(key, _) => Some(key.clone()),
            DiffItem::Update { old, new } => (!same(old.1, new.1)).then(|| new.0.clone()),
        })
        .collect()
}

fn hosts_changed(before: &Snapshot, after: &Snapshot) -> Vec<Name> {
    if before.0.hosts.same(&after.0.hosts) {
        return Vec::new();
    }
    if before.0.hosts.same_names(&after.0.hosts) {
        let changed = before.0.hosts.changed_facts(&after.0.hosts);
        return changed.map(|number| after.0.hosts.name(number).clone()).collect();
    }
    let facts = |snapshot: &Snapshot, name: &str| {
        let host = snapshot.host(name)?;
        snapshot.0.hosts.facts(host.number).cloned()
    };
    let names: BTreeSet<Name> =
        [before, after].iter().flat_map(|it| it.hosts()).map(|host| host.name().clone()).collect();
    names.into_iter().filter(|name| facts(before, name) != facts(after, name)).collect()
}

fn networks_changed(before: &Snapshot, after: &Snapshot) -> Vec<(Name, HostsChanged)> {
    let same_names = before.0.hosts.same_names(&after.0.hosts);
    let networks: BTreeSet<&Name> =
        before.cluster_networks().chain(after.cluster_networks()).collect();
    let changed = networks.into_iter().filter_map(|name| {
        if same_names && is_shared(before, after, name) {
            return None;
        }
        let (old, new) = (before.network(name).active(), after.network(name).active());
        let difference = match (old, new) {
            // The numbers mean the same hosts, so that only what differs needs its name.
            (Some(old), Some(new)) if same_names => {
                let names = |set: HostSet| after.names(&set).into_iter().cloned().collect();
                let (gained, lost) = (names(new.difference(&old)), names(old.difference(&new)));
                HostsChanged { gained, lost, left: new.len() }
            }
            _ => HostsChanged::between(&active(before, name), &active(after, name))?,
        };
        let changes = !difference.gained.is_empty() || !difference.lost.is_empty();
        changes.then(|| (name.clone(), difference))
    });
    changed.collect()
}

/// Returns whether both snapshots share the cluster network's set of hosts, so that the sets need
/// no comparison.
fn is_shared(before: &Snapshot, after: &Snapshot, name: &Name) -> bool {
    let set = |snapshot: &Snapshot| -> Option<(bool, Arc<HostSet>)> {
        let network = snapshot.0.networks.get(name)?;
        Some((network.facts.is_some(), network.active.clone()))
    };
    match (set(before), set(after)) {
        (Some((existed, old)), Some((exists, new))) => {
            existed == exists && (&**name == MGMT || Arc::ptr_eq(&old, &new))
        }
        _ => false,
    }
}

/// The hosts on which a cluster network is active.
fn active(snapshot: &Snapshot, name: &Name) -> BTreeSet<Name> {
    match snapshot.network(name).active() {
        Some(hosts) => snapshot.names(&hosts).into_iter().cloned().collect(),
        None => snapshot.hosts().into_iter().map(|host| host.name().clone()).collect(),
    }
}
