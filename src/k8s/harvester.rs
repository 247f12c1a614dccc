//! The kinds of `network.harvesterhci.io` and the VM network, as the index reads them. It reads
//! leniently, also objects that our definitions would refuse: the API server may hold objects that
//! are older than the definitions, or that were made under Harvester's.
//!
//! To change what the index reads of an object, edit this file; to change what the API server
//! accepts, edit `crds`, which holds the definitions that we publish.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::cluster::{
    ClusterNetwork, HostNetwork, Kind, Labels, Link, LinkMonitor, LinkState, Name, NetworkConfig,
    Route, UplinkMtu, UplinkStatus, VmNetwork,
};

use super::cni;
use super::decode::Decoder;
use super::meta::{
    Meta, Object, ROUTE, RWX_NETWORK, STORAGE_NETWORK, StringMap, UPLINK_MTU, VM_MIGRATION_NETWORK,
    nullable,
};
use super::selectors::Selector;
use super::uplink::{Part, Uplink};

/// The label of network configs and VM networks that names their cluster network.
pub const CLUSTER_NETWORK_LABEL: &str = "network.harvesterhci.io/clusternetwork";
/// The label of a VM network that tells whether its cluster network is active on any host.
pub const READY_LABEL: &str = "network.harvesterhci.io/ready";
/// The name of a node agent's record of `mgmt` is this and the host's name.
pub const RECORD_PREFIX: &str = "mgmt-vlanconfig-";

/// The users who write the records of `mgmt` on Harvester: its network controller, which writes those
/// of each host, and Harvester itself.
pub const TRUSTED_USERS: [&str; 2] = [
    "system:serviceaccount:harvester-system:harvester-network-controller",
    "system:serviceaccount:harvester-system:harvester",
];

/// The namespace of system networks.
const SYSTEM_NAMESPACE: &str = "harvester-system";
const SYSTEM_ANNOTATIONS: [&str; 3] = [STORAGE_NETWORK, RWX_NETWORK, VM_MIGRATION_NETWORK];
/// The label of a storage network that reserves its VLAN.
const EXCLUSIVE_VLAN: &str = "storage-network.settings.harvesterhci.io/exclusivevlan";
const SYSTEM_NAMES: [&str; 3] = ["storagenetwork-", "rwx-network-", "vm-migration-network-"];

#[derive(Deserialize)]
pub(crate) struct ClusterNetworkObject {
    #[serde(default, deserialize_with = "nullable")]
    pub metadata: Meta,
    #[serde(default, deserialize_with = "nullable")]
    status: Conditions,
}

#[derive(Default, Deserialize)]
struct Conditions {
    #[serde(default, deserialize_with = "nullable")]
    conditions: Vec<Condition>,
}

impl Object for ClusterNetworkObject {
    const KIND: Kind = Kind::ClusterNetwork;
    type Facts = ClusterNetwork;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn facts(self, _: &Decoder) -> ClusterNetwork {
        let uplink_mtu = match self.metadata.annotation(UPLINK_MTU) {
            None => UplinkMtu::Unset,
            Some(text) => {
                text.parse().map_or_else(|_| UplinkMtu::Unreadable(text.into()), UplinkMtu::Is)
            }
        };
        let ready = ready(&self.status.conditions).map(Condition::is_true);
        ClusterNetwork { uplink_mtu, ready }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[serde(bound(deserialize = "U: Default + Deserialize<'de>"))]
pub(crate) struct VlanConfig<U = Part<Uplink>> {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Meta,
    spec: VlanConfigSpec<U>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[serde(bound(deserialize = "U: Default + Deserialize<'de>"))]
struct VlanConfigSpec<U> {
    #[serde(default, deserialize_with = "nullable")]
    description: Name,
    cluster_network: Name,
    #[serde(default, deserialize_with = "nullable")]
    node_selector: StringMap,
    #[serde(default, deserialize_with = "nullable")]
    uplink: U,
}

impl<U> Object for VlanConfig<U>
where
    U: Default + Into<Part<Uplink>> + for<'de> Deserialize<'de>,
{
    const KIND: Kind = Kind::NetworkConfig;
    type Facts = NetworkConfig;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn facts(self, _: &Decoder) -> NetworkConfig {
        let Self { metadata, spec } = self;
        let VlanConfigSpec { cluster_network, node_selector, uplink, description } = spec;
        let (nics, options) = uplink.into().facts();
        let named_after = metadata.name.as_deref().and_then(|it| it.strip_prefix(RECORD_PREFIX));
        NetworkConfig {
            cluster_network,
            selector: node_selector.iter().collect::<Labels>(),
            nics,
            options: Box::new(options),
            named_after: named_after.filter(|host| !host.is_empty()).map(Name::from),
            deleting: metadata.deleting(),
            label: metadata.label(CLUSTER_NETWORK_LABEL).map(Name::from),
            description,
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct VlanStatus {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Meta,
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

impl Condition {
    fn is_true(&self) -> bool {
        self.status == "True"
    }
}

/// The condition `ready`.
fn ready(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.kind == "ready")
}

impl Object for VlanStatus {
    const KIND: Kind = Kind::UplinkStatus;
    type Facts = UplinkStatus;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn facts(self, _: &Decoder) -> UplinkStatus {
        let Self { status, .. } = self;
        let ready = ready(&status.conditions);
        UplinkStatus {
            ready: ready.is_some_and(Condition::is_true),
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
    metadata: Meta,
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
    #[serde(default, rename = "type", deserialize_with = "nullable")]
    kind: Name,
    #[serde(default, deserialize_with = "nullable")]
    mac: String,
    #[serde(default, deserialize_with = "nullable")]
    state: String,
    #[serde(default, deserialize_with = "nullable")]
    index: i64,
    master_index: Option<i64>,
}

impl Object for LinkMonitorObject {
    const KIND: Kind = Kind::LinkMonitor;
    type Facts = LinkMonitor;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn facts(self, _: &Decoder) -> LinkMonitor {
        let Self { status, .. } = self;
        // Thousands of hosts have links of the same names and types, so each text is kept once.
        let mut texts: BTreeSet<Name> = BTreeSet::new();
        let mut shared = |text: Name| {
            if let Some(known) = texts.get(&text) {
                return known.clone();
            }
            texts.insert(text.clone());
            text
        };
        let mut link = |link: LinkStatus| Link {
            state: match &*link.state {
                "up" => LinkState::Up,
                "down" => LinkState::Down,
                _ => LinkState::Unknown,
            },
            kind: shared(link.kind),
            mac: mac(&link.mac),
            name: shared(link.name),
            index: link.index,
            master: link.master_index.filter(|index| *index > 0),
        };
        let links = status
            .link_status
            .into_iter()
            .filter_map(|(host, links)| Some((host, links?.into_iter().map(&mut link).collect())));
        LinkMonitor { links: links.collect() }
    }
}

/// Reads a MAC address of six bytes, as Go writes it.
fn mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok());
    let mut mac = [0; 6];
    for byte in &mut mac {
        *byte = bytes.next()??;
    }
    bytes.next().is_none().then_some(mac)
}

#[derive(Deserialize)]
pub(crate) struct HostNetworkConfig {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Meta,
    spec: HostNetworkSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HostNetworkSpec {
    cluster_network: Name,
    #[serde(default, deserialize_with = "nullable")]
    node_selector: Selector,
    #[serde(default, rename = "vlanID", deserialize_with = "nullable")]
    vlan: i64,
    #[serde(default, deserialize_with = "nullable")]
    underlay: bool,
    #[serde(default, deserialize_with = "nullable")]
    mode: String,
    #[serde(default, deserialize_with = "nullable")]
    ips: BTreeMap<Name, Name>,
}

impl Object for HostNetworkConfig {
    const KIND: Kind = Kind::HostNetwork;
    type Facts = HostNetwork;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn facts(self, _: &Decoder) -> HostNetwork {
        let HostNetworkSpec { cluster_network, node_selector, vlan, underlay, mode, ips } =
            self.spec;
        let dhcp = mode == "dhcp";
        HostNetwork {
            cluster_network,
            vlan,
            selector: node_selector.into(),
            underlay,
            dhcp,
            addresses: if dhcp { BTreeMap::new() } else { ips },
        }
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

impl Object for NetworkAttachmentDefinition {
    const KIND: Kind = Kind::VmNetwork;
    type Facts = VmNetwork;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn facts(self, _: &Decoder) -> VmNetwork {
        let Self { metadata, spec } = self;
        let is_system_named = metadata
            .name
            .as_deref()
            .is_some_and(|name| SYSTEM_NAMES.iter().any(|prefix| name.starts_with(prefix)));
        let is_system_marked = SYSTEM_ANNOTATIONS
            .iter()
            .any(|annotation| metadata.annotation(annotation) == Some("true"));
        VmNetwork {
            system: metadata.namespace.as_deref() == Some(SYSTEM_NAMESPACE)
                && (is_system_named || is_system_marked),
            label: metadata
                .label(CLUSTER_NETWORK_LABEL)
                .filter(|label| !label.is_empty())
                .map(Name::from),
            config: cni::read(&spec.config),
            exclusive_vlan: metadata.label(EXCLUSIVE_VLAN) == Some("true"),
            ready: metadata.label(READY_LABEL).and_then(|ready| ready.parse().ok()),
            route: metadata.annotation(ROUTE).map(|text| Box::new(route(text))),
        }
    }
}

/// Reads the annotation of a VM network's route. What can't be read says so in place of whether the
/// gateway answers.
fn route(text: &str) -> Route {
    #[derive(Deserialize)]
    struct Written {
        #[serde(default, deserialize_with = "nullable")]
        mode: Name,
        #[serde(default, deserialize_with = "nullable")]
        cidr: Name,
        #[serde(default, deserialize_with = "nullable")]
        gateway: Name,
        #[serde(default, deserialize_with = "nullable")]
        connectivity: Name,
    }
    match serde_json::from_str(text) {
        Ok(Written { mode, cidr, gateway, connectivity }) => {
            Route { mode, cidr, gateway, connectivity }
        }
        Err(_) => Route {
            connectivity: "the annotation network.harvesterhci.io/route can't be read".into(),
            ..Route::default()
        },
    }
}
