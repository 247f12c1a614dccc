//! Questions about all objects of a kind, for those who look at the whole cluster.

use std::collections::BTreeSet;

use super::facts::{HostNetwork, UplinkStatus};
use super::host_set::{HostRef, HostSet};
use super::mac::Mac;
use super::names::{Key, Name};
use super::selectors::LabelSelector;
use super::snapshot::Snapshot;
use super::uplinks::NetworkConfig;
use super::vm_networks::VmNetwork;

impl Snapshot {
    /// Returns whether a label selector selects a host.
    #[must_use]
    pub fn selects(&self, selector: &LabelSelector, host: HostRef<'_>) -> bool {
        let facts = self.0.hosts.facts(host.number);
        facts.is_some_and(|facts| selector.selects(&facts.labels))
    }

    /// Returns whether a host is a witness host, which runs no VMs.
    #[must_use]
    pub fn is_witness(&self, host: HostRef<'_>) -> bool {
        self.0.hosts.witnesses().contains(host)
    }

    /// All network configs, even those that do not count, each with the hosts that it covers.
    pub fn every_config(&self) -> impl Iterator<Item = (&Name, &NetworkConfig, &HostSet)> {
        self.0.configs.iter().map(|(name, config)| (name, &*config.facts, &*config.hosts))
    }

    /// All hosts' reports on uplinks, each with its VlanStatus's name.
    pub fn all_reports(&self) -> impl Iterator<Item = (&Name, &UplinkStatus)> {
        self.0.statuses.iter().map(|(name, status)| (name, &**status))
    }

    /// All host network configs.
    pub fn host_networks(&self) -> impl Iterator<Item = (&Name, &HostNetwork)> {
        self.0.host_networks.iter().map(|(name, facts)| (name, &**facts))
    }

    /// All VM networks.
    pub fn vm_networks(&self) -> impl Iterator<Item = (&Key, &VmNetwork)> {
        self.0.vm_networks.iter().map(|(key, facts)| (key, &**facts))
    }

    /// The MAC addresses that several interfaces have, of one VM or of several, sorted, each once.
    #[must_use]
    pub fn repeated_macs(&self) -> BTreeSet<Mac> {
        let pairs = self.0.macs.iter().zip(self.0.macs.iter().skip(1));
        let of_several =
            pairs.filter(|((one, _), (next, _))| one == next).map(|((mac, _), _)| *mac);
        let of_one = self.0.vms.values().flat_map(|vm| {
            let macs = vm.macs.iter().map(|(mac, _)| mac).enumerate();
            macs.filter(|(at, mac)| vm.macs.iter().take(*at).any(|(before, _)| before == *mac))
        });
        of_several.chain(of_one.map(|(_, mac)| *mac)).collect()
    }
}
