//! The review of a host's labels, the `node-*` rules: new labels may neither take a cluster network
//! from a running VM nor let two network configs of a cluster network cover the host
//! (docs/reference.md, "Admission").

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Host, Key, Name, NetworkConfig, Snapshot};

use super::super::names::list;
use super::in_place::possibly_in_place;
use super::{Code, Judgement, Reviewed, Scope, Violation, Write};

/// The network configs that cover a host, by cluster network.
type Covering<'s> = BTreeMap<&'s Name, BTreeMap<&'s Name, &'s NetworkConfig>>;

/// The old and new versions, if labels change: nothing else is judged.
fn relabelled(write: &Write<Host>) -> Option<(&Reviewed<Host>, &Reviewed<Host>)> {
    match write {
        Write::Update { old, new } if !new.deleting && old.facts != new.facts => Some((old, new)),
        _ => None,
    }
}

/// What must be read afresh: the VMs on the host, if its labels change which network configs cover
/// the host.
#[must_use]
pub fn scope(snapshot: &Snapshot, write: &Write<Host>) -> Scope {
    let coverage_changes = relabelled(write)
        .filter(|(old, new)| covering(snapshot, &old.facts) != covering(snapshot, &new.facts));
    let host = coverage_changes.map(|(_, new)| new.name().clone());
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
    for (name, facts) in snapshot.configs_covering(host) {
        covering.entry(&facts.cluster_network).or_default().insert(name, facts);
    }
    covering
}

/// `node-running-vms`: no running VM loses a cluster network or gets another uplink for one.
fn running_vms(
    snapshot: &Snapshot,
    host: &Name,
    before: &Covering<'_>,
    after: &Covering<'_>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (network, configs) in before {
        let effect = match after.get(network) {
            Some(now) if stays(snapshot, network, host, configs, now) => continue,
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
            field: Some("metadata.labels".into()),
            message: format!(
                "with these labels, {host} would {effect} cluster network {network}, which \
                 running VMs use: {}; stop or migrate them first",
                list(vms)
            ),
            of_the_object_alone: false,
        });
    }
    violations
}

/// Returns whether the uplink that is in place stays, as far as can be told: its network config still
/// covers the host, or all that cover it now make the same uplink.
fn stays(
    snapshot: &Snapshot,
    network: &Name,
    host: &Name,
    before: &BTreeMap<&Name, &NetworkConfig>,
    now: &BTreeMap<&Name, &NetworkConfig>,
) -> bool {
    let covering: Vec<&Name> = before.keys().copied().collect();
    possibly_in_place(snapshot, network, host, &covering).into_iter().all(|in_place| {
        let was = before.get(in_place);
        now.contains_key(in_place)
            || was.is_some_and(|was| now.values().all(|facts| was.same_uplink(facts)))
    })
}

/// `node-overlap`: no two network configs of one cluster network cover the host, unless they did so
/// before.
fn overlap(before: &Covering<'_>, after: &Covering<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (network, configs) in after.iter().filter(|(_, configs)| configs.len() > 1) {
        let was = before.get(network);
        if configs.keys().all(|name| was.is_some_and(|was| was.contains_key(name))) {
            continue;
        }
        violations.push(Violation {
            code: Code::NodeOverlap,
            field: Some("metadata.labels".into()),
            message: format!(
                "with these labels, more than one network config of cluster network {network} \
                 would cover the host: {}; change a label or a nodeSelector",
                list(configs.keys())
            ),
            of_the_object_alone: false,
        });
    }
    violations
}
