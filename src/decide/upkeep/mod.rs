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

pub use cut_off::cut_off;
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

fn changed(before: &Snapshot, after: &Snapshot) -> BTreeSet<Target> {
    let Difference { objects, cluster_networks } = Difference::between(before, after);
    let mut targets = BTreeSet::new();
    for ObjectRef { kind, key } in objects {
        match kind {
            Kind::ClusterNetwork => {
                targets.extend(of_cluster_network(after, key.name()));
            }
            Kind::NetworkConfig => {
                let configs = [before.config(key.name()), after.config(key.name())];
                let networks = configs.into_iter().flatten().map(|it| it.cluster_network.clone());
                targets.extend(networks.map(Target::ClusterNetwork));
            }
            Kind::Host => {
                targets.extend([
                    Target::Host(key.name().into()),
                    // The first host, or the last one, decides whether `mgmt` is active.
                    Target::ClusterNetwork(MGMT.into()),
                ]);
            }
            Kind::VmNetwork => {
                targets.extend(after.vmis_using(&key).cloned().map(Target::Vmi));
                targets.insert(Target::VmNetwork(key));
            }
            Kind::Vmi => drop(targets.insert(Target::Vmi(key))),
            Kind::LauncherPod => {
                let pods = [before.launcher_pod(&key), after.launcher_pod(&key)];
                targets.extend(pods.into_iter().flatten().map(|pod| Target::Vmi(pod.vmi.clone())));
            }
            _ => {}
        }
    }
    for (network, hosts) in cluster_networks {
        targets.extend(of_cluster_network(after, &network));
        targets.extend(hosts.gained.into_iter().map(Target::Host));
        for host in hosts.lost {
            targets.extend(after.vmis_on(&host).cloned().map(Target::Vmi));
            targets.insert(Target::Host(host));
        }
    }
    targets
}

/// The cluster network, and the VM networks under it.
fn of_cluster_network(snapshot: &Snapshot, name: &str) -> Vec<Target> {
    let name = Name::from(name);
    let under = snapshot.vm_networks_of(&name).map(|(key, _)| Target::VmNetwork(key.clone()));
    let mut targets: Vec<Target> = under.collect();
    targets.push(Target::ClusterNetwork(name));
    targets
}
