//! The election by a Lease, in paused time: replicas that reach the API server late, or not at all.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use lanekeeper::api::{Api, Error, WRITE_TIMEOUT};
use lanekeeper::cluster::{Options, Snapshot};
use lanekeeper::controller::{Controller, Elector, Leadership, identity};
use lanekeeper::decide::upkeep::Scope;
use lanekeeper::metrics::Metrics;
use lanekeeper::publish;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower::service_fn;

use crate::harness::snapshot_from;
use crate::upkeep::{cluster_network, config, node, vm_network};

const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/lanekeeper-system/leases/lanekeeper";

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How a replica reaches the API server.
#[derive(Clone, Copy, Debug)]
enum Link {
    Fine,
    /// Requests and answers take this long.
    Slow(Duration, Duration),
    /// Requests are lost.
    Silent,
    /// Connections break at once.
    Broken,
    /// Every request is answered with this status.
    Refused(u16),
    /// Somebody else changes the Lease between a read and a write.
    Meddled,
}

/// An API server that has one Lease, and takes note of everything else.
#[derive(Clone)]
struct ApiServer {
    lease: Arc<Mutex<Option<Value>>>,
    /// When each request that is not about the Lease came, who sent it, and its method.
    others: Arc<Mutex<Vec<(Instant, String, Method)>>>,
}

/// A Lease with this spec.
fn lease(spec: Value) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "lanekeeper", "namespace": "lanekeeper-system",
                      "resourceVersion": "1", "labels": { "app": "x" } },
        "spec": spec,
    })
}

impl ApiServer {
    fn new(lease: impl Into<Option<Value>>) -> Self {
        Self { lease: Arc::new(Mutex::new(lease.into())), others: Arc::default() }
    }

    fn spec(&self) -> Value {
        self.lease.lock().unwrap().as_ref().unwrap()["spec"].clone()
    }

    /// Changes the Lease as somebody else.
    fn set(&self, spec: Value) {
        let mut lease = self.lease.lock().unwrap();
        let lease = lease.as_mut().unwrap();
        lease["spec"] = spec;
        next_version(lease);
    }

    fn handle(&self, path: &str, method: &Method, who: &str, body: &[u8]) -> (u16, Value) {
        let status = |code: u16, message: &str| (code, json!({ "message": message }));
        if path != PATH {
            let entry = (Instant::now(), who.to_owned(), method.clone());
            self.others.lock().unwrap().push(entry);
            // Every host is cordoned.
            return (200, json!({ "spec": { "unschedulable": true } }));
        }
        let mut present = self.lease.lock().unwrap();
        let Some(present) = present.as_mut() else { return status(404, "none") };
        match *method {
            Method::GET => (200, present.clone()),
            Method::PUT => {
                let mut new: Value = serde_json::from_slice(body).unwrap();
                let version = |it: &Value| it["metadata"]["resourceVersion"].clone();
                if version(&new) != version(present) {
                    return status(409, "it changed");
                }
                assert_eq!(new["metadata"]["labels"]["app"], "x", "the rest of it stays");
                next_version(&mut new);
                *present = new.clone();
                (200, new)
            }
            _ => panic!("{method} of a Lease"),
        }
    }

    async fn serve(
        self,
        request: Request<Body>,
        link: Link,
        who: String,
    ) -> Result<Response<Body>, std::io::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let (up, down) = match link {
            Link::Broken => return Err(std::io::Error::other("reset")),
            Link::Silent => std::future::pending().await,
            Link::Slow(up, down) => (up, down),
            Link::Fine | Link::Refused(_) | Link::Meddled => (Duration::ZERO, Duration::ZERO),
        };
        // What was sent is done, even if nobody waits for the answer any more.
        let handled = tokio::spawn(async move {
            tokio::time::sleep(up).await;
            if let Link::Refused(code) = link {
                return (code, json!({ "message": "no" }));
            }
            let answer = self.handle(head.uri.path(), &head.method, &who, &body);
            if matches!(link, Link::Meddled) && head.method == Method::GET {
                next_version(self.lease.lock().unwrap().as_mut().unwrap());
            }
            answer
        });
        let (code, answer) = handled.await.unwrap();
        tokio::time::sleep(down).await;
        let body = Body::from(answer.to_string().into_bytes());
        Ok(Response::builder().status(code).body(body).unwrap())
    }

    fn api(&self, who: &str, link: &Arc<Mutex<Link>>) -> Api {
        let (server, who, link) = (self.clone(), who.to_owned(), link.clone());
        let service = service_fn(move |request: Request<Body>| {
            let link = *link.lock().unwrap();
            server.clone().serve(request, link, who.clone())
        });
        Api::new(Client::new(service, "default"))
    }
}

fn next_version(lease: &mut Value) {
    let version: u64 = lease["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    lease["metadata"]["resourceVersion"] = json!((version + 1).to_string());
}

/// A replica that contends.
struct Replica {
    name: &'static str,
    link: Arc<Mutex<Link>>,
    leadership: Leadership,
    terms: watch::Receiver<bool>,
    stop: Option<oneshot::Sender<()>>,
}

impl Replica {
    fn start(server: &ApiServer, name: &'static str) -> Self {
        let link = Arc::new(Mutex::new(Link::Fine));
        let (leadership, api) = (Leadership::default(), server.api(name, &link));
        let elector =
            Elector::new(api.clone(), PATH.to_owned(), name.to_owned(), leadership.clone());
        let (tell, terms) = watch::channel(false);
        let (stop, stops) = oneshot::channel();
        tokio::spawn(elector.run(stops, tell));
        Self { name, link, leadership, terms, stop: Some(stop) }
    }

    fn set(&self, link: Link) {
        *self.link.lock().unwrap() = link;
    }
}

/// Watches who leads, at every fiftieth of a second, and that no two write at once: a write may begin
/// while a replica leads, and takes as long as it may.
#[derive(Default)]
struct Watched {
    /// Who leads, and since when.
    leads: Option<(&'static str, Instant)>,
    /// Who led last, and until when.
    led: Option<(&'static str, Instant)>,
    /// The times between the end of one replica's last write and the first write of another one.
    gaps: Vec<Duration>,
}

impl Watched {
    async fn watch(&mut self, replicas: &[&Replica], time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            let now = Instant::now();
            let leading: Vec<&str> =
                replicas.iter().filter(|it| it.leadership.is_held()).map(|it| it.name).collect();
            assert!(leading.len() < 2, "both lead: {leading:?}");
            let leader = replicas.iter().find(|it| it.leadership.is_held()).map(|it| it.name);
            match (self.leads, leader) {
                (Some((name, _)), Some(new)) if name != new => {
                    panic!("{new} leads in the moment in which {name} stops")
                }
                (Some((name, _)), None) => {
                    (self.led, self.leads) = (Some((name, now)), None);
                }
                (None, Some(new)) => {
                    if let Some((name, until)) = self.led.filter(|(name, _)| *name != new) {
                        let last_write = until + WRITE_TIMEOUT;
                        assert!(now > last_write, "{name} may still write when {new} leads");
                        self.gaps.push(now - last_write);
                    }
                    self.leads = Some((new, now));
                }
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn leader(&self) -> Option<&'static str> {
        self.leads.map(|(name, _)| name)
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_contenders_one_leads_and_goes_on_leading() {
    let server = ApiServer::new(lease(json!({})));
    let (a, b) = (Replica::start(&server, "a"), Replica::start(&server, "b"));
    let mut watched = Watched::default();
    watched.watch(&[&a, &b], secs(1)).await;
    let leader = watched.leader().unwrap();
    let acquired = server.spec()["acquireTime"].clone();
    watched.watch(&[&a, &b], secs(300)).await;
    assert_eq!(watched.leader(), Some(leader));
    assert!(watched.gaps.is_empty());
    let spec = server.spec();
    assert_eq!(spec["holderIdentity"], leader);
    assert_eq!((&spec["leaseDurationSeconds"], &spec["leaseTransitions"]), (&json!(15), &json!(1)));
    assert_eq!(spec["acquireTime"], acquired);
    let told = |it: &Replica| *it.terms.borrow() == it.leadership.is_held();
    assert!(told(&a) && told(&b));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_before_another_one_begins() {
    let near = Duration::from_millis(3_999);
    for link in [
        Link::Silent,
        Link::Broken,
        Link::Refused(500),
        Link::Refused(403),
        Link::Refused(429),
        // A renewal ends in time for the next one.
        Link::Slow(secs(1), secs(1)),
        // Both the read and the write are answered, each as late as may be.
        Link::Slow(near, Duration::ZERO),
        Link::Slow(Duration::ZERO, near),
        // The write is done, but the answer comes too late.
        Link::Slow(secs(1), secs(60)),
        Link::Slow(secs(20), Duration::ZERO),
    ] {
        let server = ApiServer::new(lease(json!({})));
        let a = Replica::start(&server, "a");
        let mut watched = Watched::default();
        watched.watch(&[&a], secs(5)).await;
        let b = Replica::start(&server, "b");
        watched.watch(&[&a, &b], secs(30)).await;
        assert_eq!(watched.leader(), Some("a"));
        a.set(link);
        watched.watch(&[&a, &b], secs(60)).await;
        match link {
            Link::Slow(up, down) if up + down == secs(2) => {
                assert_eq!((watched.leader(), watched.led), (Some("a"), None));
            }
            // It leads now and then, and nobody else does.
            Link::Slow(up, down) if up + down == near => assert_ne!(watched.leader(), Some("b")),
            _ => {
                assert_eq!(watched.leader(), Some("b"), "{link:?}");
                assert!(!*a.terms.borrow() && *b.terms.borrow());
                assert_eq!(server.spec()["leaseTransitions"], 2);
            }
        }
        // It is back, and takes nothing away.
        let led_by_b = watched.leader() == Some("b");
        a.set(Link::Fine);
        watched.watch(&[&a, &b], secs(60)).await;
        assert_eq!(watched.leader(), Some(if led_by_b { "b" } else { "a" }));
    }
}

#[tokio::test(start_paused = true)]
async fn what_takes_time_counts_on_the_safe_side() {
    let near = Duration::from_millis(3_900);
    for offset in 0..10 {
        let offset = Duration::from_millis(offset * 400);
        for (of_a, of_b) in [
            // A renewal takes effect long before its answer comes.
            (Link::Slow(Duration::ZERO, near), Link::Fine),
            // The Lease changes between the moment when a read begins and when it is done.
            (Link::Fine, Link::Slow(near, Duration::ZERO)),
        ] {
            let server = ApiServer::new(lease(json!({})));
            let a = Replica::start(&server, "a");
            tokio::time::sleep(secs(5)).await;
            let b = Replica::start(&server, "b");
            a.set(of_a);
            b.set(of_b);
            let mut watched = Watched::default();
            watched.watch(&[&a, &b], secs(20) + offset).await;
            a.set(Link::Silent);
            b.set(Link::Fine);
            watched.watch(&[&a, &b], secs(40)).await;
            assert_eq!(watched.leader(), Some("b"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_links_do_no_two_replicas_may_write_at_once() {
    let mut gaps = 0;
    for seed in 0..12 {
        let mut random = fastrand::Rng::with_seed(seed);
        let server = ApiServer::new(lease(json!({})));
        let replicas = ["a", "b", "c"].map(|name| Replica::start(&server, name));
        let all: Vec<&Replica> = replicas.iter().collect();
        let mut watched = Watched::default();
        for _ in 0..40 {
            let replica = &replicas[random.usize(..3)];
            let mut time = || Duration::from_millis(random.u64(..6_000));
            let slow = Link::Slow(time(), time());
            replica.set(match random.u8(..6) {
                0 => Link::Silent,
                1 => Link::Broken,
                2 => Link::Meddled,
                3 => slow,
                _ => Link::Fine,
            });
            watched.watch(&all, Duration::from_millis(random.u64(..20_000))).await;
        }
        gaps += watched.gaps.len();
        for replica in &replicas {
            replica.set(Link::Fine);
        }
        watched.watch(&all, secs(40)).await;
        assert!(watched.leader().is_some(), "seed {seed}: somebody leads in the end");
    }
    assert!(gaps > 12, "the Lease changed hands {gaps} times");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_comes_second_conflicts() {
    let server = ApiServer::new(lease(json!({})));
    let (a, b) = (Leadership::default(), Leadership::default());
    let elector = |name: &str, link, leadership: &Leadership| {
        let api = server.api(name, &Arc::new(Mutex::new(link)));
        Elector::new(api, PATH.to_owned(), name.to_owned(), leadership.clone())
    };
    // Both read before either writes.
    let half = Duration::from_millis(500);
    let mut one = elector("a", Link::Slow(half, Duration::ZERO), &a);
    let mut two = elector("b", Link::Slow(half, Duration::ZERO), &b);
    let (first, second) = tokio::join!(one.try_lead(), two.try_lead());
    assert_eq!((first, second), (Ok(()), Ok(())), "it is no error");
    assert!(a.is_held() != b.is_held());
    // Somebody else's change holds up a renewal, and no more.
    let server = ApiServer::new(lease(json!({})));
    let replica = Replica::start(&server, "a");
    tokio::time::sleep(secs(5)).await;
    replica.set(Link::Meddled);
    tokio::time::sleep(secs(7)).await;
    assert!(replica.leadership.is_held());
    replica.set(Link::Fine);
    let mut watched = Watched::default();
    watched.watch(&[&replica], secs(20)).await;
    assert!(watched.leads.is_some() && watched.led.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_gives_the_lease_up() {
    let server = ApiServer::new(lease(json!({})));
    let mut a = Replica::start(&server, "a");
    tokio::time::sleep(secs(5)).await;
    let b = Replica::start(&server, "b");
    tokio::time::sleep(secs(5)).await;
    assert!(a.leadership.is_held());
    // A replica that does not lead has nothing to give up.
    let version = || server.lease.lock().unwrap().as_ref().unwrap()["metadata"].clone();
    let mut c = Replica::start(&server, "c");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = version();
    c.stop.take().unwrap().send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(version(), before);
    let stopped = Instant::now();
    a.stop.take().unwrap().send(()).unwrap();
    while a.leadership.is_held() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!*a.terms.borrow(), "what writes is told first");
    while !b.leadership.is_held() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(stopped.elapsed() < secs(3), "b need not wait: {:?}", stopped.elapsed());
    assert_eq!(server.spec()["leaseTransitions"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_not_held_up_by_an_api_server_that_is_silent() {
    let server = ApiServer::new(lease(json!({})));
    let mut a = Replica::start(&server, "a");
    tokio::time::sleep(secs(5)).await;
    a.set(Link::Silent);
    // In the middle of a renewal.
    tokio::time::sleep(secs(3)).await;
    let stopped = Instant::now();
    a.stop.take().unwrap().send(()).unwrap();
    while a.terms.changed().await.is_ok() {}
    assert!(stopped.elapsed() <= WRITE_TIMEOUT, "{:?}", stopped.elapsed());
    assert!(!a.leadership.is_held());
    assert_eq!(server.spec()["holderIdentity"], "a", "it ends by itself");
}

/// The spec of a Lease that somebody else holds.
fn held(duration: u64, renewed: &str) -> Value {
    json!({ "holderIdentity": "other", "leaseDurationSeconds": duration, "leaseTransitions": 7,
            "acquireTime": renewed, "renewTime": renewed })
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_changes_hands_is_obeyed() {
    let server = ApiServer::new(lease(json!({})));
    let a = Replica::start(&server, "a");
    tokio::time::sleep(secs(5)).await;
    assert!(a.leadership.is_held());
    server.set(held(15, "2026-01-01T00:00:00.000000Z"));
    tokio::time::sleep(secs(3)).await;
    assert!(!a.leadership.is_held() && !*a.terms.borrow());
    // The other one renews, and stops after a while.
    for second in 0..10 {
        server.set(held(15, &format!("2026-01-01T00:00:{second:02}.000000Z")));
        tokio::time::sleep(secs(10)).await;
        assert!(!a.leadership.is_held());
    }
    tokio::time::sleep(secs(10)).await;
    assert!(a.leadership.is_held());
    assert_eq!(server.spec()["leaseTransitions"], 8);
    assert_ne!(server.spec()["acquireTime"], "2026-01-01T00:00:09.000000Z");
}

#[tokio::test(start_paused = true)]
async fn another_replicas_clock_and_a_short_duration_do_not_matter() {
    for (duration, renewed, at_least, at_most) in [
        (15, "2026-01-01T00:00:00.000000Z", 15, 18),
        (15, "1970-01-01T00:00:00.000000Z", 15, 18),
        (15, "9999-01-01T00:00:00.000000Z", 15, 18),
        (15, "not a time", 15, 18),
        (1, "2026-01-01T00:00:00.000000Z", 15, 18),
        (60, "2026-01-01T00:00:00.000000Z", 60, 63),
    ] {
        let server = ApiServer::new(lease(held(duration, renewed)));
        let started = Instant::now();
        let a = Replica::start(&server, "a");
        while !a.leadership.is_held() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let took = started.elapsed();
        assert!(secs(at_least) < took && took < secs(at_most), "{duration} {renewed}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_holds_is_taken_at_once() {
    let mut bare = lease(Value::Null);
    bare.as_object_mut().unwrap().remove("spec");
    for free in [
        bare,
        lease(Value::Null),
        lease(json!({})),
        lease(json!({ "holderIdentity": "" })),
        lease(json!({ "holderIdentity": null, "leaseDurationSeconds": null, "acquireTime": null,
                      "leaseTransitions": null })),
    ] {
        let server = ApiServer::new(free.clone());
        let a = Replica::start(&server, "a");
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(a.leadership.is_held(), "{free}");
        let spec = server.spec();
        assert_eq!((&spec["holderIdentity"], &spec["leaseTransitions"]), (&json!("a"), &json!(1)));
        for time in ["acquireTime", "renewTime"] {
            let text = spec[time].as_str().unwrap();
            assert_eq!(text.len(), "2026-01-01T00:00:00.000000Z".len(), "{text} is a MicroTime");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_lease_or_the_right_to_it_nobody_leads() {
    for (server, link, error) in [
        (ApiServer::new(None), Link::Fine, Error::NotFound),
        (ApiServer::new(lease(json!({}))), Link::Refused(403), Error::Forbidden("no".to_owned())),
    ] {
        let leadership = Leadership::default();
        let api = server.api("a", &Arc::new(Mutex::new(link)));
        let mut elector = Elector::new(api, PATH.to_owned(), "a".to_owned(), leadership.clone());
        assert_eq!(elector.try_lead().await, Err(error));
        assert!(!leadership.is_held());
        assert_eq!(elector.release().await, Ok(()), "there is nothing to give up");
    }
    // Malformed, as no API server would store it.
    let server = ApiServer::new(lease(json!({ "holderIdentity": 7 })));
    let a = Replica::start(&server, "a");
    tokio::time::sleep(secs(30)).await;
    assert!(!a.leadership.is_held());
}

#[test]
fn two_replicas_on_one_host_have_two_identities() {
    assert_ne!(identity(), identity());
}

/// A pod that waits, and hosts enough for it, all of them cordoned: the leader reads one after the
/// other.
fn much_to_read() -> Snapshot {
    let hosts = (0..40).map(|number| node(&format!("h{number}"), &[]));
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "p", "namespace": "ns", "uid": "u",
            "labels": { "kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": "vm" },
            "annotations": { "k8s.v1.cni.cncf.io/networks": "net" },
        },
        "status": { "conditions": [
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable" }] },
    });
    let networks =
        [cluster_network("a", None, None), config("c", "a", &[], 0), vm_network("net", "a", None)];
    snapshot_from(networks.into_iter().chain(hosts).chain([pod]), Options::default())
}

/// The controller of a replica, and what stops it.
fn controlled(
    replica: &Replica,
    api: Api,
    snapshot: Snapshot,
) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (publisher, snapshots) = publish::channel();
    publisher.publish(snapshot, Duration::ZERO);
    let controller = Controller {
        api,
        snapshots,
        scope: Scope::All,
        issuer: None,
        metrics: Arc::new(Metrics::new().unwrap()),
        leadership: replica.leadership.clone(),
    };
    let (stop, stops) = oneshot::channel();
    let running = controller.run(stops, replica.terms.clone());
    let running = tokio::spawn(async move {
        running.await;
        // The snapshots end with it.
        drop(publisher);
    });
    (stop, running)
}

#[tokio::test(start_paused = true)]
async fn mgmt_is_made_soon_after_its_kind_is_served() {
    let server = ApiServer::new(lease(json!({})));
    let a = Replica::start(&server, "a");
    let link = Arc::new(Mutex::new(Link::Refused(404)));
    let nothing = snapshot_from([], Options::default());
    let (stop, running) = controlled(&a, server.api("controller", &link), nothing);
    let made = || {
        let others = server.others.lock().unwrap();
        others.iter().filter(|(_, _, method)| *method == Method::POST).count()
    };
    tokio::time::sleep(secs(100)).await;
    *link.lock().unwrap() = Link::Fine;
    tokio::time::sleep(secs(90)).await;
    assert_eq!(made(), 1);
    stop.send(()).unwrap();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_update_that_reads_first_ends_in_time_too() {
    let server = ApiServer::new(lease(json!({})));
    let a = Replica::start(&server, "a");
    // Its controller reaches the API server late, but the election does not.
    let slow = Arc::new(Mutex::new(Link::Slow(secs(1), secs(1))));
    let (stop, running) = controlled(&a, server.api("controller", &slow), much_to_read());
    for at in [20, 21, 23] {
        tokio::time::sleep(secs(at)).await;
        a.set(Link::Silent);
        while a.leadership.is_held() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let ended = Instant::now();
        tokio::time::sleep(secs(30)).await;
        let others = server.others.lock().unwrap().clone();
        let late: Vec<_> = others.iter().filter(|(at, ..)| *at > ended + WRITE_TIMEOUT).collect();
        assert!(late.is_empty(), "{late:?} after {ended:?}");
        assert!(
            others.iter().any(|(_, who, method)| who == "controller" && *method == Method::PATCH)
        );
        server.others.lock().unwrap().clear();
        a.set(Link::Fine);
    }
    stop.send(()).unwrap();
    running.await.unwrap();
}
