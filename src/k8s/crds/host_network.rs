//! The definition of host network configs.

use std::collections::BTreeMap;

use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::condition::{Condition, is_default};

/// Gives hosts an address on a cluster network.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "network.harvesterhci.io",
    version = "v1beta1",
    kind = "HostNetworkConfig",
    shortname = "hnc",
    shortname = "hncs",
    status = "HostNetworkStatus",
    derive = "PartialEq",
    doc = "Gives hosts an address on a cluster network."
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = static_has_addresses())]
pub struct HostNetworkConfigSpec {
    /// A description for people.
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
    /// Selects the hosts. Without it, every host is selected.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(with = "LabelSelector")]
    pub node_selector: Option<LabelSelector>,
    /// The cluster network's name.
    #[schemars(length(min = 1))]
    pub cluster_network: String,
    /// Whether kube-ovn's tunnels use the address.
    #[serde(default, skip_serializing_if = "is_default")]
    pub underlay: bool,
    /// The VLAN's number.
    #[serde(rename = "vlanID")]
    #[schemars(range(min = 1, max = 4094))]
    pub vlan_id: i64,
    /// Where a host's address comes from.
    pub mode: HostNetworkMode,
    /// The address of each host, as CIDR, by the host's name.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("maxProperties" = 500))]
    pub ips: BTreeMap<String, Cidr>,
}

/// An address and the length of its network's prefix, such as 10.0.0.1/24.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Cidr(#[schemars(length(max = 50))] pub String);

/// The part of the definition that depends on two fields.
fn static_has_addresses() -> Rule {
    Rule::new("self.mode != 'static' || has(self.ips) && size(self.ips) > 0")
        .message("ips must have an address for each host if the mode is static")
}

/// Where a host's address comes from.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "as they say")]
pub enum HostNetworkMode {
    Static,
    Dhcp,
}

/// Selects objects by their labels: all parts must match.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// The labels that an object must have, all of them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub match_labels: BTreeMap<String, String>,
    /// Expressions that must all be true.
    #[serde(default, skip_serializing_if = "is_default")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// An expression about one label.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct LabelSelectorRequirement {
    /// The label's key.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// The values, for `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub values: Vec<String>,
}

/// The observed state of a host network config.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostNetworkStatus {
    /// Conditions of the whole.
    #[serde(default, skip_serializing_if = "is_default")]
    pub conditions: Vec<Condition>,
    /// The state on each host, by the host's name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub node_status: BTreeMap<String, HostNetworkNodeStatus>,
}

/// The state on a host.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostNetworkNodeStatus {
    /// The cluster network's name.
    pub cluster_network: String,
    /// The VLAN's number.
    #[serde(rename = "vlanID")]
    pub vlan_id: i64,
    /// Where the host's address comes from.
    pub mode: String,
    /// Conditions of the host.
    #[serde(default, skip_serializing_if = "is_default")]
    pub conditions: Vec<Condition>,
}
