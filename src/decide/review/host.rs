//! The review of a host's labels: they may not pull a network from under a running VM, nor put the
//! host under two network configs (docs/reference.md, "Admission", `node-*`).

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Host, Key, Name, NetworkConfig, Snapshot};

use super::super::names::list;
use super::{Code, Judgement, Reviewed, Scope, Violation, Write};

/// The configs that cover a host, by cluster network.
type Covering<'s> = BTreeMap<&'s Name, BTreeMap<&'s Name, &'s NetworkConfig>>;

/// A change of labels; nothing else is judged.
fn relabelled(write: &Write<Host>) -> Option<(&Reviewed<Host>, &Reviewed<Host>)> {
    match write {
        Write::Update { old, new } if !new.deleting && old.facts != new.facts => Some((old, new)),
        _ => None,
    }
}

/// What must be read afresh: the VMs on the host, where the labels change what covers it.
#[must_use]
pub fn scope(snapshot: &Snapshot, write: &Write<Host>) -> Scope {
    let covered_otherwise = relabelled(write)
        .filter(|(old, new)| covering(snapshot, &old.facts) != covering(snapshot, &new.facts));
    let host = covered_otherwise.map(|(_, new)| new.name().clone());
    Scope { running_vms_on: host.into_iter().collect(), ..Scope::default() }
}

/// Judges the change.
pub fn judge(snapshot: &Snapshot, write: &Write<Host>) -> Judgement {
    let mut judgement = Judgement::default();
    let Some((old, new)) = relabelled(write) else { return judgement };
    let before = covering(snapshot, &old.facts);
    let after = covering(snapshot, &new.facts);
    judgement.violations.extend(running_vms(snapshot, new.name(), &before, &after));
    judgement.violations.extend(overlap(&before, &after));
    judgement
}

fn covering<'s>(snapshot: &'s Snapshot, host: &Host) -> Covering<'s> {
    let mut covering = Covering::new();
    for (name, facts, _) in snapshot.configs().filter(|(_, facts, _)| facts.covers(host)) {
        covering.entry(&facts.cluster_network).or_default().insert(name, facts);
    }
    covering
}

/// `node-running-vms`: no running VM loses a cluster network, or gets it by another uplink.
fn running_vms(
    snapshot: &Snapshot,
    host: &Name,
    before: &Covering<'_>,
    after: &Covering<'_>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (network, configs) in before {
        // It stays as it is by any config that makes the same uplink, itself above all.
        let stays = |now: &BTreeMap<&Name, &NetworkConfig>| {
            now.values().any(|facts| configs.values().any(|was| was.same_uplink(facts)))
        };
        let effect = match after.get(network) {
            Some(now) if stays(now) => continue,
            Some(_) => "get another uplink for",
            None => "lose",
        };
        let vms: BTreeSet<&Key> =
            snapshot.vmis_on(host).filter(|vm| snapshot.uses(vm, network)).collect();
        if vms.is_empty() {
            continue;
        }
        violations.push(Violation {
            code: Code::NodeRunningVms,
            field: Some("metadata.labels"),
            message: format!(
                "with these labels {host} would {effect} cluster network {network} under running \
                 VMs; stop or move them first: {}",
                list(vms)
            ),
            of_the_object_alone: false,
        });
    }
    violations
}

/// `node-overlap`: the host is under no two configs of one cluster network, unless it was before.
fn overlap(before: &Covering<'_>, after: &Covering<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (network, configs) in after.iter().filter(|(_, configs)| configs.len() > 1) {
        let was = before.get(network);
        if configs.keys().all(|name| was.is_some_and(|was| was.contains_key(name))) {
            continue;
        }
        violations.push(Violation {
            code: Code::NodeOverlap,
            field: Some("metadata.labels"),
            message: format!(
                "with these labels the host would be under more than one network config of cluster \
                 network {network}: {}; change a label or a nodeSelector",
                list(configs.keys())
            ),
            of_the_object_alone: false,
        });
    }
    violations
}
