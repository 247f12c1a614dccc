//! The change of a network config under review.

use crate::cluster::{HostSet, NetworkConfig, Snapshot};
use crate::decide::review::{Reviewed, Write};

/// A change, with the hosts that the network config covers before and after. A version that does
/// not count is left out: only `vc-mgmt` applies to a network config of `mgmt`, and one that moves
/// to `mgmt` is judged for the cluster network that it leaves.
pub(super) struct Review<'a> {
    pub snapshot: &'a Snapshot,
    pub old: Option<&'a Reviewed<NetworkConfig>>,
    pub new: Option<&'a Reviewed<NetworkConfig>>,
    /// Whether the change is an update, even if one of its versions is left out.
    pub update: bool,
    pub old_hosts: HostSet,
    pub new_hosts: HostSet,
}

impl<'a> Review<'a> {
    /// The review of a change; `None` for an update of an object that is being deleted, which is
    /// always admitted.
    pub fn of(
        snapshot: &'a Snapshot,
        write: &'a Write<NetworkConfig>,
        trusted: bool,
    ) -> Option<Self> {
        if matches!(write, Write::Update { new, .. } if new.facts.deleting) {
            return None;
        }
        // A config without a cluster network that an untrusted user creates is nobody's record.
        let is_create = matches!(write, Write::Create(_)) && !trusted;
        let counting = |version: &&Reviewed<NetworkConfig>| {
            let facts = &version.facts;
            facts.counts() || is_create && facts.cluster_network.is_empty() && !facts.deleting
        };
        let (old, new) = (write.before().filter(counting), write.after().filter(counting));
        let hosts = |version: Option<&Reviewed<NetworkConfig>>| {
            version.map(|it| snapshot.covered(&it.facts.selector)).unwrap_or_default()
        };
        Some(Self {
            snapshot,
            old,
            new,
            update: matches!(write, Write::Update { .. }),
            old_hosts: hosts(old),
            new_hosts: hosts(new),
        })
    }

    /// The old version, if it belongs to the same cluster network as the new one.
    pub fn old_of_same_network(&self) -> Option<&'a Reviewed<NetworkConfig>> {
        let new = self.new?;
        self.old.filter(|old| old.facts.cluster_network == new.facts.cluster_network)
    }

    /// The hosts that the network config newly covers: all of its hosts, if its cluster network
    /// changes.
    pub fn added(&self) -> HostSet {
        if self.old_of_same_network().is_some() {
            self.new_hosts.difference(&self.old_hosts)
        } else {
            self.new_hosts.clone()
        }
    }
}
