//! What the mutating webhook changes in a VM network (docs/reference.md, "Mutation").

use crate::cluster::{Snapshot, VmNetwork};

use super::vm_network::network_mtu;

/// The MTU to set in a VM network, if it has to change. On create, the cluster network's is filled
/// in where there is none, and replaces a higher one; with `--strict-vm-networks`, it replaces any
/// other. On update, it is only filled in, if the old version had it: a manifest that is applied
/// again lacks what was filled in before.
#[must_use]
pub fn mtu_to_set(snapshot: &Snapshot, new: &VmNetwork, old: Option<&VmNetwork>) -> Option<i64> {
    let cni = new.bridge()?;
    let mtu = network_mtu(snapshot, &snapshot.cluster_network_of(new)?)?;
    let had_it = |old: &VmNetwork| old.bridge().is_some_and(|old| old.effective_mtu() == mtu);
    let may_set = match old {
        None => cni.mtu == 0 || cni.mtu > mtu || snapshot.options().strict_vm_networks,
        Some(old) => cni.mtu == 0 && had_it(old),
    };
    (may_set && cni.effective_mtu() != mtu).then_some(mtu)
}

/// The labels that a VM network should have, without their prefix and in a fixed order; `None` for
/// one that it should not have. Only a bridge under a cluster network and an overlay network get
/// labels.
#[must_use]
pub fn labels(snapshot: &Snapshot, facts: &VmNetwork) -> Vec<(&'static str, Option<String>)> {
    let Some(cni) = facts.cni() else { return Vec::new() };
    if &*cni.kind == "kube-ovn" {
        return vec![("type", Some("OverlayNetwork".to_owned()))];
    }
    let Some(name) = snapshot.cluster_network_of(facts).filter(|_| cni.is_bridge()) else {
        return Vec::new();
    };
    let (kind, vlan) = if !cni.trunk.is_empty() {
        ("L2VlanTrunkNetwork", None)
    } else if cni.vlan != 0 {
        ("L2VlanNetwork", Some(cni.vlan.to_string()))
    } else {
        ("UntaggedNetwork", None)
    };
    let active = snapshot.network(&name).is_active_anywhere();
    vec![
        ("clusternetwork", Some(name.to_string())),
        ("type", Some(kind.to_owned())),
        ("vlan-id", vlan),
        ("ready", Some(active.to_string())),
    ]
}
