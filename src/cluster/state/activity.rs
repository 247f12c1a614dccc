//! When a cluster network is active on a host, and if not, why (docs/reference.md, "When a cluster
//! network is active").

use crate::cluster::facts::{Host, NetworkConfig};
use crate::cluster::hosts::{HostRef, HostSet};
use crate::cluster::names::{MGMT, Name};
use crate::cluster::options::Activation;

use super::{NetworkState, State};

/// Why a cluster network is not active on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Inactive {
    /// There is no such cluster network.
    ClusterNetworkNotFound,
    /// The host is a witness, which carries no cluster network.
    WitnessHost,
    /// No network config of the cluster network covers the host.
    HostNotCovered,
    /// The host reports that its uplink is not ready.
    UplinkNotReady,
    /// The host reports nothing, and a report is asked for.
    UplinkNotReported,
}

/// A network config as it applies to one host.
pub struct Uplink<'s> {
    /// The network config's name.
    pub config: &'s Name,
    /// Its facts.
    pub facts: &'s NetworkConfig,
}

/// What is known of the uplink that a network config should make on a host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Report {
    Ready,
    NotReady,
    Silent,
}

impl State {
    /// Why the cluster network is not active on the host, if it is not.
    pub(in crate::cluster) fn inactive(
        &self,
        cluster_network: &str,
        host: HostRef<'_>,
    ) -> Option<Inactive> {
        if cluster_network == MGMT {
            return None;
        }
        let Some(network) =
            self.networks.get(cluster_network).filter(|network| network.facts.is_some())
        else {
            return Some(Inactive::ClusterNetworkNotFound);
        };
        if network.active.has(host.number) {
            return None;
        }
        Some(if self.hosts.facts(host.number).is_some_and(|facts| facts.witness) {
            Inactive::WitnessHost
        } else if !network.covered.has(host.number) {
            Inactive::HostNotCovered
        } else if network.not_ready.has(host.number) {
            Inactive::UplinkNotReady
        } else {
            Inactive::UplinkNotReported
        })
    }

    /// The same for a host that is in no Node object known here, by the labels that came with it.
    pub(in crate::cluster) fn inactive_on_unknown(
        &self,
        cluster_network: &str,
        name: &Name,
        host: &Host,
    ) -> Option<Inactive> {
        if cluster_network == MGMT {
            return None;
        }
        let Some((cluster_network, network)) = self
            .networks
            .get_key_value(cluster_network)
            .filter(|(_, network)| network.facts.is_some())
        else {
            return Some(Inactive::ClusterNetworkNotFound);
        };
        if host.witness {
            return Some(Inactive::WitnessHost);
        }
        let covering = network.configs.iter().filter(|config| {
            self.configs.get(*config).is_some_and(|config| config.facts.covers(host))
        });
        let standing = self.standing(cluster_network, name, covering);
        match (standing.covered, standing.active, standing.not_ready) {
            (_, true, _) => None,
            (false, ..) => Some(Inactive::HostNotCovered),
            (true, false, true) => Some(Inactive::UplinkNotReady),
            (true, false, false) => Some(Inactive::UplinkNotReported),
        }
    }

    /// Brings what is kept for one host of one cluster network up to date.
    pub(in crate::cluster) fn refresh(&mut self, cluster_network: &Name, host: u32) {
        let Some(network) = self.networks.get(cluster_network) else { return };
        let covering = network.configs.iter().filter(|config| {
            self.configs.get(*config).is_some_and(|config| config.hosts.has(host))
        });
        let standing = self.standing(cluster_network, self.hosts.name(host), covering);
        let NetworkState { covered, active, not_ready, .. } = network;
        if covered.has(host) == standing.covered
            && active.has(host) == standing.active
            && not_ready.has(host) == standing.not_ready
        {
            return;
        }
        if let Some(network) = self.networks.get_mut(cluster_network) {
            HostSet::put(&mut network.covered, host, standing.covered);
            HostSet::put(&mut network.active, host, standing.active);
            HostSet::put(&mut network.not_ready, host, standing.not_ready);
        }
    }

    /// How a host stands that is covered by these network configs of the cluster network.
    fn standing<'a>(
        &self,
        cluster_network: &Name,
        host: &Name,
        covering: impl Iterator<Item = &'a Name>,
    ) -> Standing {
        let mut standing = Standing::default();
        for config in covering {
            standing.covered = true;
            match self.report(cluster_network, host, config) {
                Report::Ready => standing.active = true,
                Report::NotReady => standing.not_ready = true,
                Report::Silent => {
                    standing.active |= self.options.activation == Activation::Covered;
                }
            }
        }
        standing
    }

    /// What the host reports of this network config. A report that was written for another config
    /// says nothing of this one.
    fn report(&self, cluster_network: &Name, host: &Name, config: &str) -> Report {
        let mut report = Report::Silent;
        for status in self.statuses_at(cluster_network, host) {
            if *status.config == *config {
                if !status.ready {
                    return Report::NotReady;
                }
                report = Report::Ready;
            }
        }
        report
    }
}

#[derive(Default)]
struct Standing {
    covered: bool,
    active: bool,
    not_ready: bool,
}
