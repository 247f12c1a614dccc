//! Which hosts each network config covers, kept up to date as labels and selectors change.

use std::collections::BTreeSet;

use crate::cluster::hosts::{Host, HostSet};
use crate::cluster::names::Name;
use crate::cluster::selectors::Labels;
use crate::cluster::uplinks::NetworkConfig;

use super::{State, relate};

/// Stands for an empty selector in the index of required labels. No real label is empty.
const ANY_HOST: &str = "";

impl State {
    pub(in crate::cluster) fn covered(&self, selector: &Labels) -> HostSet {
        let mut set = HostSet::default();
        for (number, host) in self.hosts.iter() {
            if host.is_covered_by(selector) {
                set.insert(number);
            }
        }
        set
    }

    /// Updates whether these network configs cover the host, and which cluster networks are active
    /// there.
    pub(in crate::cluster) fn update_coverage(
        &mut self,
        configs: BTreeSet<Name>,
        host: u32,
        covers: impl Fn(&NetworkConfig) -> bool,
    ) {
        let mut networks = BTreeSet::new();
        for name in configs {
            let Some(config) = self.configs.get(&name) else { continue };
            let covers = covers(&config.facts);
            if config.hosts.has(host) == covers {
                continue;
            }
            networks.insert(config.facts.cluster_network.clone());
            if let Some(config) = self.configs.get_mut(&name) {
                HostSet::put(&mut config.hosts, host, covers);
            }
        }
        for network in networks {
            self.refresh(&network, host);
        }
    }

    /// The network configs that may cover only one of two versions of a host: those that require a
    /// label which was added or removed. If the host appears, disappears or changes its witness
    /// role, these are all its labels, and network configs with an empty selector belong to them
    /// too.
    pub(in crate::cluster) fn configs_to_recheck(
        &self,
        old: Option<&Host>,
        new: Option<&Host>,
    ) -> BTreeSet<Name> {
        let labels =
            |host: Option<&Host>| host.map(|host| host.labels.0.clone()).unwrap_or_default();
        let (before, after) = (labels(old), labels(new));
        let pairs: Vec<Name> = if old.map(|old| old.witness) == new.map(|new| new.witness) {
            let only = |a: &[Name], b: &[Name]| -> Vec<Name> {
                a.iter().filter(|pair| b.binary_search(pair).is_err()).cloned().collect()
            };
            [only(&before, &after), only(&after, &before)].concat()
        } else {
            [&*before, &*after, &[ANY_HOST.into()]].concat()
        };
        let requiring = |pair: Name| {
            let from = (pair.clone(), Name::default());
            self.required_labels.range(from..).take_while(move |(label, _)| *label == pair)
        };
        pairs.into_iter().flat_map(requiring).map(|(_, config)| config.clone()).collect()
    }

    /// Adds a network config's selector to the index of required labels, or removes it from the
    /// index.
    pub(in crate::cluster) fn index_selector(
        &mut self,
        config: &Name,
        selector: &Labels,
        present: bool,
    ) {
        if selector.0.is_empty() {
            relate(&mut self.required_labels, (ANY_HOST.into(), config.clone()), present);
        }
        for pair in &selector.0 {
            relate(&mut self.required_labels, (pair.clone(), config.clone()), present);
        }
    }

    /// Drops the state of a cluster network that neither exists nor is named by a network config.
    pub(in crate::cluster) fn drop_if_unused(&mut self, name: &Name) {
        if self.networks.get(name).is_some_and(|it| it.facts.is_none() && it.configs.is_empty()) {
            self.networks.remove(name);
        }
    }
}
