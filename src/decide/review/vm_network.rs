//! The review of a VM network: every `nad-*` rule, one function each (docs/reference.md,
//! "Admission").

use std::collections::BTreeSet;

use crate::cluster::{Cni, CniConfig, Key, Kind, Name, ObjectRef, Snapshot, VmNetwork};

use super::super::names::{Audience, list};
use super::bounds::MAX_BRIDGE_NAME;
use super::scope::lacks_configs;
use super::{Code, Judgement, Scope, Violation, Write};

/// The highest VLAN ID that may be used.
const MAX_VLAN: i64 = 4094;

/// What must be read afresh: what uses a VM network that is deleted or whose configuration changes,
/// and its cluster network if that is unknown.
#[must_use]
pub fn scope(snapshot: &Snapshot, write: &Write<VmNetwork>) -> Scope {
    let users_of = match write {
        Write::Update { old, new }
            if !new.deleting && canonical(&old.facts) != canonical(&new.facts) =>
        {
            Some(new.key.clone())
        }
        Write::Delete(old) => Some(old.key.clone()),
        _ => None,
    };
    let gone = users_of.clone().filter(|_| matches!(write, Write::Delete(_)));
    let claim = write.after().and_then(|new| new.facts.claim());
    let unknown = claim.clone().filter(|name| !snapshot.exists(name));
    Scope {
        vmis_using: users_of,
        vms_using: gone,
        configs_of: claim.filter(|name| lacks_configs(snapshot, name)).into_iter().collect(),
        unknown: unknown
            .map(|name| ObjectRef { kind: Kind::ClusterNetwork, key: Key::cluster_scoped(name) })
            .into_iter()
            .collect(),
        ..Scope::default()
    }
}

/// Judges the change. `audience` reads the messages.
pub fn judge(snapshot: &Snapshot, write: &Write<VmNetwork>, audience: Audience<'_>) -> Judgement {
    let mut judgement = Judgement::default();
    let violations = &mut judgement.violations;
    let (old, new) = match write {
        Write::Delete(old) => {
            violations.extend(in_use(snapshot, &old.key, audience));
            return judgement;
        }
        Write::Create(new) => (None, new),
        Write::Update { new, .. } if new.deleting => return judgement,
        Write::Update { old, new } => (Some(old), new),
    };
    let review = Review {
        snapshot,
        audience,
        old: old.map(|old| &old.facts),
        new: &new.facts,
        key: &new.key,
        under: snapshot.cluster_network_of(&new.facts),
        was_under: old.and_then(|old| snapshot.cluster_network_of(&old.facts)),
    };
    violations.extend(review.config());
    violations.extend(review.cluster_network());
    violations.extend(review.mtu());
    violations.extend(review.change());
    violations.extend(review.exclusive_vlan());
    judgement.warnings.extend(review.unconstrained());
    judgement
}

fn violation(code: Code, field: &'static str, message: String, alone: bool) -> Violation {
    Violation { code, field: Some(field), message, of_the_object_alone: alone }
}

const CONFIG: &str = "spec.config";
const LABEL: &str = "metadata.labels[network.harvesterhci.io/clusternetwork]";

struct Review<'a> {
    snapshot: &'a Snapshot,
    audience: Audience<'a>,
    old: Option<&'a VmNetwork>,
    new: &'a VmNetwork,
    key: &'a Key,
    /// The cluster network of the new version.
    under: Option<Name>,
    /// The cluster network of the old version.
    was_under: Option<Name>,
}

impl Review<'_> {
    /// The bridge's configuration and its cluster network, if there are both.
    fn bridge_under(&self) -> Option<(&Cni, &Name)> {
        Some((self.new.bridge()?, self.under.as_ref()?))
    }

    /// Returns whether the label, the configuration and the cluster network are as before.
    fn unchanged(&self) -> bool {
        self.old.is_some_and(|old| {
            (&old.label, &old.config) == (&self.new.label, &self.new.config)
                && self.was_under == self.under
        })
    }

    /// `nad-config`: the configuration is JSON; a bridge under a cluster network has a valid name,
    /// VLAN and trunk.
    fn config(&self) -> Vec<Violation> {
        if self.unchanged() {
            return Vec::new();
        }
        let fault = |message: String| violation(Code::NadConfig, CONFIG, message, true);
        if let CniConfig::Unreadable(why) = &self.new.config {
            return vec![fault(format!("spec.config can't be read: {why}"))];
        }
        let Some(cni) = self.new.bridge() else { return Vec::new() };
        let mut faults = Vec::new();
        if self.under.is_none() && !self.strict() {
            return faults;
        }
        match (cni.bridge_network(), &cni.bridge) {
            (Some(name), _) if name.len() + "-br".len() > MAX_BRIDGE_NAME => {
                faults.push(fault(format!(
                    "bridge {name}-br has {} characters; choose a name with at most \
                     {MAX_BRIDGE_NAME}",
                    name.len() + "-br".len()
                )));
            }
            (Some(_), _) => {}
            (None, Some(bridge)) => faults.push(fault(format!(
                "bridge {bridge} belongs to no cluster network; set bridge to <cluster network>-br"
            ))),
            (None, None) => faults
                .push(fault("no bridge is named; set bridge to <cluster network>-br".to_owned())),
        }
        if !(0..=MAX_VLAN).contains(&cni.vlan) {
            faults.push(fault(format!("vlan {} is out of range; use 0 to {MAX_VLAN}", cni.vlan)));
        }
        faults.extend(cni.trunk_faults.iter().map(|why| fault(why.to_string())));
        if cni.vlan != 0 && !(cni.trunk.is_empty() && cni.trunk_faults.is_empty()) {
            faults.push(fault(
                "vlan and vlanTrunk can't be set together; remove one of them".to_owned(),
            ));
        }
        faults
    }

    /// `nad-cluster-network`: the cluster network exists, and the label and the bridge name the
    /// same one.
    fn cluster_network(&self) -> Vec<Violation> {
        if self.unchanged() {
            return Vec::new();
        }
        let mut violations = Vec::new();
        if let Some(name) = self.under.as_ref().filter(|name| !self.snapshot.exists(name)) {
            violations.push(violation(
                Code::NadClusterNetwork,
                if self.new.label.is_some() { LABEL } else { CONFIG },
                format!("cluster network {name} does not exist; create it first"),
                false,
            ));
        }
        let by_bridge = self.new.cni().and_then(Cni::bridge_network);
        if let (Some(label), Some(by_bridge)) = (self.new.label.as_deref(), by_bridge)
            && label != by_bridge
        {
            violations.push(violation(
                Code::NadClusterNetwork,
                LABEL,
                format!(
                    "label network.harvesterhci.io/clusternetwork is {label}, but bridge \
                     {by_bridge}-br belongs to cluster network {by_bridge}; make them agree"
                ),
                true,
            ));
        }
        violations
    }

    /// `nad-mtu`: the MTU equals the cluster network's.
    fn mtu(&self) -> Option<Violation> {
        let (cni, name) = self.bridge_under()?;
        let before = self.old.and_then(VmNetwork::bridge).map(Cni::effective_mtu);
        if before == Some(cni.effective_mtu()) && self.was_under == self.under {
            return None;
        }
        let message = match self.snapshot.mtu_of(name) {
            Ok(mtu) if mtu == cni.effective_mtu() => return None,
            Ok(mtu) => format!(
                "MTU {} differs from the MTU of cluster network {name}, which is {mtu}; set mtu to \
                 {mtu}",
                cni.effective_mtu()
            ),
            Err(text) => format!(
                "the MTU of cluster network {name} is unknown, because its uplink-mtu {text:?} is \
                 not a number; correct that annotation first"
            ),
        };
        Some(violation(Code::NadMtu, CONFIG, message, false))
    }

    /// `nad-change`: the type and the bridge never change, and the configuration changes only while
    /// no running VM uses the VM network. The configuration of a system network never changes.
    fn change(&self) -> Vec<Violation> {
        let Some(old) = self.old.filter(|old| canonical(old) != canonical(self.new)) else {
            return Vec::new();
        };
        let mut violations = Vec::new();
        let kind =
            |facts: &VmNetwork| facts.cni().map(|cni| (cni.kind.clone(), cni.bridge.clone()));
        if let (Some(before), Some(after)) = (kind(old), kind(self.new))
            && before != after
        {
            let described = |(kind, bridge): (Name, Option<Name>)| {
                format!("type {kind:?}, bridge {:?}", bridge.as_deref().unwrap_or_default())
            };
            violations.push(violation(
                Code::NadChange,
                CONFIG,
                format!(
                    "type and bridge can't be changed from {} to {}; create another VM network \
                     instead",
                    described(before),
                    described(after)
                ),
                true,
            ));
        }
        if old.system {
            violations.push(violation(
                Code::NadChange,
                CONFIG,
                "the configuration of a system network can't be changed; change the network in \
                 Harvester's settings, and its controller replaces this object"
                    .to_owned(),
                false,
            ));
        }
        let vms: BTreeSet<&Key> = self.snapshot.vmis_using(self.key).collect();
        if !vms.is_empty() {
            violations.push(violation(
                Code::NadChange,
                CONFIG,
                format!(
                    "the configuration can't be changed while running VMs use this VM network: {}; \
                     stop them first",
                    self.audience.vms(vms)
                ),
                false,
            ));
        }
        violations
    }

    /// `nad-exclusive-vlan`: a VLAN that a storage network reserves is used neither alone nor in a
    /// trunk.
    fn exclusive_vlan(&self) -> Option<Violation> {
        let (cni, name) = self.bridge_under()?;
        if self.new.system || self.unchanged() {
            return None;
        }
        let carried_before = |vlan: i64| {
            let old = self.old.and_then(VmNetwork::bridge);
            self.was_under == self.under && old.is_some_and(|old| old.carries(vlan))
        };
        let reserved: BTreeSet<i64> = self
            .snapshot
            .vm_networks_of(name)
            .filter(|(key, facts)| facts.system && facts.exclusive_vlan && *key != self.key)
            .filter_map(|(_, facts)| Some(facts.bridge()?.vlan))
            .filter(|vlan| *vlan != 0 && cni.carries(*vlan) && !carried_before(*vlan))
            .collect();
        (!reserved.is_empty()).then(|| {
            let message = if reserved.len() == 1 {
                format!(
                    "VLAN {} on cluster network {name} is reserved by a storage network; choose \
                     another VLAN",
                    list(reserved)
                )
            } else {
                format!(
                    "VLANs {} on cluster network {name} are reserved by storage networks; choose \
                     other VLANs",
                    list(reserved)
                )
            };
            violation(Code::NadExclusiveVlan, CONFIG, message, false)
        })
    }

    /// Returns whether every bridge must belong to a cluster network.
    fn strict(&self) -> bool {
        self.snapshot.options().strict_vm_networks
    }

    /// The warning about a bridge under no cluster network.
    fn unconstrained(&self) -> Option<String> {
        let applies = self.under.is_none() && !self.strict() && !self.unchanged();
        let cni = self.new.bridge().filter(|_| applies)?;
        Some(match &cni.bridge {
            Some(bridge) => format!(
                "bridge {bridge} belongs to no cluster network, so this VM network restricts no \
                 host"
            ),
            None => "no bridge is named, so this VM network restricts no host".to_owned(),
        })
    }
}

/// The configuration in the form in which two versions are compared.
fn canonical(facts: &VmNetwork) -> &str {
    match &facts.config {
        CniConfig::None => "",
        CniConfig::Unreadable(why) => why,
        CniConfig::Is(cni) => &cni.canonical,
    }
}

/// `nad-in-use`: no running VM uses the VM network, and no VM refers to it, not even a stopped one.
/// While the namespace of the VM network is terminating, its VMs go with it, so only VMIs count.
fn in_use(snapshot: &Snapshot, key: &Key, audience: Audience<'_>) -> Option<Violation> {
    let mut vms: BTreeSet<&Key> = snapshot.vmis_using(key).collect();
    if !key.namespace().is_some_and(|namespace| snapshot.is_terminating(namespace)) {
        vms.extend(snapshot.vms_using(key));
    }
    (!vms.is_empty()).then(|| Violation {
        code: Code::NadInUse,
        field: None,
        message: format!(
            "VM network {key} is still used by VMs: {}; remove it from these VMs and stop them \
             first",
            audience.vms(vms)
        ),
        of_the_object_alone: false,
    })
}

/// The MTU to set in a VM network, if it has to change: that of its cluster network. On create, any
/// other MTU is corrected. On update, the MTU is only filled in, if it is absent or 0 and the old
/// version had the cluster network's MTU (docs/reference.md, "Mutation").
#[must_use]
pub fn mtu_to_set(snapshot: &Snapshot, new: &VmNetwork, old: Option<&VmNetwork>) -> Option<i64> {
    let cni = new.bridge()?;
    let mtu = snapshot.mtu_of(&snapshot.cluster_network_of(new)?).ok()?;
    let fill_in = |old: &VmNetwork| {
        cni.mtu == 0 && old.bridge().is_some_and(|old| old.effective_mtu() == mtu)
    };
    let may_set = old.is_none_or(fill_in);
    (may_set && cni.effective_mtu() != mtu).then_some(mtu)
}

/// The labels that a VM network should have, without their prefix and in a fixed order. Only a
/// bridge under a cluster network and an overlay network get labels (docs/reference.md,
/// "Mutation").
#[must_use]
pub fn labels(snapshot: &Snapshot, facts: &VmNetwork) -> Vec<(&'static str, String)> {
    let Some(cni) = facts.cni() else { return Vec::new() };
    if &*cni.kind == "kube-ovn" {
        return vec![("type", "OverlayNetwork".to_owned())];
    }
    let Some(name) = snapshot.cluster_network_of(facts).filter(|_| cni.is_bridge()) else {
        return Vec::new();
    };
    let kind = if !cni.trunk.is_empty() {
        "L2VlanTrunkNetwork"
    } else if cni.vlan != 0 {
        "L2VlanNetwork"
    } else {
        "UntaggedNetwork"
    };
    let active = snapshot.exists(&name)
        && snapshot
            .network(&name)
            .active()
            .map_or_else(|| snapshot.count(Kind::Host) > 0, |hosts| !hosts.is_empty());
    vec![
        ("clusternetwork", name.to_string()),
        ("type", kind.to_owned()),
        ("vlan-id", cni.vlan.to_string()),
        ("ready", active.to_string()),
    ]
}
