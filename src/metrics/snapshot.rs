//! Gauges of the snapshot, computed at scrape time.

use std::time::Duration;

use prometheus::Error;

use crate::cluster::{Kind, MGMT, Name, Snapshot};
use crate::decide::feasible::unschedulable;
use crate::decide::upkeep::count_cut_off;

use super::registry::Registry;

/// Sets all gauges of the snapshot.
pub(super) fn gauges(
    registry: &Registry,
    snapshot: &Snapshot,
    age: Duration,
    took: Duration,
) -> Result<(), Error> {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let objects = registry.gauges("objects", "Known objects, by kind.", "kind")?;
    let problems = registry.gauges(
        "problems",
        "Problems, by the kind of object; source for files and directories.",
        "kind",
    )?;
    for kind in Kind::ALL {
        let count = number(snapshot.count(kind));
        objects.with_label_values(&[kind.kubernetes()]).set(count);
        problems.with_label_values(&[kind.kubernetes()]).set(0);
    }
    problems.with_label_values(&["source"]).set(0);
    for problem in &snapshot.problems() {
        let kind = problem.object.as_ref().map_or("source", |object| object.kind.kubernetes());
        problems.with_label_values(&[kind]).inc();
    }
    let active_hosts = registry.gauges(
        "cluster_network_active_hosts",
        "Hosts on which a cluster network is active.",
        "cluster_network",
    )?;
    // It exists even if its object is missing.
    let has_mgmt = snapshot.cluster_networks().any(|name| **name == *MGMT);
    let mgmt = (!has_mgmt).then(|| Name::from(MGMT));
    for name in snapshot.cluster_networks().chain(&mgmt) {
        let active = snapshot.network(name).active().map(|hosts| hosts.len());
        let active = active.unwrap_or_else(|| snapshot.count(Kind::Host));
        active_hosts.with_label_values(&[name]).set(number(active));
    }
    registry
        .gauge(
            "vms_on_inactive_host",
            "Running VMs on a host where a cluster network that they use is not active.",
        )?
        .set(number(count_cut_off(snapshot)));
    registry
        .gauge("vms_unschedulable", "VMs that are asked to run and that no known host can run.")?
        .set(number(unschedulable(snapshot)));
    registry
        .seconds("snapshot_age_seconds", "Time since the last change took effect.")?
        .set(age.as_secs_f64());
    registry
        .seconds("snapshot_rebuild_seconds", "Time that the last change took to take effect.")?
        .set(took.as_secs_f64());
    Ok(())
}
