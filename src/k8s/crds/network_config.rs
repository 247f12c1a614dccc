//! The definition of network configs.

#![expect(
    clippy::duplicated_attributes,
    reason = "columns share types, kinds have two short names"
)]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster;
use crate::decide::review::{MAX_MTU, MIN_MTU};

use super::condition::is_default;

/// Brings a cluster network up on the hosts it selects.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "network.harvesterhci.io",
    version = "v1beta1",
    kind = "VlanConfig",
    shortname = "vc",
    shortname = "vcs",
    derive = "PartialEq",
    doc = "Brings a cluster network up on the hosts it selects.",
    printcolumn(name = "CLUSTERNETWORK", type_ = "string", json_path = ".spec.clusterNetwork"),
    printcolumn(name = "DESCRIPTION", type_ = "string", json_path = ".spec.description"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct VlanConfigSpec {
    /// A description for people.
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
    /// The cluster network's name.
    pub cluster_network: String,
    /// The labels that a host must have, all of them. An empty selector selects every host. Witness
    /// hosts are never selected.
    #[serde(default, skip_serializing_if = "is_default")]
    pub node_selector: BTreeMap<String, String>,
    /// The bond to make on each host.
    pub uplink: Uplink,
}

/// A bond of physical NICs.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Uplink {
    /// The names of the NICs.
    // The API server estimates the cost of the rule from these bounds. 127 characters is the
    // longest name of a NIC in Linux, as an alternative name.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(length(max = 64), inner(length(max = 127)))]
    #[x_kube(validation = Rule::new("self.all(nic, self.exists_one(other, other == nic))")
        .message("a NIC is listed twice"))]
    pub nics: Vec<String>,
    /// How the NICs are bonded.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bond_options: BondOptions,
    /// Attributes of the bond and its NICs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub link_attributes: LinkAttributes,
}

/// How NICs are bonded. See the Linux kernel's documentation of bonding.
// Only mode and miimon have defaults: an object that lacks the others stays as it is.
#[derive(JsonSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BondOptions {
    /// The bonding mode.
    #[serde(default)]
    pub mode: BondMode,
    /// How often the links are monitored, in milliseconds. -1 leaves it at the kernel's default.
    #[serde(default = "unset")]
    #[schemars(range(min = -1))]
    pub miimon: i64,
    /// What a packet's NIC is chosen by, in the modes balance-xor, 802.3ad and balance-tlb.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(with = "XmitHashPolicy")]
    pub xmit_hash_policy: Option<XmitHashPolicy>,
    /// How often the partner is asked to send LACPDUs, in the mode 802.3ad.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(with = "LacpRate")]
    pub lacp_rate: Option<LacpRate>,
    /// What an aggregator is selected by, in the mode 802.3ad.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(with = "AdSelect")]
    pub ad_select: Option<AdSelect>,
    /// How often the ARP targets are asked, in milliseconds. -1 means that it is not set.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(with = "i64", range(min = -1))]
    pub arp_interval: Option<i64>,
    /// The IPv4 addresses that are asked for by ARP.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(length(max = 16))]
    pub arp_ip_targets: Vec<Ipv4Addr>,
    /// Which ARP packets are validated. The kernel's default is none.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(with = "ArpValidate")]
    pub arp_validate: Option<ArpValidate>,
    /// Whether any or all of the ARP targets must answer. The kernel's default is any.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(with = "ArpAllTargets")]
    pub arp_all_targets: Option<ArpAllTargets>,
}

impl Default for BondOptions {
    fn default() -> Self {
        Self {
            mode: BondMode::default(),
            miimon: unset(),
            xmit_hash_policy: None,
            lacp_rate: None,
            ad_select: None,
            arp_interval: None,
            arp_ip_targets: Vec::new(),
            arp_validate: None,
            arp_all_targets: None,
        }
    }
}

/// A bonding mode of Linux.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum BondMode {
    BalanceRr,
    #[default]
    ActiveBackup,
    BalanceXor,
    Broadcast,
    #[serde(rename = "802.3ad")]
    Lacp,
    BalanceTlb,
    BalanceAlb,
}

impl BondMode {
    /// Every mode.
    pub const ALL: [Self; 7] = [
        Self::BalanceRr,
        Self::ActiveBackup,
        Self::BalanceXor,
        Self::Broadcast,
        Self::Lacp,
        Self::BalanceTlb,
        Self::BalanceAlb,
    ];
}

/// What a packet's NIC is chosen by.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum XmitHashPolicy {
    #[serde(rename = "layer2")]
    Layer2,
    #[serde(rename = "layer2+3")]
    Layer23,
    #[serde(rename = "layer3+4")]
    Layer34,
    #[serde(rename = "encap2+3")]
    Encap23,
    #[serde(rename = "encap3+4")]
    Encap34,
}

/// How often the partner is asked to send LACPDUs.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum LacpRate {
    Slow,
    Fast,
}

/// What an aggregator is selected by.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum AdSelect {
    Stable,
    Bandwidth,
    Count,
}

/// Which ARP packets are validated.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum ArpValidate {
    None,
    Active,
    Backup,
    All,
    Filter,
    FilterActive,
    FilterBackup,
}

/// How many of the ARP targets must answer.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum ArpAllTargets {
    Any,
    All,
}

/// Attributes of a bond and its NICs.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkAttributes {
    /// The MTU in bytes, from 576 to 9000. 0 means 1500.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0))]
    #[x_kube(validation = mtu_in_range())]
    pub mtu: i64,
    /// The length of the transmit queue, in packets. -1 leaves it at the kernel's default.
    #[serde(default = "unset", rename = "txQLen")]
    #[schemars(range(min = -1))]
    pub tx_queue_length: i64,
    /// The hardware (MAC) address, in base64.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("format" = "byte"))]
    pub hardware_addr: String,
}

impl Default for LinkAttributes {
    fn default() -> Self {
        Self { mtu: 0, tx_queue_length: unset(), hardware_addr: String::new() }
    }
}

/// The part of the rule `vc-mtu` that depends on the object alone.
fn mtu_in_range() -> Rule {
    Rule::new(format!("self == 0 || self >= {MIN_MTU} && self <= {MAX_MTU}"))
        .message(&*format!("the MTU must be 0 or from {MIN_MTU} to {MAX_MTU}"))
}

/// The number that leaves a setting at the kernel's default.
fn unset() -> i64 {
    cluster::BondOptions::default().miimon
}
