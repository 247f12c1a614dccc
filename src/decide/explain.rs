//! Explains whether a VM can run on a host, and if not, which VM network, which cluster network and
//! which cause is in the way. The filter decides by the same facts about networks.

use std::sync::Arc;

use crate::cluster::{HostChoice, HostRef, Key, Kind, Name, Selection, Snapshot};

use super::causes::Cause;
use super::needs::Needs;

/// What a VM asks of its host, as far as Lanekeeper can judge it.
pub struct Asked {
    /// The kind of object that asks: a VM, or a VMI without a VM.
    pub source: Kind,
    /// What the VM's networks need.
    pub needs: Needs,
    /// The hosts that the VM's own node selector and required node affinity allow.
    pub(super) hosts: Arc<HostChoice>,
}

impl Asked {
    /// What the VM of this name asks, or else its VMI. Returns `None` if there is neither.
    #[must_use]
    pub fn of(snapshot: &Snapshot, key: &Key) -> Option<Self> {
        let Some(vm) = snapshot.vm(key) else { return Self::of_vmi(snapshot, key) };
        let needs = Needs::of(snapshot, &vm.networks);
        Some(Self { source: Kind::Vm, needs, hosts: vm.hosts.clone() })
    }

    /// What the VMI of this name asks, if there is one.
    #[must_use]
    pub fn of_vmi(snapshot: &Snapshot, key: &Key) -> Option<Self> {
        let (vmi, networks) = (snapshot.vmi(key)?, snapshot.selection_of(key)?);
        let needs = Needs::of(snapshot, &networks);
        Some(Self { source: Kind::Vmi, needs, hosts: vmi.hosts.clone() })
    }

    /// What a VM on this VM network alone would ask.
    #[must_use]
    pub fn on_network(snapshot: &Snapshot, vm_network: &Key) -> Self {
        let networks = Selection::of(vec![vm_network.clone()], Vec::new());
        Self::of_new(snapshot, &networks, HostChoice::default())
    }

    /// What a VM would ask that is not made yet, with these networks and on these hosts.
    #[must_use]
    pub fn of_new(snapshot: &Snapshot, networks: &Selection, hosts: HostChoice) -> Self {
        Self { source: Kind::Vm, needs: Needs::of(snapshot, networks), hosts: hosts.into() }
    }

    /// What is in the way on a host, each cause with the VM network that leads to it. Empty if the
    /// VM can run there.
    #[must_use]
    pub fn causes(&self, snapshot: &Snapshot, host: HostRef<'_>) -> Vec<(Option<Key>, Cause)> {
        let everywhere = self.needs.everywhere.iter().map(|cause| match cause {
            Cause::VmNetworkNotFound(key) => (Some(key.clone()), cause.clone()),
            _ => (None, cause.clone()),
        });
        let inactive = self.needs.vm_networks.iter().filter_map(|(key, under)| {
            Some((Some(key.clone()), inactive(snapshot, under.as_ref()?, host)?))
        });
        let excluded = (!snapshot.allows(&self.hosts, host)).then_some((None, Cause::ExcludedByVm));
        everywhere.chain(inactive).chain(excluded).collect()
    }
}

/// Why a cluster network is not active on a host; `None` if it is active.
#[must_use]
pub fn inactive(snapshot: &Snapshot, cluster_network: &Name, host: HostRef<'_>) -> Option<Cause> {
    let why = snapshot.network(cluster_network).inactive(host)?;
    Some(Cause::Inactive { cluster_network: cluster_network.clone(), why })
}
