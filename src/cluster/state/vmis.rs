//! The hosts and VM networks that a VMI occupies, according to its own object, its migrations and
//! its launcher pods (docs/reference.md, "What a pod or VM needs" and "Running VMs").

use std::collections::BTreeSet;

use crate::cluster::facts::{LauncherPod, Selection, Vmi};
use crate::cluster::names::{Key, Name};

use super::{State, related};

/// The hosts and VM networks that an unfinished VMI occupies. A finished VMI occupies nothing.
#[derive(Default, PartialEq, Eq)]
pub(in crate::cluster) struct Occupancy {
    /// The VMI's own host, the targets of its migrations and the hosts of its launcher pods.
    pub hosts: BTreeSet<Name>,
    /// The VM networks in the VMI's spec and on its launcher pods.
    pub vm_networks: BTreeSet<Key>,
}

impl State {
    /// The launcher pods of this VMI that have not ended, without those of an earlier VMI of its
    /// name.
    pub(in crate::cluster) fn live_pods<'s>(
        &'s self,
        key: &'s Key,
        vmi: &'s Vmi,
    ) -> impl Iterator<Item = &'s LauncherPod> {
        related(&self.pods_of, key)
            .filter_map(|pod| self.pods.get(pod))
            .map(|pod| &**pod)
            .filter(|pod| !pod.ended && pod.is_of(vmi))
    }

    pub(in crate::cluster) fn occupancy_of(&self, key: &Key) -> Occupancy {
        let mut occupancy = Occupancy::default();
        let Some(vmi) = self.vmis.get(key).filter(|vmi| !vmi.finished) else { return occupancy };
        occupancy.vm_networks.extend(vmi.networks.vm_networks.iter().cloned());
        occupancy.hosts.extend(vmi.host.iter().cloned());
        let migrations = || {
            related(&self.migrations_of, key).filter_map(|migration| self.migrations.get(migration))
        };
        occupancy.hosts.extend(migrations().filter_map(|migration| migration.target.clone()));
        let moves = vmi.moves.as_deref();
        // The target of a decentralised migration is a host of another cluster or namespace, even
        // if a host here has the same name.
        let is_sent = migrations().any(|migration| {
            let is_last = moves.is_some_and(|moves| moves.uid == migration.uid);
            migration.sends && !migration.uid.is_unknown() && is_last
        });
        let target = moves.and_then(|moves| moves.target.as_ref()).filter(|_| !is_sent);
        occupancy.hosts.extend(target.cloned());
        let mut has_pods = false;
        for pod in self.live_pods(key, vmi) {
            has_pods = true;
            occupancy.hosts.extend(pod.host.iter().cloned());
            occupancy.vm_networks.extend(pod.networks.vm_networks.iter().cloned());
        }
        // An ended pod stays in activePods, so the list counts only if no launcher pod is known, as
        // in a dump without pods.
        if !has_pods {
            occupancy.hosts.extend(moves.into_iter().flat_map(|it| &it.active_hosts).cloned());
        }
        occupancy
    }

    /// The VM networks that a VMI uses: those in its spec and those of its launcher pods.
    pub(in crate::cluster) fn selection_of(&self, key: &Key, vmi: &Vmi) -> Selection {
        let mut all = vmi.networks.vm_networks.to_vec();
        let mut unreadable = vmi.networks.unreadable.to_vec();
        for pod in self.live_pods(key, vmi) {
            all.extend(pod.networks.vm_networks.iter().cloned());
            unreadable.extend(pod.networks.unreadable.iter().cloned());
        }
        Selection::of(all, unreadable)
    }
}
