//! Network configs (`VlanConfig`) and the uplinks that they make.

use std::collections::BTreeSet;

use super::hosts::Host;
use super::mtu::effective_mtu;
use super::names::{MGMT, Name};
use super::selectors::Labels;

/// A network config (`VlanConfig`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkConfig {
    /// The cluster network in `spec.clusterNetwork`.
    pub cluster_network: Name,
    /// The labels that `spec.nodeSelector` requires.
    pub selector: Labels,
    /// The names of the NICs in `spec.uplink.nics`.
    pub nics: Box<[Name]>,
    /// The bond options and link attributes.
    pub options: Box<UplinkOptions>,
    /// Whether the network config is being deleted. Such a network config covers no host.
    pub deleting: bool,
    /// The label `network.harvesterhci.io/clusternetwork`.
    pub label: Option<Name>,
    /// The description in `spec.description`, which has no effect on any host.
    pub description: Name,
    /// The host in the name `mgmt-vlanconfig-<host>`, which a node agent gives to its record of the
    /// host's `mgmt` uplink.
    pub named_after: Option<Name>,
}

impl NetworkConfig {
    /// Returns whether the network config can cover hosts. One that is being deleted covers none,
    /// nor does one of `mgmt`, which is a node agent's record (docs/reference.md, "Objects" and
    /// "When a cluster network is active").
    #[must_use]
    pub fn counts(&self) -> bool {
        !self.deleting && !self.is_mgmt()
    }

    /// Returns whether the network config covers a host.
    #[must_use]
    pub fn covers(&self, host: &Host) -> bool {
        self.counts() && host.is_covered_by(&self.selector)
    }

    /// Returns whether this is a network config of `mgmt`: a node agent's record. The agent leaves
    /// the cluster network of a record empty where there is no `mgmt` bond.
    #[must_use]
    pub fn is_mgmt(&self) -> bool {
        &*self.cluster_network == MGMT
            || self.cluster_network.is_empty() && self.named_after.is_some()
    }

    /// Returns whether both network configs make the same uplink. The order of the NICs does not
    /// matter, and absent options equal their defaults.
    #[must_use]
    pub fn same_uplink(&self, other: &Self) -> bool {
        fn nics(config: &NetworkConfig) -> BTreeSet<&Name> {
            config.nics.iter().collect()
        }
        self.options.same_effect(&other.options) && nics(self) == nics(other)
    }

    /// Returns whether both network configs do the same on every host.
    #[must_use]
    pub fn same_effect(&self, other: &Self) -> bool {
        (&self.cluster_network, &self.selector) == (&other.cluster_network, &other.selector)
            && self.same_uplink(other)
    }
}

/// The bond options and link attributes of a network config, with the defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkOptions {
    /// The bond options.
    pub bond: BondOptions,
    /// The length of the transmit queue, in packets; -1 is the default.
    pub tx_queue_length: i64,
    /// The bond's MAC address as written, empty if absent.
    pub hardware_address: Name,
    /// The MTU in bytes as written, 0 if absent.
    pub mtu: i64,
    /// The members of `spec.uplink` that we don't know, as text. Two texts are equal if the members
    /// are equal as JSON values.
    pub others: Name,
}

/// The options of a bond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BondOptions {
    /// The bond's mode.
    pub mode: Name,
    /// The interval, in milliseconds, at which the bond checks its links; -1 is the default.
    pub miimon: i64,
    /// How a NIC is chosen for a packet, if that is set.
    pub xmit_hash_policy: Option<Name>,
    /// How often LACP packets are asked for, if that is set.
    pub lacp_rate: Option<Name>,
    /// How an aggregator is selected, if that is set.
    pub ad_select: Option<Name>,
    /// The interval, in milliseconds, at which targets are asked by ARP; -1 is not set.
    pub arp_interval: i64,
    /// The addresses that are asked by ARP.
    pub arp_ip_targets: BTreeSet<Name>,
    /// Which NICs' ARP traffic is validated; `none` is the default.
    pub arp_validate: Name,
    /// Whether any or all targets must answer; `any` is the default.
    pub arp_all_targets: Name,
}

impl UplinkOptions {
    /// The effective MTU in bytes: 0 means 1500.
    #[must_use]
    pub fn effective_mtu(&self) -> i64 {
        effective_mtu(self.mtu)
    }

    /// Returns whether both make the same uplink of the same NICs.
    fn same_effect(&self, other: &Self) -> bool {
        let Self { bond, tx_queue_length, hardware_address, mtu: _, others } = self;
        self.effective_mtu() == other.effective_mtu()
            && *bond == other.bond
            && *tx_queue_length == other.tx_queue_length
            && *hardware_address == other.hardware_address
            && *others == other.others
    }
}

impl Default for UplinkOptions {
    fn default() -> Self {
        Self {
            bond: BondOptions::default(),
            tx_queue_length: -1,
            hardware_address: Name::default(),
            mtu: 0,
            others: Name::default(),
        }
    }
}

impl Default for BondOptions {
    fn default() -> Self {
        Self {
            mode: "active-backup".into(),
            miimon: -1,
            xmit_hash_policy: None,
            lacp_rate: None,
            ad_select: None,
            arp_interval: -1,
            arp_ip_targets: BTreeSet::new(),
            arp_validate: "none".into(),
            arp_all_targets: "any".into(),
        }
    }
}
