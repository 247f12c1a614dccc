//! VM networks: what they are, and who uses them.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use crate::cluster::{Cni, CniConfig, Key, Name, Route, Snapshot, TrunkEntry, VmNetwork};
use crate::decide::explain::Asked;
use crate::decide::feasible::FeasibleHosts;
use crate::view::explain::VmNetworkView;

/// All VM networks.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VmNetworks {
    /// The VM networks, by name.
    vm_networks: Vec<VmNetworkFacts>,
}

/// A VM network (`NetworkAttachmentDefinition`).
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct VmNetworkFacts {
    /// NAMESPACE/NAME.
    name: String,
    cluster_network: Option<Name>,
    /// `vlan`, `untagged`, `trunk`, `other` (not a bridge) or `unreadable`.
    r#type: &'static str,
    /// The VLAN; null if the VM network has none.
    vlan: Option<i64>,
    /// The VLANs that VMs may tag themselves, each as `FIRST-LAST` or as one number.
    trunk: Vec<String>,
    /// The type of the CNI plug-in.
    cni: Option<String>,
    /// The MTU in bytes; null if the configuration can't be read.
    mtu: Option<i64>,
    /// The route that Harvester keeps.
    route: Option<RouteFacts>,
    /// Whether this is a system network: a storage, RWX or VM migration network.
    system: bool,
    /// The number of VMs whose templates name it.
    vms: usize,
    /// The number of running VMs that use it.
    running_vms: usize,
    /// The number of hosts on which it can be used.
    hosts: usize,
}

/// The route of a VM network.
#[derive(Debug, Serialize, JsonSchema)]
struct RouteFacts {
    mode: Name,
    cidr: Name,
    gateway: Name,
    /// Whether the gateway answers, as Harvester writes it.
    connectivity: Name,
}

impl VmNetworkFacts {
    fn of(
        snapshot: &Snapshot,
        key: &Key,
        facts: &VmNetwork,
        feasible: &mut FeasibleHosts<'_>,
    ) -> Self {
        let bridge = facts.bridge();
        let r#type = match (&facts.config, bridge) {
            (CniConfig::Unreadable(_), _) => "unreadable",
            (_, None) => "other",
            (_, Some(cni)) if !cni.trunk.is_empty() => "trunk",
            (_, Some(cni)) if cni.vlan != 0 => "vlan",
            (_, Some(_)) => "untagged",
        };
        let route = |route: &Route| {
            let Route { mode, cidr, gateway, connectivity } = route.clone();
            RouteFacts { mode, cidr, gateway, connectivity }
        };
        Self {
            name: key.to_string(),
            cluster_network: snapshot.cluster_network_of(facts),
            r#type,
            vlan: bridge.map(|cni| cni.vlan).filter(|vlan| *vlan != 0),
            trunk: bridge.into_iter().flat_map(|cni| &cni.trunk).flat_map(trunk_texts).collect(),
            cni: facts.plugin().map(|cni| cni.effective_kind().to_owned()),
            mtu: facts.bridge().map(Cni::effective_mtu),
            route: facts.route.as_deref().map(route),
            system: facts.system,
            vms: snapshot.vms_using(key).count(),
            running_vms: snapshot.vmis_using(key).count(),
            hosts: feasible.of_asked(Asked::on_network(snapshot, key)).len(),
        }
    }
}

/// The VLANs of a trunk's entry: one VLAN, a range such as `1-100`, or both.
pub(in crate::view) fn trunk_texts(entry: &TrunkEntry) -> Vec<String> {
    let range = entry.min.zip(entry.max).map(|(min, max)| format!("{min}-{max}"));
    entry.id.map(|id| id.to_string()).into_iter().chain(range).collect()
}

impl VmNetworks {
    /// The VM networks of a snapshot.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut feasible = FeasibleHosts::new(snapshot, BTreeSet::new());
        let facts = snapshot.vm_networks();
        let facts =
            facts.map(|(key, facts)| VmNetworkFacts::of(snapshot, key, facts, &mut feasible));
        Self { vm_networks: facts.collect() }
    }
}

/// A VM network, and where and by whom it is used.
#[derive(Debug, Serialize, JsonSchema)]
pub struct VmNetworkPage<'s> {
    #[serde(flatten)]
    view: VmNetworkView<'s>,
    facts: VmNetworkFacts,
}

impl<'s> VmNetworkPage<'s> {
    /// The VM network of this name; `None` if it does not exist.
    #[must_use]
    pub fn of(snapshot: &'s Snapshot, key: &'s Key) -> Option<Self> {
        let mut feasible = FeasibleHosts::new(snapshot, BTreeSet::new());
        let facts = snapshot.vm_network(key)?;
        let facts = VmNetworkFacts::of(snapshot, key, facts, &mut feasible);
        Some(Self { view: VmNetworkView::of(snapshot, key)?, facts })
    }
}
