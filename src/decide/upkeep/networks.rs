//! Cluster networks: `mgmt`, the condition `ready` and the annotation `uplink-mtu`; and the label
//! `ready` of the VM networks under them.

use std::collections::BTreeSet;

use crate::cluster::{Key, MGMT, Name, Snapshot, UplinkMtu, effective_mtu};
use crate::decide::review::{MAX_MTU, MIN_MTU, vm_network_labels};

use super::values::{ClusterNetworkUpdate, Update};

/// What a cluster network lacks.
pub(super) fn cluster_network(snapshot: &Snapshot, name: &Name) -> Option<Update> {
    let Some(facts) = snapshot.cluster_network(name) else {
        return (**name == *MGMT).then_some(Update::CreateMgmt);
    };
    let ready = snapshot.network(name).is_active_anywhere();
    let ready = (facts.ready != Some(ready)).then_some(ready);
    let uplink_mtu = configured_mtu(snapshot, name).filter(|mtu| match &facts.uplink_mtu {
        UplinkMtu::Is(written) => effective_mtu(*written) != *mtu,
        UplinkMtu::Unset | UplinkMtu::Unreadable(_) => true,
    });
    let update = ClusterNetworkUpdate { name: name.clone(), ready, uplink_mtu };
    (ready.is_some() || uplink_mtu.is_some()).then_some(Update::ClusterNetwork(update))
}

/// The MTU of a cluster network's network configs, if there are any and they agree. While they
/// differ, an administrator is changing it step by step. Records of `mgmt` do not count, nor does an MTU
/// that `cn-mtu` refuses.
fn configured_mtu(snapshot: &Snapshot, name: &Name) -> Option<i64> {
    let mtus: BTreeSet<i64> =
        snapshot.configs_of(name).map(|(_, config, _)| config.options.effective_mtu()).collect();
    let in_range = |mtu: &i64| (MIN_MTU..=MAX_MTU).contains(mtu);
    mtus.first().copied().filter(|mtu| mtus.len() == 1 && in_range(mtu))
}

/// The label `ready` of a VM network, if it is missing or differs from what the mutating webhook
/// would set.
pub(super) fn vm_network(snapshot: &Snapshot, key: &Key) -> Option<Update> {
    let facts = snapshot.vm_network(key)?;
    let labels = vm_network_labels(snapshot, facts);
    let wanted = labels.into_iter().find(|(name, _)| *name == "ready")?.1?;
    let ready = wanted.parse().ok()?;
    (facts.ready != Some(ready)).then(|| Update::VmNetworkReady { vm_network: key.clone(), ready })
}
