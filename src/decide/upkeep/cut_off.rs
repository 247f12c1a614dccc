//! Running VMs that are on a host where a cluster network that they use is not active
//! (docs/reference.md, "VMs on inactive hosts"). The webhooks refuse changes that would lead there, so
//! what is found here slipped through: two writes raced, or somebody removed the webhooks.

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::FixedState;

use crate::cluster::{HostRef, Inactive, Key, Name, Snapshot, Vmi};

use super::values::CutOff;

/// The cluster networks from which a running VM is cut off; `None` if there are none.
#[must_use]
pub fn cut_off(snapshot: &Snapshot, key: &Key) -> Option<CutOff> {
    let vmi = snapshot.vmi(key)?;
    let inactive = attached(snapshot, key, vmi).into_iter().filter_map(|(host, vm_network)| {
        let network = cluster_network_of(snapshot, vm_network)?;
        let why = inactive(snapshot, &network, host)?;
        Some((host.name().clone(), network, why))
    });
    let from: BTreeSet<_> = inactive.collect();
    (!from.is_empty()).then(|| CutOff { vmi: key.clone(), uid: vmi.uid.clone(), from })
}

/// The number of running VMs that are cut off from some cluster network.
#[must_use]
pub fn count_cut_off(snapshot: &Snapshot) -> usize {
    all_cut_off(snapshot).count()
}

/// The running VMs that are cut off from some cluster network.
pub fn all_cut_off(snapshot: &Snapshot) -> impl Iterator<Item = &Key> {
    let mut networks: HashMap<&Key, Option<Name>, FixedState> = HashMap::default();
    let mut is_inactive = move |(host, vm_network)| {
        let network = networks
            .entry(vm_network)
            .or_insert_with_key(|vm_network| cluster_network_of(snapshot, vm_network));
        network.as_ref().is_some_and(|network| inactive(snapshot, network, host).is_some())
    };
    let vmis = snapshot.vmis();
    vmis.filter(move |(key, vmi)| attached(snapshot, key, vmi).into_iter().any(&mut is_inactive))
        .map(|(key, _)| key)
}

/// Each host that a running VM is on, with each VM network that it uses there. What it uses is what
/// its launcher pods have: a hot-plugged network that the pod does not have yet waits for a migration.
/// Without a launcher pod, as in a dump of manifests, the VMI's spec tells. Of a host that is not
/// known, nothing is known.
fn attached<'s>(snapshot: &'s Snapshot, key: &'s Key, vmi: &'s Vmi) -> Vec<(HostRef<'s>, &'s Key)> {
    let mut attached = Vec::new();
    let mut has_pods = false;
    for pod in snapshot.launcher_pods_of(key) {
        has_pods = true;
        let Some(host) = pod.host.as_ref().and_then(|host| snapshot.host(host)) else { continue };
        let networks = pod.networks.vm_networks.iter().filter(|it| !pod.unattached.contains(it));
        attached.extend(networks.map(|network| (host, network)));
    }
    if !has_pods {
        for host in snapshot.hosts_of(key) {
            attached.extend(vmi.networks.vm_networks.iter().map(|network| (host, network)));
        }
    }
    attached
}

fn cluster_network_of(snapshot: &Snapshot, vm_network: &Key) -> Option<Name> {
    snapshot.cluster_network_of(snapshot.vm_network(vm_network)?)
}

fn inactive(snapshot: &Snapshot, network: &Name, host: HostRef<'_>) -> Option<Inactive> {
    snapshot.network(network).inactive(host)
}
