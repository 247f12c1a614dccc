//! The scope of a review's fresh reads.

use crate::cluster::{Key, MGMT, Name, ObjectRef, Snapshot};

/// What must be read afresh before a review's answer is safe (docs/reference.md, "Fresh reads").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The hosts whose running VMs the rules look at.
    pub running_vms_on: Vec<Name>,
    /// The cluster network whose network configs and VM networks the rules look at.
    pub users_of: Option<Name>,
    /// The VM network whose running VMs the rules look at.
    pub vmis_using: Option<Key>,
    /// The VM network whose VMs the rules look at, running or not.
    pub vms_using: Option<Key>,
    /// The unknown objects that the change refers to.
    pub unknown: Vec<ObjectRef>,
    /// The cluster networks whose network configs the rules look at. The newest may still be
    /// unknown.
    pub configs_of: Vec<Name>,
}

impl Scope {
    /// Returns whether nothing needs to be read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Only the unknown objects, and the network configs of cluster networks. A mutation needs no
    /// more, since it can't cut off a VM.
    #[must_use]
    pub fn look_ups(self) -> Self {
        let Self { unknown, configs_of, .. } = self;
        Self { unknown, configs_of, ..Self::default() }
    }
}

/// Returns whether no network config of the cluster network is known. The cluster network and its
/// first network config arrive by separate watches, and either watch may lag behind.
pub(super) fn lacks_configs(snapshot: &Snapshot, cluster_network: &Name) -> bool {
    &**cluster_network != MGMT && snapshot.configs_of(cluster_network).next().is_none()
}
