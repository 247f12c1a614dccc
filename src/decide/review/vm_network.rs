//! The review of a VM network: every `nad-*` rule, one function each (docs/reference.md,
//! "Admission").

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Cni, CniConfig, Key, Kind, Name, ObjectRef, Snapshot, VmNetwork};

use super::super::names::{Audience, list};
use super::bounds::{MAX_MTU, MIN_MTU, mtu_in_range};
use super::scope::lacks_configs;
use super::vm_network_config::faults as config_faults;
use super::vm_network_deletion;
use super::vm_network_version::{CONFIG, Fault, LABEL, Version, violation};
use super::{Code, Judgement, Scope, Violation, Write};

/// A denial tells at most this many faults of one rule and counts the others.
const MAX_FAULTS: usize = 20;

/// What must be read afresh: what uses a VM network that is deleted or whose configuration changes,
/// and its cluster network if that is unknown.
#[must_use]
pub fn scope(snapshot: &Snapshot, write: &Write<VmNetwork>) -> Scope {
    if write.keeps_facts() {
        return Scope::default();
    }
    let users_of = match write {
        Write::Update { old, new } if !new.deleting => {
            let [before, after] = [old, new].map(|it| Version::of(snapshot, &it.facts));
            let changes = !before.keeps_config(&after) || leaves(&before, &after);
            changes.then(|| new.key.clone())
        }
        Write::Delete(old) => Some(old.key.clone()),
        _ => None,
    };
    let gone = users_of.clone().filter(|_| matches!(write, Write::Delete(_)));
    let new = write.after().map(|new| &new.facts);
    let claim = new.and_then(VmNetwork::claim);
    let unknown = new.and_then(|new| unknown(snapshot, new));
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

/// The cluster network that a VM network names, if it is unknown.
pub fn unknown(snapshot: &Snapshot, vm_network: &VmNetwork) -> Option<Name> {
    vm_network.claim().filter(|name| !snapshot.exists(name))
}

/// Judges the change that `user` makes. `audience` reads the messages.
pub fn judge(
    snapshot: &Snapshot,
    write: &Write<VmNetwork>,
    user: &str,
    audience: Audience<'_>,
) -> Judgement {
    let mut judgement = Judgement::default();
    let (old, new) = match write {
        Write::Delete(old) => return vm_network_deletion::judge(snapshot, old, user, audience),
        Write::Create(new) => (None, new),
        Write::Update { new, .. } if new.deleting => return judgement,
        Write::Update { old, new } => (Some(Version::of(snapshot, &old.facts)), new),
    };
    let new_version = Version::of(snapshot, &new.facts);
    let under = new_version.under.clone();
    let reserved = under.as_ref().map(|under| reserved_vlans(snapshot, under));
    let review = Review { snapshot, audience, old, new: new_version, key: &new.key };
    let violations = &mut judgement.violations;
    violations.extend(review.config());
    violations.extend(review.cluster_network());
    violations.extend(review.mtu());
    violations.extend(review.change());
    violations.extend(review.exclusive_vlan(&reserved.unwrap_or_default()));
    judgement.warnings.extend(review.unconstrained());
    judgement
}

/// The violations that a VM network has as it stands, as if it were made now. `reserved` are the VLANs
/// that storage networks on its cluster network reserve. A configuration that can't be read is a
/// [`Problem`](crate::cluster::Problem), and an MTU of the cluster network that can't be read is that
/// one's fault: both are left out.
pub(in crate::decide) fn standing(
    snapshot: &Snapshot,
    key: &Key,
    facts: &VmNetwork,
    reserved: &[(i64, &Key)],
) -> Vec<Violation> {
    let new = Version::of(snapshot, facts);
    let judges_mtu = new.under.as_ref().is_some_and(|name| network_mtu(snapshot, name).is_some());
    let review = Review { snapshot, audience: Audience::Everyone, old: None, new, key };
    let mut violations = Vec::new();
    if !matches!(facts.config, CniConfig::Unreadable(_)) {
        violations.extend(review.config());
    }
    violations.extend(review.cluster_network());
    violations.extend(judges_mtu.then(|| review.mtu()).flatten());
    violations.extend(review.exclusive_vlan(reserved));
    violations
}

/// The VLANs on a cluster network that storage networks reserve.
pub(in crate::decide) fn reserved_vlans<'s>(
    snapshot: &'s Snapshot,
    cluster_network: &'s Name,
) -> Vec<(i64, &'s Key)> {
    let reserves = |facts: &VmNetwork| facts.system && facts.exclusive_vlan;
    let networks = snapshot.vm_networks_of(cluster_network).filter(|(_, facts)| reserves(facts));
    let vlans = networks.filter_map(|(key, facts)| Some((facts.bridge()?.vlan, key)));
    vlans.filter(|(vlan, _)| *vlan != 0).collect()
}

/// The violations of the new version's faults that the old version did not have.
fn added(old: Vec<Fault>, new: Vec<Fault>) -> Vec<Violation> {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for fault in old {
        *known.entry(fault.of).or_default() += 1;
    }
    let is_new = |fault: &Fault| match known.get_mut(&fault.of) {
        Some(count @ 1..) => {
            *count -= 1;
            false
        }
        _ => true,
    };
    let mut violations: Vec<_> =
        new.into_iter().filter(is_new).map(|fault| fault.violation).collect();
    // Several entries of a trunk may have one fault together.
    violations.dedup();
    let more = violations.len().saturating_sub(MAX_FAULTS);
    violations.truncate(MAX_FAULTS);
    if let Some(last) = violations.last_mut().filter(|_| more > 0) {
        last.message = format!("{}; and {more} more faults of this kind", last.message);
    }
    violations
}

struct Review<'a> {
    snapshot: &'a Snapshot,
    audience: Audience<'a>,
    old: Option<Version<'a>>,
    new: Version<'a>,
    key: &'a Key,
}

impl Review<'_> {
    /// Returns whether the VM network was under the same cluster network before.
    fn stays_under(&self) -> bool {
        self.old.as_ref().is_some_and(|old| old.under == self.new.under)
    }

    /// The violations of the faults that `faults` finds in the new version and not in the old one.
    fn added(&self, faults: impl Fn(&Version<'_>) -> Vec<Fault>) -> Vec<Violation> {
        added(self.old.as_ref().map(&faults).unwrap_or_default(), faults(&self.new))
    }

    /// `nad-config`: the configuration is JSON; a bridge under a cluster network has a valid name,
    /// VLAN and trunk; no key occurs twice.
    fn config(&self) -> Vec<Violation> {
        self.added(|version| config_faults(version, self.strict()))
    }

    /// `nad-cluster-network`: the cluster network exists, and the label and the bridge name the
    /// same one.
    fn cluster_network(&self) -> Vec<Violation> {
        self.added(|version| {
            let mut faults = Vec::new();
            let code = Code::NadClusterNetwork;
            let label = version.facts.label.as_deref();
            if let Some(name) = version.under.as_ref().filter(|name| !self.snapshot.exists(name)) {
                let field = if label.is_some() { LABEL } else { CONFIG };
                let message = format!("cluster network {name} does not exist; create it first");
                let violation = violation(code, field, message, false);
                faults.push(Fault { of: format!("missing {name}"), violation });
            }
            let by_bridge = version.facts.cni().and_then(Cni::bridge_network);
            if let (Some(label), Some(by_bridge)) = (label, by_bridge)
                && label != by_bridge
            {
                let message = format!(
                    "label network.harvesterhci.io/clusternetwork is {label}, but bridge \
                     {by_bridge}-br belongs to cluster network {by_bridge}; make them agree"
                );
                let violation = violation(code, LABEL, message, true);
                faults.push(Fault { of: format!("{label} against {by_bridge}"), violation });
            }
            faults
        })
    }

    /// `nad-mtu`: the MTU is at least 576, and at most the cluster network's. With
    /// `--strict-vm-networks`, it equals the cluster network's.
    fn mtu(&self) -> Option<Violation> {
        let (cni, name) = self.new.bridge_under()?;
        let mtu = cni.effective_mtu();
        let before = self.old.as_ref().and_then(|old| old.facts.bridge()).map(Cni::effective_mtu);
        if before == Some(mtu) && self.stays_under() {
            return None;
        }
        if !self.snapshot.exists(name) {
            return None;
        }
        let message = match self.snapshot.mtu_of(name) {
            Err(text) => format!(
                "the MTU of cluster network {name} is unknown, because its uplink-mtu {text:?} is \
                 not a number; correct that annotation first"
            ),
            Ok(limit) if !mtu_in_range(limit) => format!(
                "the MTU of cluster network {name} is {limit}, which is not within {MIN_MTU} to \
                 {MAX_MTU}; correct its uplink-mtu, or the MTU of its network configs, first"
            ),
            Ok(limit) if mtu == limit => return None,
            Ok(limit) if self.strict() => format!(
                "MTU {mtu} differs from the MTU of cluster network {name}, which is {limit}; set \
                 mtu to {limit}"
            ),
            Ok(limit) if mtu > limit => format!(
                "MTU {mtu} exceeds the MTU of cluster network {name}, which is {limit}; set mtu to \
                 {limit} or less"
            ),
            Ok(limit) if mtu < MIN_MTU => {
                format!("MTU {mtu} is too low; set mtu to {MIN_MTU} to {limit}")
            }
            Ok(_) => return None,
        };
        // That an MTU is too low depends on nothing else.
        Some(violation(Code::NadMtu, CONFIG, message, !self.strict() && mtu < MIN_MTU))
    }

    /// `nad-change`: the type never changes, and the configuration, or the cluster network of one that
    /// names no bridge, changes only while no running VM uses the VM network. A system network changes
    /// neither.
    fn change(&self) -> Vec<Violation> {
        let Some(old) = &self.old else { return Vec::new() };
        let (field, what) = if !old.keeps_config(&self.new) {
            (CONFIG, "configuration")
        } else if leaves(old, &self.new) {
            (LABEL, "cluster network")
        } else {
            return Vec::new();
        };
        let mut violations = Vec::new();
        let mut refuse = |message: String, alone: bool| {
            violations.push(violation(Code::NadChange, field, message, alone));
        };
        if changes_type(old.facts, self.new.facts) {
            let message = format!(
                "the configuration can't be changed from {} to {}; create another VM network \
                 instead",
                kind(old.facts),
                kind(self.new.facts)
            );
            refuse(message, true);
        }
        if old.facts.system {
            let message = format!(
                "the {what} of a system network can't be changed; change the network in Harvester's \
                 settings, and its controller replaces this object"
            );
            refuse(message, false);
        }
        let vms: BTreeSet<&Key> = self.snapshot.vmis_using(self.key).collect();
        if !vms.is_empty() {
            let message = format!(
                "the {what} can't be changed while running VMs use this VM network: {}; stop them \
                 first",
                self.audience.vms(vms)
            );
            refuse(message, false);
        }
        violations
    }

    /// `nad-exclusive-vlan`: a VLAN that a storage network reserves is used neither alone nor in a
    /// trunk.
    fn exclusive_vlan(&self, reserved: &[(i64, &Key)]) -> Option<Violation> {
        let (cni, name) = self.new.bridge_under()?;
        if self.new.facts.system {
            return None;
        }
        let old = self.old.as_ref().filter(|_| self.stays_under());
        let old = old.and_then(|old| old.facts.bridge());
        let reserved: Vec<&(i64, &Key)> = reserved
            .iter()
            .filter(|(vlan, key)| *key != self.key && cni.carries(*vlan))
            .filter(|(vlan, _)| !old.is_some_and(|old| old.carries(*vlan)))
            .collect();
        let vlans: BTreeSet<i64> = reserved.iter().map(|(vlan, _)| *vlan).collect();
        let seen = reserved.iter().map(|(_, key)| *key).filter(|key| self.audience.may_see(key));
        let seen: BTreeSet<&Key> = seen.collect();
        let (vlan, is, other) = match vlans.len() {
            0 => return None,
            1 => ("VLAN", "is", "another VLAN"),
            _ => ("VLANs", "are", "other VLANs"),
        };
        let by = match (seen.len(), reserved.len()) {
            (0, 1) => "a storage network".to_owned(),
            (0, _) => "storage networks".to_owned(),
            (1, _) => format!("storage network {}", list(seen)),
            _ => format!("storage networks {}", list(seen)),
        };
        let message = format!(
            "{vlan} {} on cluster network {name} {is} reserved by {by}; choose {other}",
            list(vlans)
        );
        Some(violation(Code::NadExclusiveVlan, CONFIG, message, false))
    }

    /// Returns whether every bridge must belong to a cluster network.
    fn strict(&self) -> bool {
        self.snapshot.options().strict_vm_networks
    }

    /// The warning about a bridge under no cluster network.
    fn unconstrained(&self) -> Option<String> {
        let cni = self.new.plugin_bridge()?;
        if self.strict() || self.new.under.is_some() {
            return None;
        }
        let before = self.old.as_ref().filter(|_| self.stays_under());
        let before = before.and_then(Version::plugin_bridge);
        if before.is_some_and(|before| before.bridge == cni.bridge) {
            return None;
        }
        Some(match &cni.bridge {
            Some(bridge) => format!(
                "bridge {bridge} belongs to no cluster network, so this VM network restricts no \
                 host"
            ),
            None => "no bridge is named, so this VM network restricts no host".to_owned(),
        })
    }
}

/// Returns whether a VM network leaves its cluster network by its label alone. Of a bridge, which belongs
/// to a cluster network itself, the rules on the label and the configuration say what may be.
fn leaves(old: &Version<'_>, new: &Version<'_>) -> bool {
    let names_bridge = new.facts.cni().and_then(Cni::bridge_network).is_some();
    !names_bridge && old.under.is_some() && old.under != new.under
}

/// Returns whether the CNI type changes. A configuration that is taken away or put in changes the
/// type too.
fn changes_type(old: &VmNetwork, new: &VmNetwork) -> bool {
    let is_none = |facts: &VmNetwork| facts.config == CniConfig::None;
    match (old.plugin(), new.plugin()) {
        (Some(old), Some(new)) => old.effective_kind() != new.effective_kind(),
        _ => is_none(old) != is_none(new),
    }
}

/// The kind of a VM network's configuration, as a message names it.
fn kind(facts: &VmNetwork) -> String {
    match (&facts.config, facts.plugin().map(Cni::effective_kind)) {
        (CniConfig::None, _) => "no configuration".to_owned(),
        (_, None) => "one that can't be read".to_owned(),
        (_, Some("")) => "no type".to_owned(),
        (_, Some(kind)) => format!("type {kind}"),
    }
}

/// The MTU of a cluster network, if it exists and its MTU is a possible one.
pub(super) fn network_mtu(snapshot: &Snapshot, name: &Name) -> Option<i64> {
    let mtu = snapshot.exists(name).then(|| snapshot.mtu_of(name))?.ok()?;
    mtu_in_range(mtu).then_some(mtu)
}
