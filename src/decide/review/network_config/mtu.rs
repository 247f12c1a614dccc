//! The rule `vc-mtu`.

use std::collections::BTreeMap;

use crate::cluster::{Name, NetworkConfig, UplinkMtu, effective_mtu};
use crate::decide::names::list;
use crate::decide::review::bounds::{MAX_MTU, MIN_MTU, mtu_in_range};
use crate::decide::review::{Code, Reviewed, Violation};

use super::change::Review;

/// The result of the rule `vc-mtu`.
pub(super) enum Mtu {
    Fine,
    Warning(String),
    Wrong(Violation),
}

impl Review<'_> {
    /// `vc-mtu`: the MTU is 0 or in the range 576 to 9000, and all network configs of a cluster
    /// network have the same MTU. While nothing uses the cluster network, its network configs may
    /// be changed one after the other.
    pub(super) fn mtu(&self) -> Mtu {
        let Some(new) = self.new else { return Mtu::Fine };
        let options = &new.facts.options;
        let (mtu, effective) = (options.mtu, options.effective_mtu());
        let unchanged =
            |old: &Reviewed<NetworkConfig>| old.facts.options.effective_mtu() == effective;
        if self.old_of_same_network().is_some_and(unchanged) {
            return Mtu::Fine;
        }
        let violation = |message: String, of_the_object_alone: bool| {
            Mtu::Wrong(Violation {
                code: Code::VcMtu,
                field: Some("spec.uplink.linkAttributes.mtu".into()),
                message,
                of_the_object_alone,
            })
        };
        let name = &new.facts.cluster_network;
        let differing = |effective: i64| -> BTreeMap<&Name, i64> {
            self.snapshot
                .config_mtus(name)
                .filter(|(sibling, mtu)| *sibling != new.name() && *mtu != effective)
                .collect()
        };
        let differ = differing(effective);
        // An update that brings the MTU nearer to the siblings' takes a part of the fault away.
        let nearer = self.old_of_same_network().is_some_and(|old| {
            let before = differing(old.facts.options.effective_mtu());
            differ.len() < before.len() && differ.keys().all(|name| before.contains_key(name))
        });
        let siblings: Vec<String> =
            differ.into_iter().map(|(sibling, mtu)| format!("{sibling} ({mtu})")).collect();
        let in_range = mtu_in_range(mtu);
        if !in_range && !self.old.is_some_and(unchanged) {
            // That such an MTU also differs from the siblings' is no separate violation.
            let mut message =
                format!("MTU {mtu} is not valid; use 0 or a number from {MIN_MTU} to {MAX_MTU}");
            if !siblings.is_empty() {
                message.push_str(". The MTU of other network configs of the cluster network: ");
                message.push_str(&list(siblings));
            }
            return violation(message, true);
        }
        if siblings.is_empty() {
            return self.differs_from_annotation(new).map_or(Mtu::Fine, Mtu::Warning);
        }
        let siblings = list(siblings);
        if nearer || self.old_of_same_network().is_some() && !self.in_use(name) {
            return Mtu::Warning(format!(
                "MTU {effective} differs from the MTU of other network configs of cluster network \
                 {name}, which are still to be changed: {siblings}"
            ));
        }
        violation(
            format!(
                "MTU {effective} differs from the MTU of other network configs of cluster network \
                 {name}: {siblings}; use the same MTU. To change it, update one network config \
                 after the other while no running VM and no system network uses the cluster network"
            ),
            false,
        )
    }

    /// The warning about the first network config of a cluster network whose `uplink-mtu` is another
    /// one. VM networks are checked against `uplink-mtu`.
    fn differs_from_annotation(&self, new: &Reviewed<NetworkConfig>) -> Option<String> {
        let name = &new.facts.cluster_network;
        let mtu = new.facts.options.effective_mtu();
        let is_first =
            !self.update && self.snapshot.configs_of(name).all(|(other, ..)| other == new.name());
        let facts = self.snapshot.cluster_network(name).filter(|_| is_first)?;
        let UplinkMtu::Is(written) = facts.uplink_mtu else { return None };
        if !mtu_in_range(written) {
            return None;
        }
        (effective_mtu(written) != mtu).then(|| {
            format!(
                "MTU {mtu} differs from the uplink-mtu of cluster network {name}, which is \
                 {written}; set the MTU to {written}, or correct the annotation afterwards"
            )
        })
    }

    /// Returns whether a running VM or a system network uses the cluster network.
    fn in_use(&self, cluster_network: &Name) -> bool {
        self.snapshot.vm_networks_of(cluster_network).any(|(key, vm_network)| {
            vm_network.system || self.snapshot.vmis_using(key).next().is_some()
        })
    }
}
