//! The review of a VM: the `vm-*` rules, one function each (docs/reference.md, "Admission").

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Key, Kind, Mac, Name, ObjectRef, Run, Selection, Snapshot, Vm};

use super::super::causes::Cause;
use super::super::names::{Audience, list};
use super::super::needs::Needs;
use super::scope::lacks_configs;
use super::{Code, Judgement, Reviewed, Scope, Violation, Write};

const NETWORKS: &str = "spec.template.spec.networks";
const INTERFACES: &str = "spec.template.spec.domain.devices.interfaces";

/// What must be read afresh: the unknown ones among the VM networks that the VM asks for, and among
/// their cluster networks, if the rules look at them.
#[must_use]
pub fn scope(snapshot: &Snapshot, write: &Write<Vm>) -> Scope {
    let old = write.before();
    let asked = write.after().filter(|new| {
        changes_placement(old, new) || old.is_some_and(|old| old.facts.macs != new.facts.macs)
    });
    let asked = asked.map(|new| &*new.facts.networks.vm_networks);
    scope_of_networks(snapshot, asked.unwrap_or_default())
}

/// Returns whether the request changes what decides where the VM can run, or starts the VM.
fn changes_placement(old: Option<&Reviewed<Vm>>, new: &Reviewed<Vm>) -> bool {
    is_started(old, new)
        || old.is_none_or(|old| {
            let (old, new) = (&old.facts, &new.facts);
            old.networks != new.networks || old.hosts != new.hosts
        })
}

/// Returns whether the request starts a VM that was halted.
fn is_started(old: Option<&Reviewed<Vm>>, new: &Reviewed<Vm>) -> bool {
    old.is_some_and(|old| old.facts.run == Run::Halted) && new.facts.run != Run::Halted
}

/// What the mutating webhook must read afresh: what the VM's affinity depends on. An update that
/// changes nothing that a rule reads leaves the affinity alone where something is unknown.
#[must_use]
pub fn mutation_scope(snapshot: &Snapshot, write: &Write<Vm>) -> Scope {
    let new = write.after().filter(|_| !write.keeps_facts());
    let asked = new.map(|new| &*new.facts.networks.vm_networks);
    scope_of_networks(snapshot, asked.unwrap_or_default())
}

/// Returns whether the VM networks that a VM asks for are known, and their cluster networks.
#[must_use]
pub fn networks_are_known(snapshot: &Snapshot, vm: &Vm) -> bool {
    scope_of_networks(snapshot, &vm.networks.vm_networks).unknown.is_empty()
}

/// What must be read afresh for these VM networks, which a VM or VMI asks for.
#[must_use]
pub fn scope_of_networks(snapshot: &Snapshot, asked: &[Key]) -> Scope {
    let unknown = asked.iter().filter_map(|key| match snapshot.vm_network(key) {
        None => Some(ObjectRef { kind: Kind::VmNetwork, key: key.clone() }),
        Some(vm_network) => {
            let claimed = vm_network.claim().filter(|name| !snapshot.exists(name))?;
            Some(ObjectRef { kind: Kind::ClusterNetwork, key: Key::cluster_scoped(claimed) })
        }
    });
    let under =
        asked.iter().filter_map(|key| snapshot.cluster_network_of(snapshot.vm_network(key)?));
    Scope {
        unknown: unknown.collect(),
        configs_of: under.filter(|name| lacks_configs(snapshot, name)).collect(),
        ..Scope::default()
    }
}

/// Judges the change. What keeps a VM from every host is a warning, or a violation with
/// `deny_unschedulable` if the request adds it. `vm-mac` does not apply to a trusted user.
/// `audience` reads the messages.
pub fn judge(
    snapshot: &Snapshot,
    write: &Write<Vm>,
    deny_unschedulable: bool,
    trusted: bool,
    audience: Audience<'_>,
) -> Judgement {
    let mut judgement = Judgement::default();
    let Some(new) = write.after().filter(|new| !new.facts.deleting) else { return judgement };
    let old = write.before();
    if !trusted {
        mac(snapshot, old, new, audience, &mut judgement);
    }
    if !changes_placement(old, new) {
        return judgement;
    }
    let needs = Needs::of(snapshot, &new.facts.networks);
    let before = old.map(|old| Needs::of(snapshot, &old.facts.networks)).unwrap_or_default();
    if let Some(message) = no_host(snapshot, &needs, &new.facts) {
        let had = |name| before.cluster_networks.contains(name);
        let is_old = old.is_some_and(|old| no_host(snapshot, &before, &old.facts).is_some())
            && needs.cluster_networks.iter().all(had)
            && old.is_some_and(|old| no_host(snapshot, &needs, &old.facts).is_some());
        let violation = violation(Code::VmNoHost, NETWORKS, message);
        judgement.add(violation, deny_unschedulable && !is_old);
    }
    let (rest, added): (Vec<_>, Vec<_>) =
        needs.everywhere.iter().partition(|cause| before.everywhere.contains(cause));
    // A warning names all that is missing. A denial names what the request adds.
    let groups = if deny_unschedulable {
        [(added, true), (rest, false)]
    } else {
        [(needs.everywhere.iter().collect(), false), (Vec::new(), false)]
    };
    for (causes, denied) in groups {
        if let Some(message) = network_missing(&causes) {
            judgement.add(violation(Code::VmNetworkMissing, NETWORKS, message), denied);
        }
    }
    judgement.warnings.extend(on_system_network(snapshot, &new.facts.networks));
    judgement.warnings.extend(inactive_where_it_runs(snapshot, new, old));
    judgement
}

fn violation(code: Code, field: &'static str, message: String) -> Violation {
    Violation { code, field: Some(field.into()), message, of_the_object_alone: false }
}

/// The cluster network of a VM network that is known.
fn cluster_network_of(snapshot: &Snapshot, vm_network: &Key) -> Option<Name> {
    snapshot.cluster_network_of(snapshot.vm_network(vm_network)?)
}

/// How many interfaces of a VM ask for each MAC address on each cluster network.
fn addresses(snapshot: &Snapshot, vm: &Vm) -> BTreeMap<(Mac, Name), usize> {
    let mut addresses = BTreeMap::new();
    for (mac, vm_network) in &vm.macs {
        if let Some(cluster_network) = cluster_network_of(snapshot, vm_network) {
            *addresses.entry((*mac, cluster_network)).or_default() += 1;
        }
    }
    addresses
}

/// Returns whether a VM runs or is asked to.
fn runs(snapshot: &Snapshot, key: &Key, vm: &Vm) -> bool {
    vm.run == Run::Asked || snapshot.vmi(key).is_some_and(|vmi| !vmi.finished)
}

/// Returns whether `vm-mac` counts a VM.
fn counts(vm: &Vm) -> bool {
    !vm.deleting && vm.run != Run::Receiving
}

/// A MAC address that several interfaces on a cluster network have, whose VMs run or are asked to.
pub(in crate::decide) struct MacClash<'s> {
    pub mac: Mac,
    pub cluster_network: Name,
    /// The VMs: several, or one that has the address twice.
    pub vms: BTreeSet<&'s Key>,
}

/// What breaks `vm-mac` as it stands, by address and cluster network.
pub(in crate::decide) fn mac_clashes(snapshot: &Snapshot) -> Vec<MacClash<'_>> {
    let mut clashes = Vec::new();
    for mac in snapshot.repeated_macs() {
        // The VMs on each cluster network, and whether one of them has the address twice.
        let mut found: BTreeMap<Name, (BTreeSet<&Key>, bool)> = BTreeMap::new();
        let vms = snapshot.vms_with_mac(mac);
        for (key, vm) in vms.filter(|(key, vm)| counts(vm) && runs(snapshot, key, vm)) {
            for ((_, network), count) in
                addresses(snapshot, vm).into_iter().filter(|((of, _), _)| *of == mac)
            {
                let (vms, is_twice) = found.entry(network).or_default();
                vms.insert(key);
                *is_twice |= count > 1 && vm.run == Run::Asked;
            }
        }
        found.retain(|_, (vms, is_twice)| vms.len() > 1 || *is_twice);
        let found = found.into_iter();
        clashes.extend(found.map(|(cluster_network, (vms, _))| MacClash {
            mac,
            cluster_network,
            vms,
        }));
    }
    clashes
}

/// `vm-mac`: no two interfaces on one cluster network have the same MAC address, as far as their
/// VMs run or are asked to. VMs that do not run may share an address, which is a warning. A VM that
/// receives another cluster's VM shares its addresses until the migration is over, so it is exempt,
/// and the end of that state is never refused.
fn mac(
    snapshot: &Snapshot,
    old: Option<&Reviewed<Vm>>,
    new: &Reviewed<Vm>,
    audience: Audience<'_>,
    judgement: &mut Judgement,
) {
    if new.facts.run == Run::Receiving {
        return;
    }
    let before = old.map(|old| addresses(snapshot, &old.facts)).unwrap_or_default();
    let old_run = old.map(|old| old.facts.run);
    let is_started = is_started(old, new);
    let may_refuse = old_run != Some(Run::Receiving);
    for (address, count) in addresses(snapshot, &new.facts) {
        let had = before.get(&address).copied().unwrap_or_default();
        let (mac, network) = (address.0, &address.1);
        if count > 1 && (count > had || is_started) {
            let message = format!(
                "MAC address {mac} is used by {count} interfaces of this VM on cluster network \
                 {network}; choose another address"
            );
            let violation = violation(Code::VmMac, INTERFACES, message);
            judgement.add(violation, may_refuse && new.facts.run == Run::Asked);
        }
        if had > 0 && !is_started {
            continue;
        }
        let has = |vm: &Vm| {
            let mut networks = vm.macs.iter().filter(|(other, _)| *other == mac);
            networks.any(|(_, key)| cluster_network_of(snapshot, key).as_ref() == Some(network))
        };
        let others = snapshot.vms_with_mac(mac);
        let others = others.filter(|(key, vm)| **key != new.key && counts(vm) && has(vm));
        let may_refuse = may_refuse && runs(snapshot, &new.key, &new.facts);
        let (running, stopped): (Vec<_>, Vec<_>) =
            others.partition(|(key, vm)| may_refuse && runs(snapshot, key, vm));
        for (vms, denied, remedy) in [
            (running, true, "choose another address"),
            (stopped, false, "VMs with the same address must not run at the same time"),
        ] {
            let vms: BTreeSet<&Key> = vms.into_iter().map(|(key, _)| key).collect();
            if !vms.is_empty() {
                let message = format!(
                    "MAC address {mac} is already used on cluster network {network} by another \
                     interface of VMs: {}; {remedy}",
                    audience.vms(vms)
                );
                judgement.add(violation(Code::VmMac, INTERFACES, message), denied);
            }
        }
    }
}

/// `vm-no-host`: at least one host that the VM allows has all the cluster networks that the VM
/// needs.
fn no_host(snapshot: &Snapshot, needs: &Needs, vm: &Vm) -> Option<String> {
    let active = needs.active(snapshot)?;
    let networks = list(&needs.cluster_networks);
    if active.is_empty() {
        return Some(format!(
            "no host has all the cluster networks that this VM needs: {networks}; the VM can't run \
             until one host has them all"
        ));
    }
    let allowed = |host| snapshot.allows(&vm.hosts, host);
    (!vm.hosts.is_any() && !snapshot.hosts_in(&active).any(allowed)).then(|| {
        format!(
            "no host that the VM's nodeSelector and required node affinity allow has all the \
             cluster networks that this VM needs: {networks}; the VM can't run until one such host \
             has them all"
        )
    })
}

/// `vm-network-missing`: the VM networks that the VM asks for exist, and their names can be read.
pub(in crate::decide) fn network_missing(causes: &[&Cause]) -> Option<String> {
    let (mut missing, mut unreadable) = (Vec::new(), Vec::new());
    for cause in causes {
        match cause {
            Cause::VmNetworkNotFound(key) => missing.push(key),
            Cause::InvalidSelection(why) => unreadable.push(why),
            _ => {}
        }
    }
    let mut faults = Vec::new();
    if !missing.is_empty() {
        let missing = list(missing);
        faults.push(format!("VM networks that this VM asks for do not exist: {missing}"));
    }
    if !unreadable.is_empty() {
        faults.push(format!("networks of this VM can't be read: {}", list(unreadable)));
    }
    (!faults.is_empty())
        .then(|| format!("{}; the VM can't run until that is corrected", faults.join("; ")))
}

/// The warning about a VM on a system network. The VM itself names the network, so the message may.
fn on_system_network(snapshot: &Snapshot, asked: &Selection) -> Option<String> {
    let is_system = |key: &&Key| snapshot.vm_network(key).is_some_and(|it| it.system);
    let system: Vec<&Key> = asked.vm_networks.iter().filter(is_system).collect();
    (!system.is_empty()).then(|| {
        format!(
            "the VM uses system networks: {}; they are for the cluster's own traffic, such as \
             storage, which the VM can then reach and disturb",
            list(system)
        )
    })
}

/// The warnings about a running VM that is given a cluster network which is not active on its host.
fn inactive_where_it_runs(
    snapshot: &Snapshot,
    new: &Reviewed<Vm>,
    old: Option<&Reviewed<Vm>>,
) -> Vec<String> {
    let had = old.map(|old| &*old.facts.networks.vm_networks).unwrap_or_default();
    let given = new.facts.networks.vm_networks.iter().filter(|key| !had.contains(key));
    let given = Selection::of(given.cloned().collect(), Vec::new());
    let mut warnings = Vec::new();
    for name in &Needs::of(snapshot, &given).cluster_networks {
        let network = snapshot.network(name);
        for host in snapshot.hosts_of(&new.key) {
            if network.inactive(host).is_some() {
                warnings.push(format!(
                    "the VM runs on {}, where cluster network {name} is not active; migrate or \
                     restart the VM afterwards",
                    host.name()
                ));
            }
        }
    }
    warnings
}
