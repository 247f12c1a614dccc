//! What must be read afresh before a review's answer is safe.

use crate::cluster::{Key, MGMT, Name, ObjectRef, Snapshot};

/// What must be read afresh before a review's answer is safe (docs/reference.md, "Fresh reads").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The hosts whose running VMs matter.
    pub running_vms_on: Vec<Name>,
    /// The cluster network whose network configs and VM networks matter.
    pub users_of: Option<Name>,
    /// The VM network whose running VMs matter.
    pub vmis_using: Option<Key>,
    /// The VM network to which no VM may refer, running or not.
    pub vms_using: Option<Key>,
    /// Objects that the change refers to and that are unknown here.
    pub unknown: Vec<ObjectRef>,
    /// Cluster networks whose network configs matter, and may be too young to be known.
    pub configs_of: Vec<Name>,
}

impl Scope {
    /// Returns whether nothing needs to be read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The objects to look up alone, with the configs of their cluster networks: what a mutation
    /// needs, which destroys nothing.
    #[must_use]
    pub fn look_ups(self) -> Self {
        let Self { unknown, configs_of, .. } = self;
        Self { unknown, configs_of, ..Self::default() }
    }
}

/// Returns whether no network config of the cluster network is known. A new cluster network and its
/// first config come by two watches, of which one may be ahead.
pub(super) fn lacks_configs(snapshot: &Snapshot, cluster_network: &Name) -> bool {
    &**cluster_network != MGMT && snapshot.configs_of(cluster_network).next().is_none()
}
