//! Beside Harvester's agent and manager, which keep host labels, cluster networks and VM networks.

use std::time::Duration;

use serde_json::json;

use crate::fixture::audit::{self, Audit, Entry};
use crate::fixture::harvester::Harvester;
use crate::fixture::{ControlPlane, Installed, until};
use crate::objects::like;
use crate::waking::{bound_soon, launch};

/// How long nobody may have anything to put right.
const WATCHED: Duration = Duration::from_mins(1);

/// Whether a write of ours is of a kind that Harvester keeps.
fn is_harvesters(entry: &Entry) -> bool {
    let resource = entry.resource.as_str();
    entry.is_labelling()
        || ["clusternetworks", "vlanconfigs", "vlanstatuses", "network-attachment-definitions"]
            .contains(&resource)
}

pub async fn nothing_of_ours_fights_harvesters_controllers() {
    let mut plane = ControlPlane::prepared(|path, _| audit::arguments(path)).await;
    let installed = Installed::at_once(&plane, &["--overlay", "harvester"]).await;
    plane.install_foreign_kinds().await;
    let _replica = installed.ready_replica("lanekeeper-0").await;
    installed.enforced(&plane).await;
    plane.apply_examples().await;
    let audit = Audit::of(plane.folder.path());
    let ours = || -> Vec<Entry> { audit.writes().into_iter().filter(is_harvesters).collect() };
    // Where Harvester has not done its part yet, we don't do it.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(ours().is_empty(), "{:#?}", ours());

    let harvester = Harvester::start(&plane).await;
    harvester.settled().await;
    installed.start_scheduler(&mut plane);
    let pod = launch(&plane, "vm1", &["vm-network-b", "vm-network-c"]).await;
    assert_eq!(bound_soon(&plane, &pod).await.0, "host2");
    plane.delete(&pod).await;
    plane.delete(&like("VirtualMachineInstance", "vm1")).await;

    // An administrator changes a config, a host's labels and a VM network, and each of these writes
    // of Harvester's follows once.
    let config = plane.get(&like("VlanConfig", "network-config-c")).await.unwrap();
    until("the config's delete to be admitted", async || plane.try_delete(&config).await.ok())
        .await;
    until("the config to be gone", async || plane.get(&config).await.is_none().then_some(())).await;
    let waits = launch(&plane, "waits", &["vm-network-c"]).await;
    let mut again = like("VlanConfig", "network-config-c");
    again["spec"] = config["spec"].clone();
    until("its statuses to be gone", async || plane.try_apply(&again).await.ok()).await;
    let rack = json!({"metadata": {"labels": {"example.com/rack": "r1"}}});
    plane.merge(&like("Node", "host3"), rack).await;
    let (_, waited) = bound_soon(&plane, &waits).await;
    harvester.settled().await;
    let before = audit.writes().len();
    tokio::time::sleep(WATCHED).await;
    let (writes, errors) = (harvester.writes(), harvester.errors());
    eprintln!(
        "in {WATCHED:?}: Harvester wrote {}, was refused {}, we wrote {}; a pod waited {waited:?}",
        writes.len(),
        errors.len(),
        audit.writes().len() - before
    );
    assert!(writes.is_empty() && errors.is_empty(), "{writes:#?}\n{errors:#?}");
    assert!(ours().is_empty(), "{:#?}", ours());
    assert_eq!(audit.writes().len(), before, "nothing changed, so there was nothing to write");
}
