//! The review of a VM: the `vm-*` rules, one function each (docs/reference.md, "Admission").

use std::collections::BTreeSet;

use crate::cluster::{HostSet, Key, Kind, Name, ObjectRef, Selection, Snapshot, Vm};

use super::super::causes::Cause;
use super::super::names::{Audience, list};
use super::super::needs::Needs;
use super::scope::lacks_configs;
use super::{Code, Judgement, Reviewed, Scope, Violation, Write};

/// What must be read afresh: the unknown ones among the VM networks that the VM newly asks for, and
/// among their cluster networks.
#[must_use]
pub fn scope(snapshot: &Snapshot, write: &Write<Vm>) -> Scope {
    let before = write.before().map(|old| &old.facts.networks);
    let asked = write.after().map(|new| &new.facts.networks).filter(|new| Some(*new) != before);
    scope_of_networks(snapshot, asked.map(|asked| &*asked.vm_networks).unwrap_or_default())
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

/// Judges the change. A VM that no host can run gets a warning, or a violation with
/// `deny_unschedulable`. `audience` reads the messages.
pub fn judge(
    snapshot: &Snapshot,
    write: &Write<Vm>,
    deny_unschedulable: bool,
    audience: Audience<'_>,
) -> Judgement {
    let mut judgement = Judgement::default();
    let Some(new) = write.after().filter(|new| !new.facts.deleting) else { return judgement };
    let old = write.before();
    judgement.violations.extend(mac(snapshot, old, new, audience));
    if old.is_some_and(|old| old.facts.networks == new.facts.networks) {
        return judgement;
    }
    let needs = Needs::of(snapshot, &new.facts.networks);
    for violation in [no_host(snapshot, &needs), network_missing(&needs)].into_iter().flatten() {
        if deny_unschedulable {
            judgement.violations.push(violation);
        } else {
            judgement.warnings.push(violation.message);
        }
    }
    judgement.warnings.extend(inactive_where_it_runs(snapshot, new, old));
    judgement
}

/// `vm-mac`: no two interfaces on one cluster network have the same MAC address. A VM that receives
/// another cluster's VM shares its MAC addresses until the migration is over, so it is exempt.
fn mac(
    snapshot: &Snapshot,
    old: Option<&Reviewed<Vm>>,
    new: &Reviewed<Vm>,
    audience: Audience<'_>,
) -> Vec<Violation> {
    if new.facts.receiving {
        return Vec::new();
    }
    let under = |vm_network: &Key| snapshot.cluster_network_of(snapshot.vm_network(vm_network)?);
    let had = |pair: &(Name, Key)| {
        old.is_some_and(|old| !old.facts.receiving && old.facts.macs.contains(pair))
    };
    let mut violations = Vec::new();
    let mut judged: BTreeSet<(&Name, Name)> = BTreeSet::new();
    for pair in new.facts.macs.iter().filter(|pair| !had(pair)) {
        let (mac, vm_network) = pair;
        let Some(network) = under(vm_network) else { continue };
        if !judged.insert((mac, network.clone())) {
            continue;
        }
        let on_network = |(other, key): &&(Name, Key)| {
            other == mac && under(key).is_some_and(|other| other == network)
        };
        let mut others: BTreeSet<&Key> = snapshot
            .vms_with_mac(mac)
            .filter(|(key, vm)| **key != new.key && !vm.receiving)
            .filter(|(_, vm)| vm.macs.iter().any(|pair| on_network(&pair)))
            .map(|(key, _)| key)
            .collect();
        if new.facts.macs.iter().filter(on_network).count() > 1 {
            others.insert(&new.key);
        }
        if others.is_empty() {
            continue;
        }
        violations.push(Violation {
            code: Code::VmMac,
            field: Some("spec.template.spec.domain.devices.interfaces"),
            message: format!(
                "MAC address {mac} is already used on cluster network {network} by another \
                 interface of VMs: {}; choose another address",
                audience.vms(others)
            ),
            of_the_object_alone: false,
        });
    }
    violations
}

/// `vm-no-host`: at least one host has all the cluster networks that the VM needs.
fn no_host(snapshot: &Snapshot, needs: &Needs) -> Option<Violation> {
    let all = needs.active(snapshot);
    all.as_ref().is_some_and(HostSet::is_empty).then(|| Violation {
        code: Code::VmNoHost,
        field: Some("spec.template.spec.networks"),
        message: format!(
            "no host has all the cluster networks that this VM needs: {}; the VM can't run until \
             one host has them all",
            list(&needs.cluster_networks)
        ),
        of_the_object_alone: false,
    })
}

/// `vm-network-missing`: the VM networks that the VM asks for exist, and their names can be read.
fn network_missing(needs: &Needs) -> Option<Violation> {
    let unreadable = |cause: &Cause| !matches!(cause, Cause::VmNetworkNotFound(_));
    let fault = if needs.everywhere.iter().any(unreadable) {
        "do not exist or can't be read"
    } else {
        "do not exist"
    };
    let missing: Vec<String> = needs
        .everywhere
        .iter()
        .map(|cause| match cause {
            Cause::VmNetworkNotFound(key) => key.to_string(),
            other => other.reason(),
        })
        .collect();
    (!missing.is_empty()).then(|| Violation {
        code: Code::VmNetworkMissing,
        field: Some("spec.template.spec.networks"),
        message: format!(
            "VM networks that this VM asks for {fault}: {}; the VM can't run until that is \
             corrected",
            list(missing)
        ),
        of_the_object_alone: false,
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
    let given = Selection::of(given.cloned().collect(), None);
    let mut warnings = Vec::new();
    for name in &Needs::of(snapshot, &given).cluster_networks {
        let network = snapshot.network(name);
        for host in snapshot.hosts_of(&new.key) {
            if network.inactive(host).is_some() {
                warnings.push(format!(
                    "the VM runs on {}, where cluster network {name} is not active",
                    host.name()
                ));
            }
        }
    }
    warnings
}
