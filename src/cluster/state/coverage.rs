//! Which hosts each network config covers, kept as labels and selectors change.

use std::collections::BTreeSet;

use crate::cluster::facts::{Host, Labels, NetworkConfig};
use crate::cluster::hosts::HostSet;
use crate::cluster::names::Name;

use super::{State, relate};

/// Stands among the labels that configs want for a selector that wants none. No label is like it.
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

    /// Brings up to date whether these configs cover the host, and what follows for it.
    pub(in crate::cluster) fn recover(
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

    /// The configs that may cover the host in one of its states and not in the other: those that
    /// want a label which came or went; where all of them did, also those that want none.
    pub(in crate::cluster) fn configs_to_ask(
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
        let wanting = |pair: Name| {
            let from = (pair.clone(), Name::default());
            self.wanted.range(from..).take_while(move |(wanted, _)| *wanted == pair)
        };
        pairs.into_iter().flat_map(wanting).map(|(_, config)| config.clone()).collect()
    }

    /// Notes which labels a config wants, or no longer does.
    pub(in crate::cluster) fn note_wanted(
        &mut self,
        config: &Name,
        selector: &Labels,
        wanted: bool,
    ) {
        if selector.0.is_empty() {
            relate(&mut self.wanted, (ANY_HOST.into(), config.clone()), wanted);
        }
        for pair in &selector.0 {
            relate(&mut self.wanted, (pair.clone(), config.clone()), wanted);
        }
    }

    /// Forgets a cluster network that neither exists nor is spoken of by a config.
    pub(in crate::cluster) fn drop_if_idle(&mut self, name: &Name) {
        if self.networks.get(name).is_some_and(|it| it.facts.is_none() && it.configs.is_empty()) {
            self.networks.remove(name);
        }
    }
}
