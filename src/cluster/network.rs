//! One cluster network in a snapshot, for queries about many hosts.

use super::host_set::{HostRef, HostSet};
use super::hosts::Host;
use super::names::{MGMT, Name};
use super::state::{Inactive, NetworkState, State, Uplink};

/// A cluster network in a snapshot. The cluster network need not exist.
#[derive(Clone, Copy)]
pub struct Network<'s> {
    pub(super) name: &'s Name,
    pub(super) state: &'s State,
    pub(super) known: Option<&'s NetworkState>,
}

impl<'s> Network<'s> {
    /// The cluster network's name.
    #[must_use]
    pub fn name(self) -> &'s Name {
        self.name
    }

    /// Returns whether the cluster network exists.
    #[must_use]
    pub fn exists(self) -> bool {
        self.state.exists(self.name)
    }

    /// Why the cluster network is not active on the host; `None` if it is active.
    #[must_use]
    pub fn inactive(self, host: HostRef<'_>) -> Option<Inactive> {
        match self.known {
            _ if **self.name == *MGMT => None,
            Some(network) => network.inactive(self.state.hosts.witnesses(), host),
            None => Some(Inactive::ClusterNetworkNotFound),
        }
    }

    /// On how many of these hosts the cluster network is not active, by why.
    pub fn count_inactive(self, hosts: &HostSet) -> impl Iterator<Item = (Inactive, u64)> {
        let counts = match self.known {
            _ if **self.name == *MGMT => Vec::new(),
            Some(network) => network.count_inactive(self.state.hosts.witnesses(), hosts),
            None => vec![(Inactive::ClusterNetworkNotFound, hosts.len() as u64)],
        };
        counts.into_iter().filter(|(_, count)| *count > 0)
    }

    /// Why the cluster network is not active on a host without a known Node object, judged by the
    /// labels in a request; `None` if it is active.
    #[must_use]
    pub fn inactive_on_unknown(self, name: &Name, host: &Host) -> Option<Inactive> {
        self.state.inactive_on_unknown(self.name, name, host)
    }

    /// The hosts on which the cluster network is active; `None`, which stands for every host, for
    /// `mgmt`.
    #[must_use]
    pub fn active(self) -> Option<HostSet> {
        (&**self.name != MGMT).then(|| {
            self.known
                .filter(|network| network.facts.is_some())
                .map(|network| (*network.active).clone())
                .unwrap_or_default()
        })
    }

    /// Returns whether the cluster network is active on at least one host.
    #[must_use]
    pub fn is_active_anywhere(self) -> bool {
        self.exists()
            && match self.known.filter(|_| &**self.name != MGMT) {
                Some(network) => !network.active.is_empty(),
                None => self.state.hosts.len() > 0,
            }
    }

    /// The cluster network's network configs that cover the host.
    pub fn uplinks(self, host: HostRef<'s>) -> impl Iterator<Item = Uplink<'s>> {
        self.known
            .into_iter()
            .flat_map(|network| network.configs.iter())
            .filter_map(|config| self.state.configs.get_key_value(config))
            .filter(move |(_, config)| config.hosts.contains(host))
            .map(|(config, state)| Uplink { config, facts: &state.facts })
    }
}
