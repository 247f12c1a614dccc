//! Where a VMI sits and what it uses, by its own word and by its launcher pods' (docs/reference.md,
//! "What a pod or VM needs" and "Running VMs").

use std::collections::BTreeSet;

use crate::cluster::facts::{LauncherPod, Selection, Vmi};
use crate::cluster::names::{Key, Name};

use super::{State, related};

/// What is kept of an unfinished VMI; of any other, nothing.
#[derive(Default, PartialEq, Eq)]
pub(in crate::cluster) struct VmiStanding {
    /// The hosts that it sits on: its own, a migration's target, its pods'.
    pub hosts: BTreeSet<Name>,
    /// The VM networks that it uses.
    pub vm_networks: BTreeSet<Key>,
}

impl State {
    /// The launcher pods of this very instance that have not ended.
    fn live_pods<'s>(
        &'s self,
        key: &'s Key,
        vmi: &'s Vmi,
    ) -> impl Iterator<Item = &'s LauncherPod> {
        related(&self.pods_of, key)
            .filter_map(|pod| self.pods.get(pod))
            .map(|pod| &**pod)
            .filter(|pod| !pod.ended && pod.is_of(vmi))
    }

    pub(in crate::cluster) fn standing_of(&self, key: &Key) -> VmiStanding {
        let mut standing = VmiStanding::default();
        let Some(vmi) = self.vmis.get(key).filter(|vmi| !vmi.finished) else { return standing };
        standing.vm_networks.extend(vmi.networks.vm_networks.iter().cloned());
        standing.hosts.extend(vmi.host.iter().chain(&vmi.migration_target).cloned());
        standing.hosts.extend(
            related(&self.migrations_of, key)
                .filter_map(|migration| self.migrations.get(migration)?.target.clone()),
        );
        let mut has_pods = false;
        for pod in self.live_pods(key, vmi) {
            has_pods = true;
            standing.hosts.extend(pod.host.iter().cloned());
            standing.vm_networks.extend(pod.networks.vm_networks.iter().cloned());
        }
        // An ended pod stays in activePods, so the list counts only where no pod is known, as in
        // a dump without pods.
        if !has_pods {
            standing.hosts.extend(vmi.active_hosts.iter().cloned());
        }
        standing
    }

    /// What a VMI uses: its spec's VM networks and those of its pods.
    pub(in crate::cluster) fn selection_of(&self, key: &Key, vmi: &Vmi) -> Selection {
        let mut all = vmi.networks.vm_networks.to_vec();
        let mut unreadable = vmi.networks.unreadable.clone();
        for pod in self.live_pods(key, vmi) {
            all.extend(pod.networks.vm_networks.iter().cloned());
            unreadable = unreadable.or_else(|| pod.networks.unreadable.clone());
        }
        Selection::of(all, unreadable)
    }
}
