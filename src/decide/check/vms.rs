//! What is wrong with VMs: they ask for what does not exist, have nowhere to run, run where they are
//! cut off, or share an address.

use std::collections::BTreeSet;

use crate::cluster::{Key, Kind, Name, Run, Snapshot};
use crate::decide::causes::Cause;
use crate::decide::feasible::{Asking, Fits, asking};
use crate::decide::names::list;
use crate::decide::needs::Needs;
use crate::decide::review::{self, mac_clashes, network_missing};
use crate::decide::upkeep;

use super::{Code, Finding};

/// Finds VMs whose VM networks do not exist or can't be read, stopped ones too, and VMs to run that no
/// host can run, each with the strongest reason.
pub(super) fn placement(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let any_host = snapshot.count(Kind::Host) > 0;
    let mut fits = Fits::new(snapshot);
    for Asking { kind, key, networks, hosts } in asking(snapshot) {
        let fit = fits.of(networks, hosts);
        if let Some(finding) = missing(kind, key, &fit.needs) {
            findings.push(finding);
        } else if any_host && fit.first.is_none() {
            let code = Code::Rule(review::Code::VmNoHost);
            let message = no_host(snapshot, &fit.needs);
            findings.push(Finding::of(code, kind, key, message));
        }
    }
    let stopped = snapshot.vms().filter(|(_, vm)| vm.run != Run::Asked && !vm.deleting);
    findings.extend(
        stopped.filter_map(|(key, vm)| missing(Kind::Vm, key, &Needs::of(snapshot, &vm.networks))),
    );
}

/// `vm-network-missing`, as the rule tells it.
fn missing(kind: Kind, key: &Key, needs: &Needs) -> Option<Finding> {
    let causes: Vec<&Cause> = needs.everywhere.iter().collect();
    let message = network_missing(&causes)?;
    Some(Finding::of(Code::Rule(review::Code::VmNetworkMissing), kind, key, message))
}

/// Why no host can run a VM whose VM networks all exist.
fn no_host(snapshot: &Snapshot, needs: &Needs) -> String {
    let gone: Vec<&Name> =
        needs.cluster_networks.iter().filter(|name| !snapshot.exists(name)).collect();
    if !gone.is_empty() {
        return format!(
            "no host can run this VM: its VM networks are under cluster networks that do not exist: \
             {}; create them, or correct the VM networks",
            list(gone)
        );
    }
    let nowhere = needs.cluster_networks.iter();
    let nowhere: Vec<&Name> =
        nowhere.filter(|name| !snapshot.network(name).is_active_anywhere()).collect();
    if !nowhere.is_empty() {
        return format!(
            "no host can run this VM: cluster networks that it needs are active on no host: {}; \
             bring them up",
            list(nowhere)
        );
    }
    let networks = list(&needs.cluster_networks);
    match needs.active(snapshot) {
        Some(active) if active.is_empty() => format!(
            "no host can run this VM: none has all the cluster networks that it needs: {networks}; \
             bring them up on one host, or choose other VM networks"
        ),
        Some(_) => format!(
            "no host can run this VM: its nodeSelector and required node affinity allow none of the \
             hosts that have the cluster networks it needs: {networks}; change them or the hosts' \
             labels"
        ),
        None => "no host can run this VM: its nodeSelector and required node affinity allow none; \
                 change them or the hosts' labels"
            .to_owned(),
    }
}

/// Finds running VMs on hosts where a cluster network that they use is not active.
pub(super) fn cut_off(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for key in upkeep::all_cut_off(snapshot) {
        let Some(cut_off) = upkeep::cut_off(snapshot, key) else { continue };
        let told = cut_off.from.iter().map(|(host, network, why)| {
            let cause = Cause::Inactive { cluster_network: network.clone(), why: *why };
            format!("{host} ({})", cause.reason())
        });
        let message = format!(
            "this VM runs where it is cut off from cluster networks that it uses: {}; migrate it, \
             or bring the cluster networks up there",
            list(told)
        );
        let hosts: BTreeSet<&Name> = cut_off.from.iter().map(|(host, ..)| host).collect();
        let kind = if snapshot.vm(key).is_some() { Kind::Vm } else { Kind::Vmi };
        findings.push(Finding::of(Code::VmOnInactiveHost, kind, key, message).on(hosts));
    }
}

/// Finds MAC addresses that several interfaces on one cluster network have.
pub(super) fn mac_addresses(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    findings.extend(mac_clashes(snapshot).into_iter().filter_map(|clash| {
        let key = *clash.vms.first()?;
        let message = format!(
            "MAC address {} is used by several interfaces on cluster network {}, of VMs: {}; choose \
             another address for all but one, or stop the others",
            clash.mac,
            clash.cluster_network,
            list(&clash.vms)
        );
        Some(Finding::of(Code::Rule(review::Code::VmMac), Kind::Vm, key, message))
    }));
}
