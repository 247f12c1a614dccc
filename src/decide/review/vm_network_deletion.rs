//! The review of the deletion of a VM network: the rule `nad-in-use`.

use std::collections::BTreeSet;

use crate::cluster::{Key, Snapshot, VmNetwork};

use super::super::names::Audience;
use super::{Code, Judgement, Reviewed, Violation};

/// How the names of the users begin that replace system networks: Harvester's controllers.
const SYSTEM_USERS: &str = "system:serviceaccount:harvester-system:";

/// Judges the deletion by `user`. `audience` reads the messages.
pub fn judge(
    snapshot: &Snapshot,
    old: &Reviewed<VmNetwork>,
    user: &str,
    audience: Audience<'_>,
) -> Judgement {
    Judgement {
        violations: in_use(snapshot, &old.key, audience).into_iter().collect(),
        warnings: system_network_deleted(old, user).into_iter().collect(),
    }
}

/// `nad-in-use`: no running VM uses the VM network, and no VM refers to it, not even a stopped one.
/// While the namespace of the VM network is terminating, its VMs go with it, so only VMIs count.
fn in_use(snapshot: &Snapshot, key: &Key, audience: Audience<'_>) -> Option<Violation> {
    let mut vms: BTreeSet<&Key> = snapshot.vmis_using(key).collect();
    if !key.namespace().is_some_and(|namespace| snapshot.is_terminating(namespace)) {
        vms.extend(snapshot.vms_using(key));
    }
    (!vms.is_empty()).then(|| Violation {
        code: Code::NadInUse,
        field: None,
        message: format!(
            "VM network {key} is still used by VMs: {}; remove it from these VMs and stop them \
             first",
            audience.vms(vms)
        ),
        of_the_object_alone: false,
    })
}

/// The warning to a person who deletes a system network. Its own controller replaces it by delete
/// and create.
fn system_network_deleted(old: &Reviewed<VmNetwork>, user: &str) -> Option<String> {
    let by_person = old.facts.system && !user.starts_with(SYSTEM_USERS);
    by_person.then(|| {
        format!(
            "{} is a system network, which Harvester's controllers manage; change it in \
             Harvester's settings instead",
            old.key
        )
    })
}
