//! The rule `nad-config`: what is wrong with the configuration of a VM network (docs/reference.md,
//! "Admission").

use crate::cluster::{CniConfig, TrunkEntry};

use super::Code;
use super::bounds::MAX_BRIDGE_NAME;
use super::vm_network_version::{CONFIG, Fault, Version, violation};

/// The highest VLAN ID that may be used.
const MAX_VLAN: i64 = 4094;

/// The faults of a configuration for `nad-config`.
pub(super) fn faults(version: &Version<'_>, strict: bool) -> Vec<Fault> {
    let fault = |of: String, message: String| Fault {
        of,
        violation: violation(Code::NadConfig, CONFIG, message, true),
    };
    let is_bridge = version.plugin_bridge().is_some();
    // A bridge under no cluster network is none of ours, whatever its members hold.
    let ignored = is_bridge && version.under.is_none() && !strict;
    let cni = match &version.facts.config {
        _ if ignored => return Vec::new(),
        CniConfig::None => return Vec::new(),
        CniConfig::Unreadable(config) => {
            let message = format!("spec.config can't be read: {}", config.why);
            return vec![fault(config.text.to_string(), message)];
        }
        CniConfig::Is(cni) => cni,
    };
    let mut faults = Vec::new();
    if version.under.is_some() {
        // Each member is a fault, so that one of three may be taken away. They have one message.
        faults.extend(cni.repeated.iter().flat_map(|key| {
            let name = &key.path;
            let message = format!(
                "{name} occurs more than once in spec.config, where case does not distinguish \
                 keys; keep one of them"
            );
            key.members
                .iter()
                .map(move |member| fault(format!("repeated {member}"), message.clone()))
        }));
    }
    if !is_bridge {
        return faults;
    }
    match (cni.bridge_network(), &cni.bridge) {
        (Some(name), Some(bridge)) if bridge.len() > MAX_BRIDGE_NAME => {
            let message = format!(
                "bridge {name}-br has {} characters; choose a name with at most {MAX_BRIDGE_NAME}",
                bridge.len()
            );
            faults.push(fault(format!("long {bridge}"), message));
        }
        (Some(_), _) => {}
        (None, Some(bridge)) => {
            let message = format!(
                "bridge {bridge} belongs to no cluster network; set bridge to <cluster network>-br"
            );
            faults.push(fault(format!("{bridge} of {:?}", version.under), message));
        }
        (None, None) => {
            let message = "no bridge is named; set bridge to <cluster network>-br".to_owned();
            faults.push(fault(format!("no bridge of {:?}", version.under), message));
        }
    }
    if !(0..=MAX_VLAN).contains(&cni.vlan) {
        let message = format!("vlan {} is out of range; use 0 to {MAX_VLAN}", cni.vlan);
        faults.push(fault(format!("vlan {}", cni.vlan), message));
    }
    for (position, entry) in cni.trunk.iter().enumerate() {
        let wrong = trunk_fault(entry);
        faults.extend(
            wrong.map(|why| {
                fault(format!("trunk {entry:?}"), format!("vlanTrunk[{position}] {why}"))
            }),
        );
    }
    if cni.vlan != 0 {
        faults.extend(cni.trunk.iter().map(|entry| {
            let message = "vlan and vlanTrunk can't be set together; remove one of them";
            fault(format!("vlan {} with trunk {entry:?}", cni.vlan), message.to_owned())
        }));
    }
    faults
}

/// What is wrong with an entry of a trunk.
fn trunk_fault(entry: &TrunkEntry) -> Option<String> {
    let TrunkEntry { id, min, max } = *entry;
    let wrong = |vlan: &i64| !(1..=MAX_VLAN).contains(vlan);
    match (min, max) {
        (None, None) if id.is_none() => {
            Some("names no VLAN; set id, or both minID and maxID".to_owned())
        }
        (Some(_), None) | (None, Some(_)) => {
            Some("has only one of minID and maxID; set both".to_owned())
        }
        _ if [id, min, max].iter().flatten().any(wrong) => {
            Some(format!("is not within 1 to {MAX_VLAN}; use VLANs from 1 to {MAX_VLAN}"))
        }
        (Some(min), Some(max)) if min > max => {
            Some(format!("has minID {min} above maxID {max}; make minID the lower one"))
        }
        _ => None,
    }
}
