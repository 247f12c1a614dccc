//! Writes: what a request does to an object.

use std::borrow::Cow;
use std::sync::Arc;

use crate::cluster::{
    ClusterNetwork, Host, Key, Name, NetworkConfig, Selection, Snapshot, Vm, VmNetwork,
};

/// One version of the object in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewed<F> {
    /// The object's name within its kind.
    pub key: Key,
    /// The object's facts.
    pub facts: F,
    /// Whether the object is being deleted. An update of such an object is always admitted.
    pub deleting: bool,
}

impl<F> Reviewed<F> {
    /// The name of a cluster-scoped object.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.key.text()
    }
}

/// What a request does to an object.
#[derive(Clone, Debug)]
pub enum Write<F> {
    /// Creates the object.
    Create(Reviewed<F>),
    /// Replaces the old version.
    Update {
        /// The current version.
        old: Reviewed<F>,
        /// The requested version.
        new: Reviewed<F>,
    },
    /// Deletes the object.
    Delete(Reviewed<F>),
}

impl<F> Write<F> {
    /// The old version, if there is one.
    pub fn before(&self) -> Option<&Reviewed<F>> {
        match self {
            Self::Create(_) => None,
            Self::Update { old, .. } | Self::Delete(old) => Some(old),
        }
    }

    /// The new version, if there is one.
    pub fn after(&self) -> Option<&Reviewed<F>> {
        match self {
            Self::Create(new) | Self::Update { new, .. } => Some(new),
            Self::Delete(_) => None,
        }
    }
}

impl<F> Write<F> {
    /// The same write with each version's facts changed by `change`.
    #[must_use]
    pub fn map(self, change: impl Fn(F) -> F) -> Self {
        let changed = |it: Reviewed<F>| Reviewed { facts: change(it.facts), ..it };
        match self {
            Self::Create(new) => Self::Create(changed(new)),
            Self::Update { old, new } => Self::Update { old: changed(old), new: changed(new) },
            Self::Delete(old) => Self::Delete(changed(old)),
        }
    }
}

impl<F: PartialEq> Write<F> {
    /// Returns whether this is an update that changes nothing that a rule reads, such as one that
    /// adds a finalizer.
    pub fn keeps_facts(&self) -> bool {
        matches!(self, Self::Update { old, new } if old.facts == new.facts)
    }
}

/// A change to an object of one of the kinds that are reviewed.
#[derive(Clone, Debug)]
pub enum Proposal {
    /// A change to a cluster network.
    ClusterNetwork(Write<ClusterNetwork>),
    /// A change to a network config.
    NetworkConfig(Write<NetworkConfig>),
    /// An update or delete of a network config whose old version is missing from the request or
    /// can't be read. The known version takes the old version's place.
    KnownNetworkConfig {
        /// The network config's name.
        name: Name,
        /// The requested version; `None` for a delete.
        new: Option<Reviewed<NetworkConfig>>,
    },
    /// A change to a VM network.
    VmNetwork(Write<VmNetwork>),
    /// A change to a VM.
    Vm(Write<Vm>),
    /// A change to a host.
    Host(Write<Host>),
    /// The create of a VMI with these VM networks. No rule applies to a VMI, but the mutating
    /// webhook adds node affinity to it.
    Vmi(Arc<Selection>),
}

impl Proposal {
    /// The object's name within its kind; `None` for a VMI, whose name is not needed.
    pub(super) fn key(&self) -> Option<Key> {
        fn of<F>(write: &Write<F>) -> Option<Key> {
            write.after().or(write.before()).map(|object| object.key.clone())
        }
        match self {
            Self::ClusterNetwork(write) => of(write),
            Self::NetworkConfig(write) => of(write),
            Self::KnownNetworkConfig { name, .. } => Some(Key::cluster_scoped(name.clone())),
            Self::VmNetwork(write) => of(write),
            Self::Vm(write) => of(write),
            Self::Host(write) => of(write),
            Self::Vmi(_) => None,
        }
    }

    /// This proposal, with the known version of a network config in place of a missing old version.
    /// `None` for the delete of a network config that is not known.
    pub(super) fn resolved(&self, snapshot: &Snapshot) -> Option<Cow<'_, Self>> {
        let Self::KnownNetworkConfig { name, new } = self else { return Some(Cow::Borrowed(self)) };
        let old = snapshot.config(name).map(|facts| Reviewed {
            key: Key::cluster_scoped(name.clone()),
            facts: facts.clone(),
            deleting: facts.deleting,
        });
        let write = match (old, new.clone()) {
            (Some(old), Some(new)) => Write::Update { old, new },
            (Some(old), None) => Write::Delete(old),
            (None, Some(new)) => Write::Create(new),
            (None, None) => return None,
        };
        Some(Cow::Owned(Self::NetworkConfig(write)))
    }
}
