//! The rule `vc-bond`.

use crate::cluster::BondOptions;
use crate::decide::names::list;
use crate::decide::review::{Code, Violation};

use super::change::Review;

const LACP: &str = "802.3ad";
/// The modes in which a bond chooses a NIC for each packet by a hash.
const HASHING: [&str; 3] = ["balance-xor", LACP, "balance-tlb"];

/// Returns whether a bond option works with a mode.
#[must_use]
pub fn works_with(option: &str, mode: &str) -> bool {
    match option {
        "lacpRate" | "adSelect" => mode == LACP,
        "xmitHashPolicy" => HASHING.contains(&mode),
        _ => true,
    }
}

impl Review<'_> {
    /// `vc-bond`: the bond options fit each other.
    pub(super) fn bond(&self) -> Vec<Violation> {
        let Some(new) = self.new else { return Vec::new() };
        // A fault's text names the options at fault, so a text that the old version gives too is of
        // an old fault.
        let before = self.old.map(|old| faults(&old.facts.options.bond)).unwrap_or_default();
        faults(&new.facts.options.bond)
            .into_iter()
            .filter(|fault| !before.contains(fault))
            .map(|message| Violation {
                code: Code::VcBond,
                field: Some("spec.uplink.bondOptions".into()),
                message,
                of_the_object_alone: true,
            })
            .collect()
    }
}

/// The faults of bond options, in a fixed order.
fn faults(bond: &BondOptions) -> Vec<String> {
    let BondOptions {
        mode,
        miimon,
        xmit_hash_policy,
        lacp_rate,
        ad_select,
        arp_interval,
        arp_ip_targets,
        arp_validate,
        arp_all_targets: _,
    } = bond;
    let mut faults = Vec::new();
    let has_arp = *arp_interval > 0;
    if has_arp && *miimon > 0 {
        faults.push(format!(
            "miimon {miimon} and arpInterval {arp_interval} exclude each other; remove one of them"
        ));
    }
    if has_arp && **mode == *LACP {
        faults
            .push(format!("arpInterval {arp_interval} does not work with mode {LACP}; use miimon"));
    }
    if has_arp && arp_ip_targets.is_empty() {
        faults.push(format!(
            "arpInterval {arp_interval} needs at least one address in arpIpTargets; add one"
        ));
    }
    if !has_arp && **arp_validate != *"none" {
        faults.push(format!(
            "arpValidate {arp_validate} needs an arpInterval greater than 0; set one, or remove \
             arpValidate"
        ));
    }
    for (name, value) in [("lacpRate", lacp_rate), ("adSelect", ad_select)] {
        if let Some(value) = value.as_ref().filter(|_| !works_with(name, mode)) {
            faults.push(format!(
                "{name} {value} works only with mode {LACP}, and the mode is {mode}; remove {name}"
            ));
        }
    }
    if let Some(policy) = xmit_hash_policy.as_ref().filter(|_| !works_with("xmitHashPolicy", mode))
    {
        faults.push(format!(
            "xmitHashPolicy {policy} works only with the modes {}, and the mode is {mode}; remove \
             xmitHashPolicy",
            list(HASHING)
        ));
    }
    faults
}
