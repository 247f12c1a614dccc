//! The definitions of the kinds of `network.harvesterhci.io` that we publish: what the API server
//! accepts, lists and explains. To change what the index reads of the same objects, edit
//! `harvester`, which is lenient and also reads objects that these definitions would refuse.
//!
//! The fields are Harvester's, one for one, so that each installation accepts the other's objects.
//! The definitions add the rules that depend on the object alone, so that the API server enforces
//! them even while our webhooks are unavailable: the length of a cluster network's name, the range
//! of an MTU, no NIC twice. On an update, the API server skips rules on unchanged fields
//! (validation ratcheting), but not at the root of an object, where a rule must compare with
//! `oldSelf` itself.

#![expect(
    clippy::duplicated_attributes,
    reason = "columns share types, kinds have two short names"
)]

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::Rule;
use kube::{CustomResource, CustomResourceExt, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster;
use crate::decide::review::{MAX_MTU, MAX_NAME, MIN_MTU};

/// All four definitions.
#[must_use]
pub fn definitions() -> [CustomResourceDefinition; 4] {
    [
        definition::<ClusterNetwork>(Status::Optional),
        definition::<VlanConfig>(Status::None),
        definition::<VlanStatus>(Status::Required),
        definition::<LinkMonitor>(Status::Optional),
    ]
}

/// Whether a kind has a status. None of Harvester's kinds has a status subresource: the status is
/// written with the object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    None,
    Optional,
    Required,
}

/// Brings the derived definition to Harvester's shape. kube adds a status subresource, and makes
/// the status optional and nullable.
fn definition<K: CustomResourceExt>(status: Status) -> CustomResourceDefinition {
    let mut definition = K::crd();
    for version in &mut definition.spec.versions {
        version.subresources = None;
        let schema = version.schema.as_mut().and_then(|it| it.open_api_v3_schema.as_mut());
        let Some(schema) = schema else { continue };
        if let Some(status) = schema.properties.as_mut().and_then(|it| it.get_mut("status")) {
            status.nullable = None;
        }
        if status == Status::Required {
            schema.required.get_or_insert_default().push("status".into());
        }
    }
    definition
}

/// A cluster network has no spec: it is its name.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "network.harvesterhci.io",
    version = "v1beta1",
    kind = "ClusterNetwork",
    shortname = "cn",
    shortname = "cns",
    status = "ClusterNetworkStatus",
    no_spec,
    derive = "PartialEq",
    doc = "A traffic-isolated path of bonds and bridges, to which VM networks belong.",
    validation = name_fits()
)]
pub struct ClusterNetworkSpec {}

/// The rule `cn-name`. It is at the root, where the API server checks it on every update. A name
/// can't change, so the rule passes objects that exist already.
fn name_fits() -> Rule {
    let label = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
    let most = MAX_NAME;
    Rule::new(format!(
        "oldSelf.hasValue() || size(self.metadata.name) <= {most} && \
         self.metadata.name.matches('{label}')"
    ))
    .message(&*format!(
        "the name must be at most {most} lower-case letters, digits and inner hyphens: with -br \
         behind it, it names the bridge, which may have 15 characters"
    ))
    .optional_old_self(true)
}

/// The observed state of a cluster network.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ClusterNetworkStatus {
    /// `ready`: active on at least one host.
    #[serde(default, skip_serializing_if = "is_default")]
    pub conditions: Vec<Condition>,
}

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
#[derive(JsonSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct BondOptions {
    /// The bonding mode.
    #[serde(default)]
    pub mode: BondMode,
    /// How often the links are monitored, in milliseconds. -1 leaves it at the kernel's default.
    #[serde(default = "unset")]
    #[schemars(range(min = -1))]
    pub miimon: i64,
}

impl Default for BondOptions {
    fn default() -> Self {
        Self { mode: BondMode::default(), miimon: unset() }
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

/// What a node agent reports of a network config on its host.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "network.harvesterhci.io",
    version = "v1beta1",
    kind = "VlanStatus",
    plural = "vlanstatuses",
    shortname = "vs",
    shortname = "vss",
    status = "UplinkStatus",
    no_spec,
    derive = "PartialEq",
    doc = "What a node agent reports of a network config on its host.",
    printcolumn(name = "CLUSTERNETWORK", type_ = "string", json_path = ".status.clusterNetwork"),
    printcolumn(name = "VLANCONFIG", type_ = "string", json_path = ".status.vlanConfig"),
    printcolumn(name = "NODE", type_ = "string", json_path = ".status.node"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct VlanStatusSpec {}

/// The state of an uplink on a host.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UplinkStatus {
    /// The cluster network's name.
    pub cluster_network: String,
    /// The network config's name.
    pub vlan_config: String,
    /// The name of the link monitor that watches the uplink's NICs.
    pub link_monitor: String,
    /// The host's name.
    pub node: String,
    /// The VLANs of the host.
    #[serde(default, skip_serializing_if = "is_default")]
    pub local_areas: Vec<LocalArea>,
    /// `ready`: the bridge is there.
    #[serde(default, skip_serializing_if = "is_default")]
    pub conditions: Vec<Condition>,
}

/// A VLAN on a host.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct LocalArea {
    /// The VLAN's number.
    #[serde(rename = "vlanID")]
    pub vlan_id: i64,
    /// Its addresses.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cidr: String,
}

/// Which links are monitored on which hosts, and their state.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "network.harvesterhci.io",
    version = "v1beta1",
    kind = "LinkMonitor",
    shortname = "lm",
    shortname = "lms",
    status = "LinkMonitorStatus",
    derive = "PartialEq",
    doc = "Which links are watched on which hosts, and what is seen of them."
)]
#[serde(rename_all = "camelCase")]
pub struct LinkMonitorSpec {
    /// The labels that a host must have, all of them. An empty selector selects every host.
    #[serde(default, skip_serializing_if = "is_default")]
    pub node_selector: BTreeMap<String, String>,
    /// Selects the links to monitor.
    #[serde(default, skip_serializing_if = "is_default")]
    pub target_link_rule: TargetLinkRule,
}

/// Selects the links to monitor. Both rules must match, and an empty rule matches every link.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetLinkRule {
    /// A regular expression for the link's type.
    #[serde(default, skip_serializing_if = "is_default")]
    pub type_rule: String,
    /// A regular expression for the link's name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub name_rule: String,
}

/// The state of the monitored links.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkMonitorStatus {
    /// Conditions of the monitor.
    #[serde(default, skip_serializing_if = "is_default")]
    pub conditions: Vec<Condition>,
    /// The links of each host, by the host's name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub link_status: BTreeMap<String, Vec<LinkStatus>>,
}

/// A link of a host.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkStatus {
    /// Its name.
    pub name: String,
    /// Its number on the host.
    #[serde(default, skip_serializing_if = "is_default")]
    pub index: i64,
    /// Its type, such as `device`, `bond`.
    #[serde(default, rename = "type", skip_serializing_if = "is_default")]
    pub kind: String,
    /// Its MAC address.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mac: String,
    /// Whether the link is in promiscuous mode.
    #[serde(default, skip_serializing_if = "is_default")]
    pub promiscuous: bool,
    /// Whether the link is up.
    #[serde(default, skip_serializing_if = "is_default")]
    pub state: LinkState,
    /// The number of the link that it is enslaved to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub master_index: i64,
}

/// Whether a link is up.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "as they say")]
pub enum LinkState {
    Up,
    Down,
    #[default]
    Unknown,
}

/// A condition of an object. Lanekeeper reads the one of type `ready`.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The type of the condition.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// When the condition was last updated.
    #[serde(default, skip_serializing_if = "is_default")]
    pub last_update_time: String,
    /// When the status last changed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub last_transition_time: String,
    /// The reason for the status, in one word.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reason: String,
    /// The reason for the status, for people.
    #[serde(default, skip_serializing_if = "is_default")]
    pub message: String,
}

/// Returns whether a value is empty, so that it is omitted, as by Go.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The number that leaves a setting at the kernel's default.
fn unset() -> i64 {
    cluster::BondOptions::default().miimon
}
