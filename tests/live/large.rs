//! Large clusters, for a run by hand: `LANEKEEPER_LARGE=1 cargo test --test live -- large::NAME`.
//! They print what they measure.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::fixture::audit::Audit;
use crate::fixture::{Replica, within};
use crate::objects::like;
use crate::waking::{all_labelled, bound_soon, labelled, large_cluster, launch};

const HOUR: Duration = Duration::from_hours(1);

/// A pod needs a network that is active on one of 5,000 hosts, and the scheduler looks at a tenth of
/// them, as it does by default.
pub async fn pods_land_among_5_000_hosts() {
    const HOSTS: usize = 5_000;
    let (mut plane, installed, only) = large_cluster(HOSTS).await;
    let replica = installed.ready_replica("lanekeeper-0").await;
    installed.keep_bundle(&plane).await;
    all_labelled(&plane, HOSTS).await;
    installed.start_scheduler(&mut plane);
    let mut took = Vec::new();
    for number in 0..21 {
        let pod = launch(&plane, &format!("vm-{number}"), &["rare"]).await;
        let (host, time) = bound_soon(&plane, &pod).await;
        assert_eq!(host, only);
        took.push(time);
    }
    let in_order: Vec<_> = took.iter().map(Duration::as_millis).collect();
    eprintln!("{HOSTS} hosts: bound after {in_order:?} ms");
    took.sort_unstable();
    eprintln!(
        "{HOSTS} hosts: median {:?}, largest {:?}",
        took[took.len() / 2],
        took[took.len() - 1]
    );
    print_resources(&replica).await;
}

/// What the replica takes, for the requests and limits of the Deployment.
async fn print_resources(replica: &Replica) {
    let memory = replica.metric("process_resident_memory_bytes", &[]).await;
    let cpu = replica.metric("process_cpu_seconds_total", &[]).await;
    eprintln!("resident memory: {} MiB; CPU since its start: {cpu} s", memory >> 20);
}

async fn fresh_reads(replica: &Replica) -> u64 {
    replica.metric("lanekeeper_fresh_read_duration_seconds_count", &[]).await
}

pub async fn all_of_15_000_hosts_are_relabelled() {
    const HOSTS: usize = 15_000;
    let (plane, installed, _only) = large_cluster(HOSTS).await;
    let audit = Audit::of(plane.folder.path());
    let replica = installed.ready_replica("lanekeeper-0").await;
    installed.register(&plane).await;
    installed.enforced(&plane).await;
    all_labelled(&plane, HOSTS).await;

    let written = audit.writes().len();
    plane.create(&like("ClusterNetwork", "wide")).await;
    let mut config = like("VlanConfig", "wide");
    config["spec"] = json!({"clusterNetwork": "wide", "uplink": {"nics": ["enp2s0"]}});
    plane.create(&config).await;
    let since = Instant::now();
    // A new network config itself has the others listed afresh.
    let read = fresh_reads(&replica).await;
    within(HOUR, "every host to be labelled", async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        (labelled(&plane, "wide").await == HOSTS).then_some(())
    })
    .await;
    let labelled_after = since.elapsed();
    let writes = audit.writes().split_off(written);
    let patches: Vec<_> = writes.iter().filter(|entry| entry.is_labelling()).collect();
    let first = patches.iter().map(|entry| entry.received).min().unwrap();
    let last = patches.iter().map(|entry| entry.answered).max().unwrap();
    eprintln!(
        "{HOSTS} hosts labelled after {labelled_after:?}, by {} patches, {} a second; {} fresh reads",
        patches.len(),
        i64::try_from(patches.len()).unwrap() * 1_000_000 / (last - first),
        fresh_reads(&replica).await - read,
    );
    print_resources(&replica).await;
    assert_eq!(patches.len(), HOSTS, "one for each host");
    assert_eq!(fresh_reads(&replica).await, read, "our own writes caused no fresh read");
}
