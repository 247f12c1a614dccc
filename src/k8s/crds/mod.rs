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

mod condition;
mod host_network;
mod network_config;

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::Rule;
use kube::{CustomResource, CustomResourceExt, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decide::review::MAX_NAME;

pub use condition::Condition;
pub use host_network::{
    Cidr, HostNetworkConfig, HostNetworkConfigSpec, HostNetworkMode, HostNetworkNodeStatus,
    HostNetworkStatus, LabelSelector, LabelSelectorRequirement,
};
pub use network_config::{
    AdSelect, ArpAllTargets, ArpValidate, BondMode, BondOptions, LacpRate, LinkAttributes, Uplink,
    VlanConfig, VlanConfigSpec, XmitHashPolicy,
};

use condition::is_default;

/// All definitions.
#[must_use]
pub fn definitions() -> [CustomResourceDefinition; 5] {
    [
        definition::<ClusterNetwork>(Status::Optional),
        definition::<VlanConfig>(Status::None),
        definition::<VlanStatus>(Status::Required),
        definition::<LinkMonitor>(Status::Optional),
        definition::<HostNetworkConfig>(Status::Subresource),
    ]
}

/// Whether a kind has a status. Unless it is a subresource, the status is written with the object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    None,
    Optional,
    Required,
    /// Optional, and a subresource.
    Subresource,
}

/// Brings the derived definition to Harvester's shape. kube adds a status subresource, and makes
/// the status optional and nullable.
fn definition<K: CustomResourceExt>(status: Status) -> CustomResourceDefinition {
    let mut definition = K::crd();
    for version in &mut definition.spec.versions {
        if status != Status::Subresource {
            version.subresources = None;
        }
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
