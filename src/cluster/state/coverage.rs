//! Which hosts each network config covers, kept up to date as labels and selectors change.

use std::collections::BTreeSet;

use crate::cluster::host_set::HostSet;
use crate::cluster::hosts::Host;
use crate::cluster::names::Name;
use crate::cluster::selectors::Labels;
use crate::cluster::uplinks::NetworkConfig;

use super::{State, relate};

/// Stands for an empty selector in the index of required labels. No real label is empty.
const ANY_HOST: &str = "";

impl State {
    /// The hosts that a network config with this selector covers. They are known if there is one.
    pub(in crate::cluster) fn covered(&self, selector: &Labels) -> HostSet {
        let label = selector.0.first().cloned().unwrap_or_else(|| ANY_HOST.into());
        let mut configs = self.requiring(&label).filter_map(|name| self.configs.get(name));
        if let Some(known) = configs.find(|known| known.facts.selector == *selector) {
            return (*known.hosts).clone();
        }
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
        let none = Labels::default();
        let before = old.map_or(&none, |host| &host.labels);
        let after = new.map_or(&none, |host| &host.labels);
        let any_host = Name::from(ANY_HOST);
        let pairs: Vec<&Name> = if old.map(|old| old.witness) == new.map(|new| new.witness) {
            before.in_one_of(after)
        } else {
            before.0.iter().chain(&after.0).chain([&any_host]).collect()
        };
        pairs.into_iter().flat_map(|pair| self.requiring(pair)).cloned().collect()
    }

    /// The network configs that count and require this label.
    fn requiring<'s>(&'s self, label: &'s Name) -> impl Iterator<Item = &'s Name> {
        let from = (label.clone(), Name::default());
        let pairs = self.required_labels.range(from..).take_while(move |(it, _)| it == label);
        pairs.map(|(_, config)| config)
    }

    /// Adds a network config's selector to the index of required labels, or removes it from the
    /// index. One that does not count, such as the record of each host's `mgmt`, is not in it.
    pub(in crate::cluster) fn index_selector(
        &mut self,
        config: &Name,
        facts: &NetworkConfig,
        present: bool,
    ) {
        if !facts.counts() {
            return;
        }
        let selector = &facts.selector;
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
