//! Two replicas, of which either may die.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kube::Client;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::fixture::audit::{self, Audit, Entry};
use crate::fixture::{ControlPlane, Installed, Replica, leader, until};
use crate::objects::{launcher_pod, like, vmi};

/// How long webhook calls may fail when a replica ends without a word. It takes the forwarder's interval,
/// and is far less than a Lease lasts: no answer waits for a leader.
const MAX_OUTAGE: Duration = Duration::from_secs(10);

/// Calls of webhooks and new pods, one after the other, until it is stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    /// The number of pods made so far.
    pub pods: Arc<AtomicUsize>,
    calls: JoinHandle<Vec<Call>>,
    launches: JoinHandle<()>,
}

/// A change of a network config that our webhooks must admit.
pub struct Call {
    started: Instant,
    ended: Instant,
    pub error: Option<String>,
}

async fn request(client: &Client, method: &str, path: &str, body: &Value) -> Result<Value, String> {
    let media = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", media)
        .body(body.to_string().into_bytes())
        .unwrap();
    client.request::<Value>(request).await.map_err(|error| error.to_string())
}

impl Load {
    pub fn start(client: &Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let pods = Arc::new(AtomicUsize::new(0));
        let (stopped, caller) = (stop.clone(), client.clone());
        let calls = tokio::spawn(async move {
            let path = "/apis/network.harvesterhci.io/v1beta1/vlanconfigs/network-config-a";
            let mut calls = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let started = Instant::now();
                let change = json!({"spec": {"description": format!("call {}", calls.len())}});
                let error = request(&caller, "PATCH", path, &change).await.err();
                calls.push(Call { started, ended: Instant::now(), error });
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            calls
        });
        let (stopped, api, made) = (stop.clone(), client.clone(), pods.clone());
        let launches = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let number = made.load(Ordering::Relaxed);
                let vmi = vmi(&format!("load-{number}"), &["vm-network-b", "vm-network-c"]);
                let path = "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances";
                let vmi = request(&api, "POST", path, &vmi).await.unwrap();
                let mut pod = launcher_pod(&vmi);
                pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("1m");
                request(&api, "POST", "/api/v1/namespaces/default/pods", &pod).await.unwrap();
                made.store(number + 1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        });
        Self { stop, pods, calls, launches }
    }

    pub async fn end(self) -> Vec<Call> {
        self.stop.store(true, Ordering::Relaxed);
        self.launches.await.unwrap();
        self.calls.await.unwrap()
    }
}

/// The longest time in which every call failed, and how many calls did.
fn outage(calls: &[Call]) -> (Duration, usize) {
    let mut longest = Duration::ZERO;
    let mut since = None;
    for call in calls {
        if call.error.is_none() {
            since = None;
        } else {
            let since = *since.get_or_insert(call.started);
            longest = longest.max(call.ended - since);
        }
    }
    (longest, calls.iter().filter(|call| call.error.is_some()).count())
}

/// No write of one replica comes before the last one of an earlier leader was answered. Returns who
/// wrote, in this order.
fn leaders_in_turn(mut writes: Vec<Entry>) -> Vec<String> {
    writes.sort_by_key(|entry| entry.received);
    let mut turns: Vec<(String, i64)> = Vec::new();
    for entry in writes {
        match turns.last_mut() {
            Some((agent, until)) if *agent == entry.agent => *until = (*until).max(entry.answered),
            last => {
                if let Some((agent, until)) = last {
                    assert!(*until <= entry.received, "{agent} and {} at once", entry.agent);
                }
                let again = turns.iter().any(|(agent, _)| *agent == entry.agent);
                assert!(!again, "{} writes again: {turns:?}", entry.agent);
                turns.push((entry.agent, entry.answered));
            }
        }
    }
    turns.into_iter().map(|(agent, _)| agent).collect()
}

/// Two replicas over the reference cluster, whose hosts have room for many pods.
pub async fn cluster() -> (ControlPlane, Installed, [Replica; 2]) {
    let mut plane = ControlPlane::prepared(|path, _| audit::arguments(path)).await;
    let installed = Installed::at_once(&plane, &[]).await;
    plane.install_foreign_kinds().await;
    let replicas = [
        installed.ready_replica("lanekeeper-0").await,
        installed.ready_replica("lanekeeper-1").await,
    ];
    installed.enforced(&plane).await;
    plane.apply_examples().await;
    let room = json!({"pods": "1000", "devices.kubevirt.io/tun": "1000", "memory": "256Gi"});
    for host in 0..6 {
        let status = json!({"status": {"capacity": room, "allocatable": room}});
        plane.merge_status(&like("Node", &format!("host{host}")), &status).await;
    }
    installed.start_scheduler(&mut plane);
    (plane, installed, replicas)
}

/// Waits until another one than this leads.
async fn next_leader(plane: &ControlPlane, before: Option<&str>) -> String {
    until("a leader", async || leader(plane).await.filter(|leader| Some(leader.as_str()) != before))
        .await
}

/// The one of two replicas that leads, and the other.
fn in_order(leader: &str, replicas: [Replica; 2]) -> (Replica, Replica) {
    let [first, second] = replicas;
    if leader.starts_with(&first.name) { (first, second) } else { (second, first) }
}

/// Makes the leader write: an uplink of host1 goes and comes.
async fn make_work(plane: &ControlPlane, ready: bool) {
    let mut status = like("VlanStatus", "cluster-a-host1");
    status["status"] = json!({
        "clusterNetwork": "cluster-a", "vlanConfig": "network-config-b", "node": "host1",
        "linkMonitor": "", "conditions": [{"type": "ready", "status": if ready { "True" } else { "False" }}],
    });
    plane.apply(&status).await;
    until("host1's label to follow", async || {
        let host = plane.get(&like("Node", "host1")).await?;
        let label = &host["metadata"]["labels"]["network.harvesterhci.io/cluster-a"];
        (label.is_null() != ready).then_some(())
    })
    .await;
}

pub async fn either_of_two_replicas_may_die() {
    let (plane, installed, replicas) = cluster().await;
    let load = Load::start(&plane.client);
    let mut leaders = vec![next_leader(&plane, None).await];
    make_work(&plane, false).await;
    let (first, second) = in_order(&leaders[0], replicas);
    // The leader, then the other one, once the first is back and the other leads.
    let mut current = [first, second];
    for _ in 0..2 {
        let [dying, other] = current;
        let name = dying.name.clone();
        dying.kill();
        let before = leaders.last().cloned();
        leaders.push(next_leader(&plane, before.as_deref()).await);
        assert!(leaders.last().unwrap().starts_with(&other.name), "{leaders:?}");
        make_work(&plane, leaders.len() % 2 == 0).await;
        let back = installed.ready_replica(&name).await;
        current = [other, back];
    }

    let pods = load.pods.clone();
    let calls = load.end().await;
    let (longest, failed) = outage(&calls);
    let error = calls.iter().find_map(|call| call.error.clone()).unwrap_or_default();
    let pods = pods.load(Ordering::Relaxed);
    eprintln!(
        "killed: {failed} of {} webhook calls failed, for {longest:?} at most; {pods} pods; \
         leaders {leaders:?}; {error}",
        calls.len()
    );
    assert!(longest < MAX_OUTAGE, "{longest:?}: {error}");
    for number in 0..pods {
        let name = format!("virt-launcher-load-{number}");
        let pod = like("Pod", &name);
        let host = until(&format!("{name} to be bound"), async || plane.host_of(&pod).await).await;
        assert_eq!(host, "host2");
    }

    // A leader that stands still for longer than its term, while there is something to write.
    let [paused, other] = current;
    paused.pause();
    let before = leaders.last().cloned();
    leaders.push(next_leader(&plane, before.as_deref()).await);
    assert!(leaders.last().unwrap().starts_with(&other.name), "{leaders:?}");
    paused.go_on();
    for ready in [true, false, true] {
        make_work(&plane, ready).await;
    }
    paused.is_back().await;

    let turns = leaders_in_turn(Audit::of(plane.folder.path()).writes());
    eprintln!("wrote in turn: {turns:?}");
    assert_eq!(turns.len(), leaders.len(), "{turns:?}, {leaders:?}");
    for (agent, leader) in turns.iter().zip(&leaders) {
        assert!(agent.starts_with("lanekeeper/") && agent.contains(leader.as_str()), "{agent}");
    }
    assert_eq!(paused.metric("lanekeeper_leader", &[]).await, 0);
    assert_eq!(other.metric("lanekeeper_leader", &[]).await, 1);
}

pub async fn an_update_of_both_replicas_is_not_noticed() {
    let (plane, installed, replicas) = cluster().await;
    let load = Load::start(&plane.client);
    let first = next_leader(&plane, None).await;
    make_work(&plane, false).await;
    // As a rolling update does it: a new one first, then an old one goes.
    let mut new = Vec::new();
    for (number, mut old) in replicas.into_iter().enumerate() {
        new.push(installed.ready_replica(&format!("lanekeeper-new-{number}")).await);
        old.terminate();
        until("an old replica to end", async || (!old.program.process.is_running()).then_some(()))
            .await;
        // Who ends gives the Lease up first, so that nobody has to wait for its end.
        let leader = leader(&plane).await.unwrap_or_default();
        assert!(!leader.starts_with(&format!("{}_", old.name)), "{leader} has ended");
    }
    let now = next_leader(&plane, Some(&first)).await;
    make_work(&plane, true).await;
    assert!(now.starts_with("lanekeeper-new"), "{now}");
    let pods = load.pods.clone();
    let calls = load.end().await;
    let errors: Vec<_> = calls.iter().filter_map(|call| call.error.clone()).collect();
    eprintln!("updated: {} webhook calls, {} failed", calls.len(), errors.len());
    assert!(errors.is_empty(), "{errors:?}");
    for number in 0..pods.load(Ordering::Relaxed) {
        let name = format!("virt-launcher-load-{number}");
        let pod = like("Pod", &name);
        until(&format!("{name} to be bound"), async || plane.host_of(&pod).await).await;
    }
    leaders_in_turn(Audit::of(plane.folder.path()).writes());
}
