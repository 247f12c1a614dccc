//! What a pod, VM or VMI needs: the cluster networks of the VM networks that it asks for
//! (docs/reference.md, "Objects" and "What a pod or VM needs").

use crate::cluster::{HostSet, Key, MGMT, Name, Selection, Snapshot};

use super::causes::Cause;

/// What a pod, VM or VMI needs from its host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The cluster networks that must be active, sorted, each once. `mgmt` is left out, since it is
    /// always active.
    pub cluster_networks: Vec<Name>,
    /// The causes that apply on every host, sorted by reason.
    pub everywhere: Vec<Cause>,
    /// The VM networks that are asked for, in order, each with its cluster network, if it has one.
    pub vm_networks: Vec<(Key, Option<Name>)>,
}

impl Needs {
    /// The needs of a pod, VM or VMI that asks for these VM networks.
    #[must_use]
    pub fn of(snapshot: &Snapshot, selection: &Selection) -> Self {
        let mut needs = Self::default();
        for key in &selection.vm_networks {
            let vm_network = snapshot.vm_network(key);
            if vm_network.is_none() {
                needs.everywhere.push(Cause::VmNetworkNotFound(key.clone()));
            }
            let under = vm_network.and_then(|it| snapshot.cluster_network_of(it));
            needs.cluster_networks.extend(under.clone().filter(|name| **name != *MGMT));
            needs.vm_networks.push((key.clone(), under));
        }
        needs.everywhere.extend(selection.unreadable.iter().cloned().map(Cause::InvalidSelection));
        needs.everywhere.sort_by_cached_key(Cause::reason);
        needs.cluster_networks.sort_unstable();
        needs.cluster_networks.dedup();
        needs
    }

    /// The hosts on which all needed cluster networks are active; `None`, which stands for every
    /// host, if none is needed apart from `mgmt`.
    #[must_use]
    pub fn active(&self, snapshot: &Snapshot) -> Option<HostSet> {
        let active =
            self.cluster_networks.iter().filter_map(|name| snapshot.network(name).active());
        active.reduce(|all, active| all.intersection(&active))
    }

    /// Returns whether every host meets these needs.
    #[must_use]
    pub fn nothing(&self) -> bool {
        self.cluster_networks.is_empty() && self.everywhere.is_empty()
    }
}
