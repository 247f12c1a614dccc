//! Explains, host by host, whether a VM can run there, and if not, which VM network, which cluster
//! network and which cause is in the way. The filter decides by the same facts.

use crate::cluster::{HostRef, Key, Snapshot};

use super::causes::Cause;
use super::needs::Needs;

/// Whether one host can run a VM.
pub struct HostAnswer<'s> {
    /// The host.
    pub host: HostRef<'s>,
    /// What is in the way, each cause with the VM network that leads to it. Empty if the VM can run
    /// there.
    pub causes: Vec<(Option<Key>, Cause)>,
}

impl HostAnswer<'_> {
    /// Returns whether the VM's networks allow it to run on the host.
    #[must_use]
    pub fn feasible(&self) -> bool {
        self.causes.is_empty()
    }
}

/// The answer for every host, sorted by name.
#[must_use]
pub fn explain<'s>(snapshot: &'s Snapshot, needs: &Needs) -> Vec<HostAnswer<'s>> {
    snapshot
        .hosts()
        .into_iter()
        .map(|host| HostAnswer { host, causes: causes(snapshot, needs, host) })
        .collect()
}

fn causes(snapshot: &Snapshot, needs: &Needs, host: HostRef<'_>) -> Vec<(Option<Key>, Cause)> {
    let everywhere = needs.everywhere.iter().map(|cause| match cause {
        Cause::VmNetworkNotFound(key) => (Some(key.clone()), cause.clone()),
        _ => (None, cause.clone()),
    });
    let inactive = needs.vm_networks.iter().filter_map(|(key, under)| {
        let cluster_network = under.as_ref()?;
        let why = snapshot.network(cluster_network).inactive(host)?;
        let cause = Cause::Inactive { cluster_network: cluster_network.clone(), why };
        Some((Some(key.clone()), cause))
    });
    everywhere.chain(inactive).collect()
}
