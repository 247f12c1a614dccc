//! What a request does to an object.

use std::borrow::Cow;

use crate::cluster::{
    ClusterNetwork, Host, Key, Name, NetworkConfig, Selection, Snapshot, Vm, VmNetwork,
};

/// One version of an object, as a request has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewed<F> {
    /// Its name within its kind.
    pub key: Key,
    /// Its facts.
    pub facts: F,
    /// Whether it is being deleted. An update of such an object is always admitted.
    pub deleting: bool,
}

impl<F> Reviewed<F> {
    /// The name of an object that lies in no namespace.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.key.text()
    }
}

/// What a request does to an object.
#[derive(Clone, Debug)]
pub enum Write<F> {
    /// Makes it.
    Create(Reviewed<F>),
    /// Replaces the old version.
    Update {
        /// As it is now.
        old: Reviewed<F>,
        /// As it would be.
        new: Reviewed<F>,
    },
    /// Deletes it.
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

/// A change to an object of one of the kinds that are reviewed.
#[derive(Clone, Debug)]
pub enum Proposal {
    /// To a cluster network.
    ClusterNetwork(Write<ClusterNetwork>),
    /// To a network config.
    NetworkConfig(Write<NetworkConfig>),
    /// An update or delete of a network config whose old version is not in the request, or can't be
    /// read there: what is known of the config counts.
    KnownNetworkConfig {
        /// The config's name.
        name: Name,
        /// As it would be; nothing, if it is deleted.
        new: Option<Reviewed<NetworkConfig>>,
    },
    /// To a VM network.
    VmNetwork(Write<VmNetwork>),
    /// To a VM.
    Vm(Write<Vm>),
    /// To a host.
    Host(Write<Host>),
    /// A VMI that is made with these VM networks. No rule is about it, but it gets node affinity.
    Vmi(Selection),
}

impl Proposal {
    /// The name of the object that it is about; of a VMI it does not matter.
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

    /// The same, with what is known of a network config in place of an old version that is missing.
    /// Nothing, if nothing is known of it and it is deleted.
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
