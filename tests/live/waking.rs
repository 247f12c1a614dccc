//! Pods that wait for a host, and what wakes them. The scheduler itself would try them again after
//! five minutes.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::controller::cluster;
use crate::fixture::audit::{self, Audit};
use crate::fixture::{ControlPlane, Installed, until, within};
use crate::objects::{launcher_pod, like, node_status, vmi};
use crate::source::active;

/// How long a pod may wait once it could run: far less than the scheduler's five minutes.
const SOON: Duration = Duration::from_mins(1);

/// The launcher pod of a new VMI.
pub async fn launch(plane: &ControlPlane, name: &str, vm_networks: &[&str]) -> Value {
    let vmi = plane.create(&vmi(name, vm_networks)).await;
    plane.create(&launcher_pod(&vmi)).await
}

/// Waits until the scheduler has found no host for a pod, and has given up its first tries.
async fn is_waiting(plane: &ControlPlane, pod: &Value) {
    until("the pod to be unschedulable", async || {
        let pod = plane.get(pod).await?;
        let conditions = pod["status"]["conditions"].as_array()?.clone();
        conditions.iter().any(|it| it["reason"] == "Unschedulable").then_some(())
    })
    .await;
    // The scheduler tries a rejected pod once more by itself, because its status changed.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(plane.host_of(pod).await, None);
}

/// Waits until a pod is bound, which must be soon. Returns where, and after how long.
pub async fn bound_soon(plane: &ControlPlane, pod: &Value) -> (String, Duration) {
    let since = Instant::now();
    let name = pod["metadata"]["name"].as_str().unwrap();
    let what = format!("{name} to be bound");
    let host = within(SOON, &what, async || plane.host_of(pod).await).await;
    (host, since.elapsed())
}

/// A VlanStatus of cluster-a.
fn uplink(host: &str, ready: bool) -> Value {
    let config = if host == "host0" { "network-config-a" } else { "network-config-b" };
    let mut status = like("VlanStatus", &format!("cluster-a-{host}"));
    status["status"] = json!({
        "clusterNetwork": "cluster-a", "vlanConfig": config, "node": host, "linkMonitor": "",
        "conditions": [{"type": "ready", "status": if ready { "True" } else { "False" }}],
    });
    status
}

pub async fn waiting_pods_run_seconds_after_they_can() {
    // With host labels kept by us, whose changes wake pods too, and without.
    for arguments in [&[][..], &["--overlay", "harvester"]] {
        wake_after_each_change(arguments).await;
    }
}

async fn wake_after_each_change(arguments: &[&str]) {
    let (mut plane, installed, replica) = cluster(arguments).await;
    installed.start_scheduler(&mut plane);
    let known = async |cluster_network: &str, hosts: u64| {
        until("what an answer depends on to be known", async || {
            (active(&replica.program, cluster_network).await == hosts).then_some(())
        })
        .await;
    };
    // Harvester's overlay takes an uplink as ready only once it is reported.
    for host in ["host0", "host1", "host2"] {
        plane.apply(&uplink(host, true)).await;
    }

    // A network config comes, and with it vm1's only host.
    let config = plane.get(&like("VlanConfig", "network-config-c")).await.unwrap();
    plane.delete(&config).await;
    known("cluster-b", 0).await;
    let pod = launch(&plane, "vm1", &["vm-network-b", "vm-network-c"]).await;
    is_waiting(&plane, &pod).await;
    let mut again = like("VlanConfig", "network-config-c");
    again["spec"] = config["spec"].clone();
    plane.create(&again).await;
    let mut status = like("VlanStatus", "cluster-b-host2");
    status["status"] = uplink("host2", true)["status"].clone();
    status["status"]["clusterNetwork"] = json!("cluster-b");
    status["status"]["vlanConfig"] = json!("network-config-c");
    plane.create(&status).await;
    let (host, after_config) = bound_soon(&plane, &pod).await;
    assert_eq!(host, "host2");

    // A VM network is made after the VM.
    let pod = launch(&plane, "early", &["late-network"]).await;
    is_waiting(&plane, &pod).await;
    let mut network = like("NetworkAttachmentDefinition", "late-network");
    network["spec"] = json!({"config": r#"{"type":"bridge","bridge":"cluster-a-br","vlan":9}"#});
    plane.create(&network).await;
    let (host, after_network) = bound_soon(&plane, &pod).await;
    assert!(["host0", "host1", "host2"].contains(&&*host), "{host}");

    // Uplinks are reported as not ready, and one as ready again.
    for host in ["host0", "host1", "host2"] {
        plane.apply(&uplink(host, false)).await;
    }
    known("cluster-a", 0).await;
    let pod = launch(&plane, "vm0", &["vm-network-a"]).await;
    is_waiting(&plane, &pod).await;
    plane.apply(&uplink("host1", true)).await;
    let (host, after_uplink) = bound_soon(&plane, &pod).await;
    assert_eq!(host, "host1");
    eprintln!(
        "{arguments:?}: bound after a network config {after_config:?}, a VM network \
         {after_network:?}, an uplink {after_uplink:?}"
    );
}

/// A host with room for a hundred VM pods.
pub fn host(name: &str) -> Value {
    let mut host = like("Node", name);
    host["metadata"]["labels"] = json!({"kubernetes.io/hostname": name});
    let mut status = node_status();
    for part in ["capacity", "allocatable"] {
        for (resource, room) in [("cpu", "64"), ("memory", "256Gi"), ("pods", "200")] {
            status[part][resource] = json!(room);
        }
        status[part]["devices.kubevirt.io/tun"] = json!("100");
    }
    host["status"] = status;
    host
}

/// Makes hosts, several at a time.
pub async fn make_hosts(plane: &ControlPlane, count: usize) {
    let hosts = futures_util::stream::iter(0..count).map(async |number| {
        let body = host(&format!("host-{number:05}")).to_string().into_bytes();
        let request =
            http::Request::post("/api/v1/nodes").header("content-type", "application/json");
        plane.client.request::<Value>(request.body(body).unwrap()).await.unwrap();
    });
    hosts.buffer_unordered(8).for_each(async |()| {}).await;
}

/// A cluster of this many hosts, and a network that is active on one in the middle of them.
pub async fn large_cluster(hosts: usize) -> (ControlPlane, Installed, String) {
    let plane = ControlPlane::prepared(|path, _| audit::arguments(path)).await;
    make_hosts(&plane, hosts).await;
    let installed = Installed::but_webhooks(&plane, &[]).await;
    plane.install_foreign_kinds().await;
    let only = format!("host-{:05}", hosts / 2);
    plane.create(&like("ClusterNetwork", "rare")).await;
    let mut config = like("VlanConfig", "rare");
    config["spec"] = json!({
        "clusterNetwork": "rare", "nodeSelector": {"kubernetes.io/hostname": only},
        "uplink": {"nics": ["enp1s0"]},
    });
    plane.create(&config).await;
    let mut network = like("NetworkAttachmentDefinition", "rare");
    network["spec"] = json!({"config": r#"{"type":"bridge","bridge":"rare-br"}"#});
    plane.create(&network).await;
    (plane, installed, only)
}

/// How many hosts have the label of a cluster network.
pub async fn labelled(plane: &ControlPlane, cluster_network: &str) -> usize {
    let request = http::Request::get(format!(
        "/api/v1/nodes?resourceVersion=0&labelSelector=network.harvesterhci.io%2F{cluster_network}%3Dtrue"
    ))
    .header("accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let list: Value = plane.client.request(request.body(Vec::new()).unwrap()).await.unwrap();
    list["items"].as_array().map_or(0, Vec::len)
}

/// Waits until every host has its label for `mgmt`: a Node that changes wakes pods too.
pub async fn all_labelled(plane: &ControlPlane, hosts: usize) {
    within(Duration::from_mins(10), "every host to be labelled", async || {
        let count = labelled(plane, "mgmt").await;
        // A long list is not asked for again at once.
        tokio::time::sleep(Duration::from_micros(100 * hosts as u64)).await;
        (count == hosts).then_some(())
    })
    .await;
}

/// The writes of ours that are about a pod.
fn about_pod(audit: &Audit, pod: &Value) -> usize {
    let writes = audit.writes().into_iter();
    let about = |it: &audit::Entry| {
        it.resource.starts_with("pods") && pod["metadata"]["name"] == it.name.as_str()
    };
    writes.filter(about).count()
}

pub async fn a_pod_whose_sample_missed_its_host_is_sent_there() {
    const HOSTS: usize = 300;
    const PODS: usize = 12;
    let (mut plane, installed, only) = large_cluster(HOSTS).await;
    let _replica = installed.ready_replica("lanekeeper-0").await;
    installed.keep_bundle(&plane).await;
    all_labelled(&plane, HOSTS).await;
    installed.start_scheduler_with(&mut plane, |config| {
        config["percentageOfNodesToScore"] = json!(33);
    });

    let audit = Audit::of(plane.folder.path());
    let mut took = Vec::new();
    let mut nominated = 0;
    for number in 0..PODS {
        let pod = launch(&plane, &format!("vm-{number}"), &["rare"]).await;
        let (host, time) = bound_soon(&plane, &pod).await;
        assert_eq!(host, only);
        nominated += about_pod(&audit, &pod);
        took.push(time.as_millis());
    }
    eprintln!("{HOSTS} hosts: {nominated} of {PODS} pods nominated, bound after {took:?} ms");
    assert!(nominated > 0, "no sample missed the host");

    // Onto a cordoned host nobody is sent.
    plane.cordon(&only).await;
    let pod = launch(&plane, "cordoned", &["rare"]).await;
    is_waiting(&plane, &pod).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(about_pod(&audit, &pod), 0);
    plane.merge(&like("Node", &only), json!({"spec": {"unschedulable": null}})).await;
    let host = until("the pod to be bound", async || plane.host_of(&pod).await).await;
    assert_eq!(host, only);
}

pub async fn nothing_is_touched_in_vain() {
    let (mut plane, installed, _replica) = cluster(&[]).await;
    installed.start_scheduler(&mut plane);
    // A pod that runs, and one that waits for nothing of ours.
    let pod = launch(&plane, "runs", &["vm-network-a"]).await;
    bound_soon(&plane, &pod).await;
    let audit = Audit::of(plane.folder.path());
    let touches = || -> Vec<audit::Entry> {
        audit.writes().into_iter().filter(audit::Entry::is_touch).collect()
    };
    let mut config = like("VlanConfig", "churn");
    config["spec"] = json!({
        "clusterNetwork": "churn", "nodeSelector": {"kubernetes.io/hostname": "host3"},
        "uplink": {"nics": ["enp9s1"]},
    });
    plane.create(&like("ClusterNetwork", "churn")).await;
    let mut network = like("NetworkAttachmentDefinition", "churn");
    network["spec"] = json!({"config": r#"{"type":"bridge","bridge":"churn-br"}"#});
    plane.create(&network).await;
    // The network comes and goes, until something has been seen.
    let churn = async |what: &str, seen: &dyn Fn() -> bool| {
        until(what, async || {
            plane.create(&config).await;
            tokio::time::sleep(Duration::from_millis(150)).await;
            plane.delete(&config).await;
            tokio::time::sleep(Duration::from_millis(150)).await;
            seen().then_some(())
        })
        .await;
    };

    // Nothing waits.
    let before = touches().len();
    let labelled = || audit.writes().iter().filter(|entry| entry.is_labelling()).count();
    let labelled_before = labelled();
    churn("several changes to be seen", &|| labelled() > labelled_before + 8).await;
    assert_eq!(touches().len(), before, "{:#?}", touches());
    let on_pods = audit.writes().into_iter().filter(|it| it.resource.starts_with("pods"));
    assert_eq!(on_pods.count(), 0);

    // A pod waits that has no room on any host, however often its network comes and goes.
    let made = plane.create(&vmi("waits", &["churn"])).await;
    let mut pod = launcher_pod(&made);
    pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("100");
    let pod = plane.create(&pod).await;
    is_waiting(&plane, &pod).await;
    churn("several touches", &|| touches().len() >= before + 6).await;
    let times: Vec<i64> = touches()[before..].iter().map(|entry| entry.received).collect();
    // One is sent in a second at most, however late a single one arrives.
    let (intervals, took) = (times.len() - 1, times[times.len() - 1] - times[0]);
    let at_least = (i64::try_from(intervals).unwrap() - 1) * 1_000_000;
    assert!(took >= at_least, "{times:?}");
    eprintln!("touches under churn: {intervals} intervals in {took} microseconds");
}
