//! Running VMs that are on a host where a cluster network that they use is not active
//! (docs/reference.md, "VMs on inactive hosts"). The webhooks refuse changes that would lead there, so
//! what is found here slipped through: two writes raced, or somebody removed the webhooks.

use std::collections::BTreeSet;

use crate::cluster::{Inactive, Key, Name, Selection, Snapshot};
use crate::decide::needs::Needs;

use super::values::CutOff;

/// The cluster networks from which a running VM is cut off; `None` if there are none. What a VM uses
/// is what its launcher pods have: a hot-plugged network that the pod does not have yet waits for a
/// migration. Without a launcher pod, as in a dump of manifests, the VMI's spec tells.
#[must_use]
pub fn cut_off(snapshot: &Snapshot, key: &Key) -> Option<CutOff> {
    let vmi = snapshot.vmi(key)?;
    let mut from = BTreeSet::new();
    let mut has_pods = false;
    for pod in snapshot.launcher_pods_of(key) {
        has_pods = true;
        let Some(host) = &pod.host else { continue };
        let attached = |network: &&Key| !pod.unattached.contains(network);
        let networks = pod.networks.vm_networks.iter().filter(attached).cloned().collect();
        from.extend(inactive(snapshot, &Selection::of(networks, Vec::new()), host));
    }
    if !has_pods {
        for host in snapshot.hosts_of(key) {
            from.extend(inactive(snapshot, &vmi.networks, host.name()));
        }
    }
    (!from.is_empty()).then(|| CutOff { vmi: key.clone(), uid: vmi.uid.clone(), from })
}

/// The cluster networks under these VM networks that are not active on a host. Of a host that is not
/// known, nothing is known.
fn inactive(snapshot: &Snapshot, networks: &Selection, host: &Name) -> Vec<(Name, Name, Inactive)> {
    let Some(at) = snapshot.host(host) else { return Vec::new() };
    let needed = Needs::of(snapshot, networks).cluster_networks.into_iter();
    needed
        .filter_map(|network| {
            let why = snapshot.network(&network).inactive(at)?;
            Some((host.clone(), network, why))
        })
        .collect()
}
