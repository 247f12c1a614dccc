//! The review of a cluster network: every `cn-*` rule, one function each (docs/reference.md,
//! "Admission").

use std::collections::BTreeSet;

use crate::cluster::{
    ClusterNetwork, DEFAULT_MTU, Key, MGMT, Name, Snapshot, UplinkMtu, effective_mtu,
};

use super::super::names::list;
use super::bounds::{MAX_BRIDGE_NAME, MAX_MTU, MAX_NAME, MIN_MTU, mtu_in_range};
use super::{Code, Judgement, Reviewed, Scope, Violation, Write};

/// What must be read afresh: for a delete, what uses the cluster network.
#[must_use]
pub fn scope(write: &Write<ClusterNetwork>) -> Scope {
    let users_of = match write {
        Write::Delete(old) => Some(old.name().clone()),
        _ => None,
    };
    Scope { users_of, ..Scope::default() }
}

/// Judges the change. `trusted` says whether a trusted user makes the change.
pub fn judge(snapshot: &Snapshot, write: &Write<ClusterNetwork>, trusted: bool) -> Judgement {
    let mut judgement = Judgement::default();
    let violations = &mut judgement.violations;
    match write {
        Write::Create(new) => {
            violations.extend(name(new.name()));
            violations.extend(mtu_form(&new.facts));
        }
        Write::Update { new, .. } if new.deleting => {}
        Write::Update { old, new } if old.facts == new.facts => {}
        Write::Update { old, new } => {
            violations.extend(mtu_form(&new.facts).or_else(|| {
                if &**new.name() == MGMT {
                    mgmt_mtu(snapshot, old, new)
                } else {
                    mtu_change(snapshot, old, new)
                }
            }));
        }
        Write::Delete(old) => {
            violations.extend((!trusted).then(|| mgmt_delete(old.name())).flatten());
            violations.extend(in_use(snapshot, old.name()));
        }
    }
    judgement
}

/// The violations that a cluster network has as it stands, by itself.
pub(in crate::decide) fn standing(of: &Name, facts: &ClusterNetwork) -> Vec<Violation> {
    name(of).into_iter().chain(mtu_form(facts)).collect()
}

/// `cn-name`: the name is a lower-case DNS label of at most 12 characters.
fn name(name: &Name) -> Option<Violation> {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = name.bytes().all(|c| inner(c) || c == b'-')
        && name.bytes().next().is_some_and(inner)
        && name.bytes().last().is_some_and(inner);
    if name.is_empty() {
        return Some(Violation {
            code: Code::CnName,
            field: Some("metadata.name".into()),
            message: "metadata.name is empty; name the cluster network".to_owned(),
            of_the_object_alone: true,
        });
    }
    let fault = if name.len() > MAX_NAME {
        format!("has {} characters", name.len())
    } else if is_label {
        return None;
    } else {
        "is not a lower-case DNS label".to_owned()
    };
    Some(Violation {
        code: Code::CnName,
        field: Some("metadata.name".into()),
        message: format!(
            "the name {name} {fault}; use at most {MAX_NAME} lower-case letters, digits and inner \
             hyphens, since the bridge {name}-br may have at most {MAX_BRIDGE_NAME} characters"
        ),
        of_the_object_alone: true,
    })
}

/// `cn-mgmt-delete`: `mgmt` can't be deleted.
fn mgmt_delete(name: &Name) -> Option<Violation> {
    (&**name == MGMT).then(|| Violation {
        code: Code::CnMgmtDelete,
        field: None,
        message: "cluster network mgmt is built in and can't be deleted".to_owned(),
        of_the_object_alone: false,
    })
}

/// `cn-in-use`: a cluster network with network configs, VM networks or host network configs can't be
/// deleted.
fn in_use(snapshot: &Snapshot, name: &Name) -> Option<Violation> {
    let configs: Vec<&Name> = snapshot.configs_naming(name).collect();
    let vm_networks: Vec<&Key> = snapshot.vm_networks_of(name).map(|(key, _)| key).collect();
    let mut users = Vec::new();
    if !configs.is_empty() {
        users.push(format!("network configs: {}", list(configs)));
    }
    if !vm_networks.is_empty() {
        users.push(format!("VM networks: {}", list(vm_networks)));
    }
    let host_networks: Vec<&Name> =
        snapshot.host_networks_of(name).map(|(config, _)| config).collect();
    if !host_networks.is_empty() {
        users.push(format!("host network configs: {}", list(host_networks)));
    }
    (!users.is_empty()).then(|| Violation {
        code: Code::CnInUse,
        field: None,
        message: format!(
            "cluster network {name} is still used by {}. Delete them first",
            users.join("; ")
        ),
        of_the_object_alone: false,
    })
}

fn mtu(message: String, of_the_object_alone: bool) -> Violation {
    Violation {
        code: Code::CnMtu,
        field: Some("metadata.annotations[network.harvesterhci.io/uplink-mtu]".into()),
        message,
        of_the_object_alone,
    }
}

/// `cn-mtu`, first part: `uplink-mtu` is 0 or in the range 576 to 9000.
fn mtu_form(facts: &ClusterNetwork) -> Option<Violation> {
    let written = match &facts.uplink_mtu {
        UplinkMtu::Is(mtu) if !mtu_in_range(*mtu) => mtu.to_string(),
        UplinkMtu::Unreadable(text) => format!("{text:?}"),
        _ => return None,
    };
    let message =
        format!("uplink-mtu {written} is not valid; use 0 or a number from {MIN_MTU} to {MAX_MTU}");
    Some(mtu(message, true))
}

/// `cn-mtu`, second part: a changed or removed `uplink-mtu` equals the MTU of all network configs.
/// A removed one counts as 1500.
fn mtu_change(
    snapshot: &Snapshot,
    old: &Reviewed<ClusterNetwork>,
    new: &Reviewed<ClusterNetwork>,
) -> Option<Violation> {
    let (written, change) = match (&old.facts.uplink_mtu, &new.facts.uplink_mtu) {
        (UplinkMtu::Is(before), UplinkMtu::Is(after))
            if effective_mtu(*before) == effective_mtu(*after) =>
        {
            return None;
        }
        (_, UplinkMtu::Is(mtu)) => (*mtu, format!("uplink-mtu {mtu}")),
        (_, UplinkMtu::Unset) => {
            (DEFAULT_MTU, format!("MTU {DEFAULT_MTU}, which a removed uplink-mtu stands for,"))
        }
        (_, UplinkMtu::Unreadable(_)) => return None,
    };
    let name = new.name();
    let configs: Vec<(&Name, i64)> = snapshot.config_mtus(name).collect();
    let mtus: BTreeSet<i64> = configs.iter().map(|(_, mtu)| *mtu).collect();
    if mtus.is_empty() || mtus.len() == 1 && mtus.contains(&effective_mtu(written)) {
        return None;
    }
    let named = list(configs.iter().map(|(config, mtu)| format!("{config} ({mtu})")));
    Some(mtu(
        if mtus.len() == 1 {
            format!(
                "{change} differs from the MTU of the network configs of cluster network {name}: \
                 {named}; change their MTU first"
            )
        } else {
            format!(
                "uplink-mtu can't be changed or removed while the network configs of cluster \
                 network {name} have different MTUs: {named}; give them the same MTU first"
            )
        },
        false,
    ))
}

/// `cn-mtu`, third part: the MTU of `mgmt` changes only while no running VM and no system network
/// uses `mgmt`.
fn mgmt_mtu(
    snapshot: &Snapshot,
    old: &Reviewed<ClusterNetwork>,
    new: &Reviewed<ClusterNetwork>,
) -> Option<Violation> {
    let effective = |version: &Reviewed<ClusterNetwork>| match version.facts.uplink_mtu {
        UplinkMtu::Is(mtu) => Some(effective_mtu(mtu)),
        UplinkMtu::Unset => Some(DEFAULT_MTU),
        UplinkMtu::Unreadable(_) => None,
    };
    if effective(old) == effective(new) {
        return None;
    }
    let under: Vec<_> = snapshot.vm_networks_of(new.name()).collect();
    let system: Vec<&Key> =
        under.iter().filter(|(_, facts)| facts.system).map(|(key, _)| *key).collect();
    let vms: BTreeSet<&Key> = under.iter().flat_map(|(key, _)| snapshot.vmis_using(key)).collect();
    let remedy = match (vms.is_empty(), system.is_empty()) {
        (true, true) => return None,
        (false, true) => "Stop the VMs first",
        (true, false) => "Move the system networks first",
        (false, false) => "Stop the VMs and move the system networks first",
    };
    let mut users = Vec::new();
    if !vms.is_empty() {
        users.push(format!("running VMs: {}", list(vms)));
    }
    if !system.is_empty() {
        users.push(format!("system networks: {}", list(system)));
    }
    let message = format!(
        "the MTU of cluster network mgmt can't be changed while mgmt is used by {}. {remedy}",
        users.join("; ")
    );
    Some(mtu(message, false))
}
