//! What the leader keeps right in the cluster (docs/reference.md, "Controller"): host labels,
//! cluster networks, the label `ready` of VM networks, and Events for VMs that are cut off.
//!
//! [`targets`] names the objects that lack something after a change, from the difference of two
//! snapshots. [`update`] says what an object lacks, from one snapshot. It is asked again right before
//! the write, so that what waited in a queue is never stale.

mod cut_off;
mod labels;
mod networks;
mod values;
mod waking;

use std::collections::BTreeSet;

use crate::cluster::{Difference, Kind, MGMT, Name, ObjectRef, Snapshot};
use crate::decide::placement::LABEL_PREFIX;

pub use cut_off::{all_cut_off, count_cut_off, cut_off};
pub use values::{ClusterNetworkUpdate, CutOff, Scope, Target, Update};
pub use waking::{Nomination, Wake, Waker};

/// The objects that lack something in `after`: those that the change from `before` may concern, or
/// without `before` all.
#[must_use]
pub fn targets(before: Option<&Snapshot>, after: &Snapshot, scope: Scope) -> BTreeSet<Target> {
    let lacks_something = |target: &Target| update(after, target, scope).is_some();
    match before {
        Some(before) => changed(before, after).into_iter().filter(lacks_something).collect(),
        None => every(after).filter(lacks_something).collect(),
    }
}

/// What the object lacks in this snapshot; `None` if it lacks nothing.
#[must_use]
pub fn update(snapshot: &Snapshot, target: &Target, scope: Scope) -> Option<Update> {
    if scope == Scope::EventsOnly && !matches!(target, Target::Vmi(_)) {
        return None;
    }
    match target {
        Target::ClusterNetwork(name) => networks::cluster_network(snapshot, name),
        Target::Host(host) => labels::host(snapshot, host),
        Target::VmNetwork(key) => networks::vm_network(snapshot, key),
        Target::Vmi(key) => cut_off(snapshot, key).map(Update::CutOff),
    }
}

fn every(snapshot: &Snapshot) -> impl Iterator<Item = Target> {
    let mgmt = Target::ClusterNetwork(MGMT.into());
    let networks = snapshot.cluster_networks().cloned().map(Target::ClusterNetwork);
    let vm_networks = snapshot.keys(Kind::VmNetwork).into_iter().map(Target::VmNetwork);
    let hosts = snapshot.hosts().into_iter().map(|host| Target::Host(host.name().clone()));
    let vmis = snapshot.keys(Kind::Vmi).into_iter().map(Target::Vmi);
    std::iter::once(mgmt).chain(networks).chain(hosts).chain(vm_networks).chain(vmis)
}

/// The objects that the change may concern. Both are snapshots of one index, so that their options
/// are the same. A running VM that is cut off goes on being so if only the cause changes.
fn changed(before: &Snapshot, after: &Snapshot) -> BTreeSet<Target> {
    let Difference { objects, cluster_networks } = Difference::between(before, after);
    let mut targets = BTreeSet::new();
    for ObjectRef { kind, key } in objects {
        match kind {
            Kind::ClusterNetwork => {
                let name = Name::from(key.name());
                let exists = |snapshot: &Snapshot| snapshot.cluster_network(&name).is_some();
                if exists(before) != exists(after) {
                    targets.extend(of_existence(after, &name));
                }
                targets.insert(Target::ClusterNetwork(name));
            }
            Kind::NetworkConfig => {
                let configs = [before.config(key.name()), after.config(key.name())];
                let networks = configs.into_iter().flatten().map(|it| it.cluster_network.clone());
                targets.extend(networks.map(Target::ClusterNetwork));
            }
            Kind::Host => {
                let host = Name::from(key.name());
                if before.host(&host).is_some() != after.host(&host).is_some() {
                    targets.extend(after.vmis_on(&host).cloned().map(Target::Vmi));
                }
                targets.insert(Target::Host(host));
            }
            Kind::VmNetwork => {
                targets.extend(after.vmis_using(&key).cloned().map(Target::Vmi));
                targets.insert(Target::VmNetwork(key));
            }
            Kind::Vmi => drop(targets.insert(Target::Vmi(key))),
            Kind::Migration => {
                let migrations = [before.migration(&key), after.migration(&key)];
                let vmis = migrations.into_iter().flatten().map(|it| it.vmi.clone());
                targets.extend(vmis.map(Target::Vmi));
            }
            Kind::LauncherPod => {
                let pods = [before.launcher_pod(&key), after.launcher_pod(&key)];
                targets.extend(pods.into_iter().flatten().map(|pod| Target::Vmi(pod.vmi.clone())));
            }
            _ => {}
        }
    }
    let mgmt = Name::from(MGMT);
    let is_active = |snapshot: &Snapshot| snapshot.network(&mgmt).is_active_anywhere();
    if is_active(before) != is_active(after) {
        targets.extend(of_activity(after, &mgmt));
    }
    for (network, hosts) in cluster_networks {
        targets.extend(of_activity(after, &network));
        targets.extend(hosts.gained.into_iter().map(Target::Host));
        for host in hosts.lost {
            targets.extend(after.vmis_on(&host).cloned().map(Target::Vmi));
            targets.insert(Target::Host(host));
        }
    }
    targets
}

/// What depends on whether a cluster network is active anywhere.
fn of_activity(snapshot: &Snapshot, cluster_network: &Name) -> BTreeSet<Target> {
    let under = snapshot.vm_networks_of(cluster_network);
    let under = under.map(|(key, _)| Target::VmNetwork(key.clone()));
    under.chain([Target::ClusterNetwork(cluster_network.clone())]).collect()
}

/// What depends on whether a cluster network exists: which VM networks are under it, which running
/// VMs need it, and whether a label of a host is about it.
fn of_existence(snapshot: &Snapshot, cluster_network: &Name) -> BTreeSet<Target> {
    let under = snapshot.vm_networks_of(cluster_network);
    let vmis = under.flat_map(|(key, _)| snapshot.vmis_using(key).cloned().map(Target::Vmi));
    let label = [LABEL_PREFIX, cluster_network].concat();
    let labelled = snapshot
        .every_host()
        .map(crate::cluster::HostRef::name)
        .filter(|host| snapshot.labels_of(host).is_some_and(|labels| labels.get(&label).is_some()));
    let hosts = labelled.cloned().map(Target::Host);
    vmis.chain(hosts).chain(of_activity(snapshot, cluster_network)).collect()
}
