//! When a cluster network is active on a host, and if not, why (docs/reference.md, "When a cluster
//! network is active").

use std::sync::Arc;

use crate::cluster::host_set::{HostRef, HostSet};
use crate::cluster::hosts::Host;
use crate::cluster::names::{MGMT, Name};
use crate::cluster::options::Activation;
use crate::cluster::uplinks::NetworkConfig;

use super::{NetworkState, State};

/// Why a cluster network is not active on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Inactive {
    /// There is no such cluster network.
    ClusterNetworkNotFound,
    /// The host is a witness host, which no network config covers.
    WitnessHost,
    /// No network config of the cluster network covers the host.
    HostNotCovered,
    /// The host reports that the uplink is not ready.
    UplinkNotReady,
    /// The host reports nothing, and a report is required.
    UplinkNotReported,
}

/// A network config as it applies to one host.
pub struct Uplink<'s> {
    /// The network config's name.
    pub config: &'s Name,
    /// The network config's facts.
    pub facts: &'s NetworkConfig,
}

/// A host's report on the uplink of a network config.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Report {
    Ready,
    NotReady,
    Missing,
}

impl State {
    /// Why the cluster network is not active on a host without a known Node object, judged by the
    /// labels in a request; `None` if it is active.
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
        let activity = self.activity(cluster_network, name, covering);
        match (activity.covered, activity.active, activity.not_ready) {
            (_, true, _) => None,
            (false, ..) => Some(Inactive::HostNotCovered),
            (true, false, true) => Some(Inactive::UplinkNotReady),
            (true, false, false) => Some(Inactive::UplinkNotReported),
        }
    }

    /// Updates the sets of one cluster network for one host.
    pub(in crate::cluster) fn refresh(&mut self, cluster_network: &Name, host: u32) {
        let Some(network) = self.networks.get(cluster_network) else { return };
        let covering = network.configs.iter().filter(|config| {
            self.configs.get(*config).is_some_and(|config| config.hosts.has(host))
        });
        let activity = self.activity(cluster_network, self.hosts.name(host), covering);
        let NetworkState { covered, active, not_ready, .. } = &**network;
        if covered.has(host) == activity.covered
            && active.has(host) == activity.active
            && not_ready.has(host) == activity.not_ready
        {
            return;
        }
        if let Some(network) = self.networks.get_mut(cluster_network) {
            let network = Arc::make_mut(network);
            HostSet::put(&mut network.covered, host, activity.covered);
            HostSet::put(&mut network.active, host, activity.active);
            HostSet::put(&mut network.not_ready, host, activity.not_ready);
        }
    }

    /// The activity of a cluster network on a host that its network configs `covering` cover.
    fn activity<'a>(
        &self,
        cluster_network: &Name,
        host: &Name,
        covering: impl Iterator<Item = &'a Name>,
    ) -> Activity {
        let mut activity = Activity::default();
        for config in covering {
            activity.covered = true;
            match self.report(cluster_network, host, config) {
                Report::Ready => activity.active = true,
                Report::NotReady => activity.not_ready = true,
                Report::Missing => {
                    activity.active |= self.options.activation == Activation::Covered;
                }
            }
        }
        activity
    }

    /// The host's report on this network config. A report that was written for another network
    /// config says nothing about this one.
    fn report(&self, cluster_network: &Name, host: &Name, config: &str) -> Report {
        let mut report = Report::Missing;
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

impl NetworkState {
    /// Why the cluster network, which is not `mgmt`, is not active on the host; `None` if it is
    /// active.
    pub(in crate::cluster) fn inactive(
        &self,
        witnesses: &HostSet,
        host: HostRef<'_>,
    ) -> Option<Inactive> {
        let number = host.number;
        if self.facts.is_none() {
            Some(Inactive::ClusterNetworkNotFound)
        } else if self.active.has(number) {
            None
        } else if witnesses.has(number) {
            Some(Inactive::WitnessHost)
        } else if !self.covered.has(number) {
            Some(Inactive::HostNotCovered)
        } else if self.not_ready.has(number) {
            Some(Inactive::UplinkNotReady)
        } else {
            Some(Inactive::UplinkNotReported)
        }
    }

    /// On how many of these hosts the cluster network, which is not `mgmt`, is not active, by why.
    pub(in crate::cluster) fn count_inactive(
        &self,
        witnesses: &HostSet,
        hosts: &HostSet,
    ) -> Vec<(Inactive, u64)> {
        if self.facts.is_none() {
            return vec![(Inactive::ClusterNetworkNotFound, hosts.len() as u64)];
        }
        let (mut witness, mut not_covered, mut not_ready, mut not_reported) = (0, 0, 0, 0);
        for (at, word) in hosts.words().iter().enumerate() {
            let of = |set: &HostSet| set.words().get(at).copied().unwrap_or_default();
            let mut left = word & !of(&self.active);
            if left == 0 {
                continue;
            }
            let mut take = |these: usize| {
                let taken = left & these;
                left &= !these;
                u64::from(taken.count_ones())
            };
            witness += take(of(witnesses));
            not_covered += take(!of(&self.covered));
            not_ready += take(of(&self.not_ready));
            not_reported += take(usize::MAX);
        }
        vec![
            (Inactive::WitnessHost, witness),
            (Inactive::HostNotCovered, not_covered),
            (Inactive::UplinkNotReady, not_ready),
            (Inactive::UplinkNotReported, not_reported),
        ]
    }
}

/// The state of a cluster network on one host.
#[derive(Default)]
struct Activity {
    covered: bool,
    active: bool,
    not_ready: bool,
}
