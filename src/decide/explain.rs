//! Host by host: can a VM run there, and if not, which VM network, which cluster network, which
//! cause. By the same facts and the same words as the filter.

use crate::cluster::{HostRef, Key, Snapshot};

use super::causes::Cause;
use super::needs::Needs;

/// What one host has to say to a VM.
pub struct HostAnswer<'s> {
    /// The host.
    pub host: HostRef<'s>,
    /// What is in the way, with the VM network that asks for it; none if it can run there.
    pub causes: Vec<(Option<Key>, Cause)>,
}

impl HostAnswer<'_> {
    /// Whether the VM can run there, as far as its networks go.
    #[must_use]
    pub fn feasible(&self) -> bool {
        self.causes.is_empty()
    }
}

/// The answer of every host, by name.
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
