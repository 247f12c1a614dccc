//! A host with its links, and host network configs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use crate::cluster::{
    HostNetwork, HostRef, HostSet, Link, LinkState, Name, NetworkConfig, Snapshot,
};
use crate::decide::explain::inactive;
use crate::view::explain::HostView;

use super::network_configs::NetworkConfigFacts;

/// The most VMs for which a page says whether they can run on the host.
const MAX_VMS: usize = 500;

/// A host, its links, and what there is on it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostPage<'s> {
    #[serde(flatten)]
    view: HostView<'s>,
    /// The number of VMs that `vms` leaves out.
    vms_left_out: usize,
    /// Whether the host is a witness host, which runs no VMs.
    witness: bool,
    /// Whether the host is cordoned; null if that could not be read.
    cordoned: Option<bool>,
    labels: BTreeMap<&'s str, &'s str>,
    /// The network configs that cover the host, and the record of its `mgmt` uplink.
    network_configs: Vec<NetworkConfigFacts>,
    /// The host's addresses on cluster networks.
    addresses: Vec<AddressFacts>,
    /// The host's links, as link monitors report them.
    links: Vec<LinkFacts>,
    /// The VMs that run on the host, by name.
    running: Vec<String>,
}

/// An address of a host on a cluster network.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AddressFacts {
    host_network_config: Name,
    cluster_network: Name,
    vlan: i64,
    mode: &'static str,
    /// In CIDR notation; null with DHCP.
    address: Option<Name>,
}

/// A link of a host.
#[derive(Debug, Serialize, JsonSchema)]
struct LinkFacts {
    name: Name,
    /// `up`, `down` or `unknown`.
    state: &'static str,
    /// Such as `device` or `bond`, empty if it is not reported.
    r#type: Name,
    mac: Option<String>,
    /// The link to which this one is enslaved.
    master: Option<Name>,
}

impl<'s> HostPage<'s> {
    /// The page of a host. `cordoned` is null if it is not known.
    #[must_use]
    pub fn of(snapshot: &'s Snapshot, host: HostRef<'s>, cordoned: Option<bool>) -> Self {
        let view = HostView::of(snapshot, host, MAX_VMS);
        let vms: BTreeSet<_> = snapshot.vms_and_vmis().collect();
        let is_record = |facts: &NetworkConfig| {
            facts.is_mgmt() && facts.named_after.as_ref() == Some(host.name())
        };
        let configs = snapshot
            .every_config()
            .filter(|(_, facts, hosts)| hosts.contains(host) || is_record(facts))
            .map(|(name, facts, hosts)| NetworkConfigFacts::of(snapshot, name, facts, hosts));
        let labels = snapshot.labels_of(host.name());
        let selected =
            snapshot.host_networks().filter(|(_, facts)| snapshot.selects(&facts.selector, host));
        let addresses = selected.map(|(name, facts)| AddressFacts {
            host_network_config: name.clone(),
            cluster_network: facts.cluster_network.clone(),
            vlan: facts.vlan,
            mode: mode_of(facts),
            address: facts.addresses.get(host.name()).cloned(),
        });
        let links: Vec<&Link> = snapshot.links(host).flatten().collect();
        let master = |link: &Link| {
            let index = link.master?;
            links.iter().find(|other| other.index == index).map(|other| other.name.clone())
        };
        let link = |link: &&Link| LinkFacts {
            name: link.name.clone(),
            state: match link.state {
                LinkState::Up => "up",
                LinkState::Down => "down",
                LinkState::Unknown => "unknown",
            },
            r#type: link.kind.clone(),
            mac: link.mac.map(mac),
            master: master(link),
        };
        Self {
            vms_left_out: vms.len().saturating_sub(MAX_VMS),
            view,
            witness: snapshot.is_witness(host),
            cordoned,
            labels: labels.into_iter().flat_map(|labels| labels.under("")).collect(),
            network_configs: configs.collect(),
            addresses: addresses.collect(),
            links: links.iter().map(link).collect(),
            running: snapshot.vmis_on(host.name()).map(ToString::to_string).collect(),
        }
    }
}

fn mac(bytes: [u8; 6]) -> String {
    let mut text = String::with_capacity(17);
    for (position, byte) in bytes.iter().enumerate() {
        let colon = if position == 0 { "" } else { ":" };
        // Writing to a String can't fail.
        let _ = write!(text, "{colon}{byte:02x}");
    }
    text
}

fn mode_of(facts: &HostNetwork) -> &'static str {
    if facts.dhcp { "dhcp" } else { "static" }
}

/// All host network configs.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostNetworkConfigs {
    /// The host network configs, by name.
    host_network_configs: Vec<HostNetworkConfigFacts>,
}

/// A host network config, which gives hosts an address on a cluster network.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct HostNetworkConfigFacts {
    name: Name,
    cluster_network: Name,
    vlan: i64,
    /// `static` or `dhcp`.
    mode: &'static str,
    /// Whether the pods' network between hosts runs over this one.
    underlay: bool,
    /// The hosts that it selects, by name.
    hosts: Vec<Name>,
    /// The address of each host, in CIDR notation.
    addresses: BTreeMap<Name, Name>,
    /// The hosts that it selects although the cluster network is not active there.
    inactive: Vec<Name>,
}

impl HostNetworkConfigs {
    /// The host network configs of a snapshot.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let facts = snapshot.host_networks().map(|(name, facts)| {
            let mut hosts = HostSet::default();
            let mut inactive_hosts = HostSet::default();
            for host in snapshot.every_host() {
                if snapshot.selects(&facts.selector, host) {
                    hosts.add(host);
                    if inactive(snapshot, &facts.cluster_network, host).is_some() {
                        inactive_hosts.add(host);
                    }
                }
            }
            let names = |hosts| snapshot.names(hosts).into_iter().cloned().collect();
            HostNetworkConfigFacts {
                name: name.clone(),
                cluster_network: facts.cluster_network.clone(),
                vlan: facts.vlan,
                mode: mode_of(facts),
                underlay: facts.underlay,
                hosts: names(&hosts),
                addresses: facts.addresses.clone(),
                inactive: names(&inactive_hosts),
            }
        });
        Self { host_network_configs: facts.collect() }
    }
}
