//! The kinds of `network.harvesterhci.io`, and the VM network.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::cluster::{
    ClusterNetwork, Labels, Link, LinkMonitor, LinkState, Name, NetworkConfig, UplinkMtu,
    UplinkOptions, UplinkStatus, VmNetwork,
};

use super::cni;
use super::meta::{Meta, StringMap, nullable};

/// The label of network configs and VM networks that names their cluster network.
pub(crate) const CLUSTER_NETWORK_LABEL: &str = "network.harvesterhci.io/clusternetwork";
/// The annotation of network configs that lists the hosts they cover, for other programs.
pub(crate) const MATCHED_NODES: &str = "network.harvesterhci.io/matched-nodes";

/// The annotation of a cluster network that gives its MTU.
const UPLINK_MTU: &str = "network.harvesterhci.io/uplink-mtu";

/// The namespace of system networks.
const SYSTEM_NAMESPACE: &str = "harvester-system";
const SYSTEM_ANNOTATIONS: [&str; 2] =
    ["storage-network.settings.harvesterhci.io", "rwx-network.settings.harvesterhci.io"];
/// The label of a storage network that keeps its VLAN for itself.
const EXCLUSIVE_VLAN: &str = "storage-network.settings.harvesterhci.io/exclusivevlan";
const SYSTEM_NAMES: [&str; 2] = ["storagenetwork-", "rwx-network-"];

#[derive(Deserialize)]
pub(crate) struct ClusterNetworkObject {
    #[serde(default, deserialize_with = "nullable")]
    pub metadata: Meta,
}

impl From<ClusterNetworkObject> for ClusterNetwork {
    fn from(network: ClusterNetworkObject) -> Self {
        let uplink_mtu = match network.metadata.annotation(UPLINK_MTU) {
            None => UplinkMtu::Unset,
            Some(text) => {
                text.parse().map_or_else(|_| UplinkMtu::Unreadable(text.into()), UplinkMtu::Is)
            }
        };
        Self { uplink_mtu }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VlanConfig {
    #[serde(default, deserialize_with = "nullable")]
    pub metadata: Meta,
    pub spec: VlanConfigSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VlanConfigSpec {
    #[serde(default, deserialize_with = "nullable")]
    pub description: Name,
    pub cluster_network: Name,
    #[serde(default, deserialize_with = "nullable")]
    node_selector: StringMap,
    #[serde(default, deserialize_with = "nullable")]
    uplink: UplinkSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UplinkSpec {
    #[serde(default, deserialize_with = "nullable")]
    nics: Vec<Name>,
    #[serde(default, deserialize_with = "nullable")]
    bond_options: BondOptions,
    #[serde(default, deserialize_with = "nullable")]
    link_attributes: LinkAttributes,
}

#[derive(Default, Deserialize)]
struct BondOptions {
    #[serde(default, deserialize_with = "nullable")]
    mode: Name,
    miimon: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LinkAttributes {
    #[serde(default, deserialize_with = "nullable")]
    mtu: i64,
    #[serde(rename = "txQLen")]
    tx_queue_length: Option<i64>,
    #[serde(default, deserialize_with = "nullable")]
    hardware_addr: Name,
}

impl From<VlanConfig> for NetworkConfig {
    fn from(config: VlanConfig) -> Self {
        let VlanConfigSpec { cluster_network, node_selector, uplink, description: _ } = config.spec;
        let UplinkSpec { nics, bond_options, link_attributes } = uplink;
        let defaults = UplinkOptions::default();
        Self {
            cluster_network,
            selector: node_selector.iter().collect::<Labels>(),
            nics: nics.into(),
            options: UplinkOptions {
                mode: Some(bond_options.mode)
                    .filter(|mode| !mode.is_empty())
                    .unwrap_or(defaults.mode),
                miimon: bond_options.miimon.unwrap_or(defaults.miimon),
                tx_queue_length: link_attributes
                    .tx_queue_length
                    .unwrap_or(defaults.tx_queue_length),
                hardware_address: link_attributes.hardware_addr,
                mtu: link_attributes.mtu,
            },
            deleting: config.metadata.deleting(),
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct VlanStatus {
    status: VlanStatusStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VlanStatusStatus {
    cluster_network: Name,
    vlan_config: Name,
    node: Name,
    #[serde(default, deserialize_with = "nullable")]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(default, rename = "type", deserialize_with = "nullable")]
    kind: String,
    #[serde(default, deserialize_with = "nullable")]
    status: String,
    #[serde(default, deserialize_with = "nullable")]
    message: Name,
}

impl From<VlanStatus> for UplinkStatus {
    fn from(VlanStatus { status }: VlanStatus) -> Self {
        let ready = status.conditions.iter().find(|condition| condition.kind == "ready");
        Self {
            ready: ready.is_some_and(|condition| condition.status == "True"),
            message: ready.map(|condition| condition.message.clone()).unwrap_or_default(),
            cluster_network: status.cluster_network,
            config: status.vlan_config,
            host: status.node,
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct LinkMonitorObject {
    #[serde(default, deserialize_with = "nullable")]
    status: LinkMonitorStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LinkMonitorStatus {
    #[serde(default, deserialize_with = "nullable")]
    link_status: BTreeMap<Name, Option<Vec<LinkStatus>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LinkStatus {
    name: Name,
    #[serde(default, deserialize_with = "nullable")]
    state: String,
    #[serde(default, deserialize_with = "nullable")]
    index: i64,
    master_index: Option<i64>,
}

impl From<LinkMonitorObject> for LinkMonitor {
    fn from(LinkMonitorObject { status }: LinkMonitorObject) -> Self {
        let link = |link: LinkStatus| Link {
            state: match &*link.state {
                "up" => LinkState::Up,
                "down" => LinkState::Down,
                _ => LinkState::Unknown,
            },
            name: link.name,
            index: link.index,
            master: link.master_index.filter(|index| *index > 0),
        };
        let links = status
            .link_status
            .into_iter()
            .filter_map(|(host, links)| Some((host, links?.into_iter().map(link).collect())));
        Self { links: links.collect() }
    }
}

#[derive(Deserialize)]
pub(crate) struct NetworkAttachmentDefinition {
    #[serde(default, deserialize_with = "nullable")]
    pub metadata: Meta,
    #[serde(default, deserialize_with = "nullable")]
    pub spec: NadSpec,
}

#[derive(Default, Deserialize)]
pub(crate) struct NadSpec {
    #[serde(default, deserialize_with = "nullable")]
    pub config: String,
}

impl From<NetworkAttachmentDefinition> for VmNetwork {
    fn from(NetworkAttachmentDefinition { metadata, spec }: NetworkAttachmentDefinition) -> Self {
        let is_system_named = metadata
            .name
            .as_deref()
            .is_some_and(|name| SYSTEM_NAMES.iter().any(|prefix| name.starts_with(prefix)));
        let is_system_marked = SYSTEM_ANNOTATIONS
            .iter()
            .any(|annotation| metadata.annotation(annotation) == Some("true"));
        Self {
            system: metadata.namespace.as_deref() == Some(SYSTEM_NAMESPACE)
                && (is_system_named || is_system_marked),
            label: metadata
                .label(CLUSTER_NETWORK_LABEL)
                .filter(|label| !label.is_empty())
                .map(Name::from),
            config: cni::read(&spec.config),
            exclusive_vlan: metadata.label(EXCLUSIVE_VLAN) == Some("true"),
        }
    }
}
