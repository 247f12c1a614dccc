//! Fresh reads and look-ups against a scripted API server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lanekeeper::api::Api;
use lanekeeper::cluster::{Kind, Snapshot};
use lanekeeper::decide::review::{Question, Webhook};
use lanekeeper::k8s::Decoder;
use lanekeeper::k8s::admission::parse;
use lanekeeper::present::Present;
use serde_json::{Value, json};

use super::{Answer, ApiServer, list, object};
use crate::harness::{Server, examples, snapshot_of};

pub fn review(group: &str, kind: &str, old: &Value, new: &Value) -> String {
    let operation = match (old.is_null(), new.is_null()) {
        (true, _) => "CREATE",
        (_, true) => "DELETE",
        _ => "UPDATE",
    };
    let either = if new.is_null() { old } else { new };
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "1", "kind": { "group": group, "version": "v1", "kind": kind },
            "operation": operation, "name": either["metadata"]["name"],
            "namespace": either["metadata"].get("namespace"),
            "userInfo": { "username": "admin" }, "object": new, "oldObject": old,
        },
    })
    .to_string()
}

fn question(body: &str, webhook: Webhook) -> Arc<Question> {
    parse(body, webhook, &Decoder::default()).unwrap().question
}

pub fn known() -> Snapshot {
    snapshot_of(&examples())
}

pub fn config(name: &str, network: &str, selector: &Value) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": { "clusterNetwork": network, "nodeSelector": selector, "uplink": {} },
    })
}

fn nad(name: &str, vlan: u32) -> Value {
    let config = json!({ "type": "bridge", "bridge": "cluster-a-br", "vlan": vlan }).to_string();
    json!({
        "metadata": { "name": name, "namespace": "default",
                      "labels": { "network.harvesterhci.io/clusternetwork": "cluster-a" } },
        "spec": { "config": config },
    })
}

fn vm(networks: impl IntoIterator<Item = String>) -> Value {
    let networks: Vec<Value> = networks
        .into_iter()
        .map(|name| json!({ "name": name, "multus": { "networkName": name } }))
        .collect();
    json!({
        "metadata": { "name": "new", "namespace": "default" },
        "spec": { "template": { "spec": { "networks": networks } } },
    })
}

/// What a question asks the API server, as `verb plural`, sorted and each once.
async fn asked(body: &str, webhook: Webhook) -> Vec<String> {
    let server = ApiServer::new(|call| {
        let is_object =
            call.path.matches('/').count() % 2 == 1 && call.path.contains("/namespaces/");
        is_object.then_some(Answer::Status(404, None, "none"))
    });
    let present = Present::new(Api::new(server.client()), Decoder::default());
    present.refresh(&known(), &question(body, webhook)).await.unwrap();
    let mut told: Vec<String> = server
        .calls(|_| true)
        .iter()
        .map(|call| match call.query.get("fieldSelector") {
            Some(fields) => format!("{} {}", call.last(), fields.split(',').next().unwrap()),
            None => call.last().to_owned(),
        })
        .collect();
    told.sort();
    told.dedup();
    told
}

pub const HARVESTER: &str = "network.harvesterhci.io";
const MULTUS: &str = "k8s.cni.cncf.io";

#[tokio::test(start_paused = true)]
async fn a_review_reads_only_what_its_rules_need() {
    let one = json!({ "kubernetes.io/hostname": "host1" });
    let moved = (
        config("network-config-b", "cluster-a", &json!({ "example.com/rack": "r1" })),
        config("network-config-b", "cluster-a", &one),
    );
    let body = review(HARVESTER, "VlanConfig", &moved.0, &moved.1);
    assert!(asked(&body, Webhook::Validate).await.contains(&"vlanconfigs".to_owned()));
    assert_eq!(asked(&body, Webhook::Mutate).await, [""; 0], "a patch of a config reads nothing");

    let body = review(
        MULTUS,
        "NetworkAttachmentDefinition",
        &nad("vm-network-a", 1),
        &nad("vm-network-a", 2),
    );
    assert_eq!(
        asked(&body, Webhook::Validate).await,
        ["pods status.phase!=Succeeded"],
        "an update lists no VMs"
    );
    let body = review(MULTUS, "NetworkAttachmentDefinition", &nad("vm-network-a", 1), &Value::Null);
    assert_eq!(
        asked(&body, Webhook::Validate).await,
        ["pods status.phase!=Succeeded", "virtualmachines"],
        "a delete does"
    );

    let host = |labels: Value| json!({ "metadata": { "name": "host1", "labels": labels } });
    let old = host(json!({ "example.com/rack": "r1" }));
    let same = host(json!({ "example.com/rack": "r1", "other": "x" }));
    let body = review("", "Node", &old, &same);
    assert_eq!(asked(&body, Webhook::Validate).await, [""; 0], "its coverage stays");
    let away = host(json!({ "example.com/rack": "z" }));
    let body = review("", "Node", &old, &away);
    assert_eq!(asked(&body, Webhook::Validate).await, ["pods spec.nodeName=host1"]);

    let known = vm(["vm-network-b".to_owned()]);
    let body = review("kubevirt.io", "VirtualMachine", &Value::Null, &known);
    assert_eq!(asked(&body, Webhook::Validate).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn unknown_objects_are_asked_for_up_to_a_bound_and_names_that_cant_be_are_not() {
    let networks = (0..40).map(|number| format!("unknown-{number}"));
    let body = review("kubevirt.io", "VirtualMachine", &Value::Null, &vm(networks));
    assert_eq!(asked(&body, Webhook::Validate).await.len(), 16);
    assert_eq!(asked(&body, Webhook::Mutate).await.len(), 16);
    for network in ["../../secrets", "a%2fb", "A", "a?b", "-a"] {
        let odd = config("c", network, &json!({}));
        let body = review(HARVESTER, "VlanConfig", &Value::Null, &odd);
        assert_eq!(asked(&body, Webhook::Validate).await, ["vlanconfigs"], "{network}");
    }
    let odd = json!({ "metadata": { "name": "host1,spec.nodeName!=x", "labels": {} } });
    let mut old = odd.clone();
    old["metadata"]["labels"] = json!({ "example.com/rack": "r1" });
    let body = review("", "Node", &old, &odd);
    assert_eq!(asked(&body, Webhook::Validate).await, [""; 0], "it is put into no selector");
}

#[tokio::test(start_paused = true)]
async fn all_reviews_together_read_64_objects_at_a_time() {
    let is_read = |call: &super::Call| call.path.contains("/network-attachment-definitions/");
    let server = ApiServer::new(move |call| is_read(call).then_some(Answer::Silence));
    let present = Arc::new(Present::new(Api::new(server.client()), Decoder::default()));
    let networks = (0..8).map(|number| format!("unknown-{number}"));
    let body = review("kubevirt.io", "VirtualMachine", &Value::Null, &vm(networks));
    let mut reviews = tokio::task::JoinSet::new();
    for count in 1..=10 {
        let (present, question) = (present.clone(), question(&body, Webhook::Validate));
        reviews.spawn(async move { present.refresh(&known(), &question).await.is_ok() });
        // Time passes only when there is nothing else to do.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(server.calls(is_read).len(), 64.min(8 * count));
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_that_are_cancelled_leave_nothing_behind() {
    let server = ApiServer::new(|call| call.is_list("pods").then_some(Answer::Silence));
    let present = Arc::new(Present::new(Api::new(server.client()), Decoder::default()));
    let body = review(
        MULTUS,
        "NetworkAttachmentDefinition",
        &nad("vm-network-a", 1),
        &nad("vm-network-a", 2),
    );
    let question = question(&body, Webhook::Validate);
    let read = || {
        let (present, question) = (present.clone(), question.clone());
        async move {
            let read = tokio::time::timeout(Duration::from_secs(5), async {
                present.refresh(&known(), &question).await
            });
            assert!(read.await.is_err(), "it was cancelled");
        }
    };
    let (one, other) = (tokio::spawn(read()), tokio::spawn(read()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(present.lists_in_flight(), 1, "both wait for one list");
    assert_eq!(server.calls(|call| call.is_list("pods")).len(), 1);
    one.await.unwrap();
    other.await.unwrap();
    assert_eq!(present.lists_in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_list_is_shared_by_those_that_wait_for_it_and_read_again_for_the_next() {
    let server = ApiServer::new(|_| None);
    let present = Present::new(Api::new(server.client()), Decoder::default());
    let body = review(
        MULTUS,
        "NetworkAttachmentDefinition",
        &nad("vm-network-a", 1),
        &nad("vm-network-a", 2),
    );
    let question = question(&body, Webhook::Validate);
    let known = known();
    let reads = (0..20).map(|_| present.refresh(&known, &question));
    let done = futures_util::future::join_all(reads).await;
    assert!(done.iter().all(Result::is_ok));
    let lists = server.calls(|call| call.is_list("pods")).len();
    assert!(lists <= 2, "twenty that come at once share a list: {lists}");
    present.refresh(&known, &question).await.unwrap();
    assert_eq!(server.calls(|call| call.is_list("pods")).len(), lists + 1);
    assert_eq!(present.lists_in_flight(), 0);
}

/// A pod in the list of launcher pods whose labels can't be read.
fn odd_pod() -> Value {
    let mut pod = object("odd", 1);
    pod["metadata"]["namespace"] = json!("default");
    pod["metadata"]["labels"] = json!(["kubevirt.io"]);
    pod
}

#[tokio::test(start_paused = true)]
async fn what_cant_be_read_afresh_refuses() {
    let odd = Arc::new(AtomicBool::new(true));
    let server = ApiServer::new({
        let odd = odd.clone();
        move |call| {
            let odd = odd.load(Ordering::Relaxed);
            if call.is_list("pods") {
                return Some(list(1, if odd { vec![odd_pod()] } else { Vec::new() }.as_slice()));
            }
            call.is_list("vlanconfigs").then(|| {
                let mut config = object("broken", 1);
                config["spec"] = json!({ "clusterNetwork": 7 });
                list(1, if odd { vec![config] } else { Vec::new() }.as_slice())
            })
        }
    });
    let present = Present::new(Api::new(server.client()), Decoder::default());
    let server = Server::reading(known(), present);
    let change = review(
        MULTUS,
        "NetworkAttachmentDefinition",
        &nad("vm-network-a", 1),
        &nad("vm-network-a", 2),
    );
    let create = review(
        HARVESTER,
        "VlanConfig",
        &Value::Null,
        &config("new", "cluster-a", &json!({ "none": "x" })),
    );
    let repair = review(
        HARVESTER,
        "VlanConfig",
        &Value::Null,
        &config("broken", "cluster-a", &json!({ "none": "x" })),
    );
    let validate = async |body: &str| server.post("/validate", body.to_owned()).await.json();
    for (body, names) in [(&change, "Pod default/odd"), (&create, "VlanConfig broken")] {
        let status = validate(body).await["response"]["status"].clone();
        assert_eq!(status["code"], 500, "{status}");
        let message = status["message"].as_str().unwrap();
        assert!(message.starts_with("can't check whether this change is safe: "), "{message}");
        assert!(message.contains(names), "{message}");
    }
    assert_eq!(validate(&repair).await["response"]["allowed"], true, "it may be repaired");
    // A node's change is admitted, with a warning.
    let host = |rack: &str| json!({ "metadata": { "name": "host1", "labels": { "example.com/rack": rack } } });
    let answer = validate(&review("", "Node", &host("r1"), &host("z"))).await;
    let warning = answer["response"]["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("checked against cached state only: "), "{warning}");
    let metrics = server
        .metrics
        .scrape(&server.snapshots, &lanekeeper::metrics::Certificates::default())
        .unwrap();
    assert!(
        metrics.contains("lanekeeper_fresh_read_duration_seconds_count{outcome=\"failed\"} 3"),
        "{metrics}"
    );
    odd.store(false, Ordering::Relaxed);
    for body in [&change, &create] {
        let status = validate(body).await["response"]["status"].clone();
        assert_ne!(status["code"], 500, "now it can be told: {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_cant_be_read_refuses_only_where_vms_run_and_is_not_named_elsewhere() {
    let mut pod = odd_pod();
    for (of_pod, of_request, code, says) in [
        // Anyone may make one in a namespace without VMs.
        ("empty", "default", 403, "nad-change"),
        ("default", "default", 500, "Pod default/odd can't be read: metadata.labels"),
        ("default", "other", 500, "a Pod in another namespace can't be read"),
    ] {
        pod["metadata"]["namespace"] = json!(of_pod);
        let pods = [pod.clone()];
        let server = ApiServer::new(move |call| call.is_list("pods").then(|| list(1, &pods)));
        let present = Present::new(Api::new(server.client()), Decoder::default());
        let server = Server::reading(known(), present);
        let [old, new] = [1, 2].map(|vlan| {
            let mut nad = nad("vm-network-a", vlan);
            nad["metadata"]["namespace"] = json!(of_request);
            nad
        });
        let body = review(MULTUS, "NetworkAttachmentDefinition", &old, &new);
        let status = server.post("/validate", body).await.json()["response"]["status"].clone();
        assert_eq!(status["code"], code, "{of_pod} {of_request}: {status}");
        let message = status["message"].as_str().unwrap();
        assert!(message.contains(says), "{message}");
        assert!(of_pod == of_request || !message.contains("odd"), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_fails_leaves_a_vms_affinity_as_it_is() {
    let fails = Arc::new(AtomicBool::new(true));
    let server = ApiServer::new({
        let fails = fails.clone();
        move |call| {
            (call.last() == "unknown").then(|| {
                if fails.load(Ordering::Relaxed) {
                    Answer::Status(500, None, "etcd is away")
                } else {
                    Answer::Status(404, None, "none")
                }
            })
        }
    });
    let present = Present::new(Api::new(server.client()), Decoder::default());
    let server = Server::reading(known(), present);
    let mut vm = vm(["unknown".to_owned()]);
    let required = json!({ "nodeSelectorTerms": [{ "matchExpressions": [
        { "key": "network.harvesterhci.io/cluster-a", "operator": "In", "values": ["true"] },
    ] }] });
    vm["spec"]["template"]["spec"]["affinity"] =
        json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": required } });
    let body = review("kubevirt.io", "VirtualMachine", &Value::Null, &vm);
    let answer = server.post("/mutate", body.clone()).await.json();
    assert_eq!(answer["response"], json!({ "uid": "1", "allowed": true }));
    fails.store(false, Ordering::Relaxed);
    let answer = server.post("/mutate", body).await.json();
    assert!(answer["response"]["patch"].is_string(), "it is known not to exist: {answer}");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_outlasts_the_webhooks_time_refuses() {
    let server = ApiServer::new(|call| call.is_list("pods").then_some(Answer::Silence));
    let present = Present::new(Api::new(server.client()), Decoder::default());
    let server = Server::reading(known(), present);
    let change = review(
        MULTUS,
        "NetworkAttachmentDefinition",
        &nad("vm-network-a", 1),
        &nad("vm-network-a", 2),
    );
    let begun = tokio::time::Instant::now();
    let answer = server.post("/validate?timeout=4s", change).await.json();
    let message = answer["response"]["status"]["message"].as_str().unwrap();
    assert!(message.contains("it took longer than 3.0 s"), "{message}");
    assert_eq!(begun.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_learns_nothing_and_causes_no_read() {
    let server = ApiServer::new(|_| None);
    let present = Present::new(Api::new(server.client()), Decoder::default());
    let ours = Server::for_clients_only(known(), present);
    let change = review(
        MULTUS,
        "NetworkAttachmentDefinition",
        &nad("vm-network-a", 1),
        &nad("vm-network-a", 2),
    );
    for path in
        ["/validate", "/mutate", "/scheduler/filter", "/scheduler/prioritize", "/scheduler/preempt"]
    {
        for body in [change.as_str(), "nonsense"] {
            let answer = ours.post(path, body.to_owned()).await;
            assert_eq!(answer.status, 401, "{path}");
            let says =
                "a client certificate is required that was issued by the CA of --client-ca\n";
            assert_eq!(answer.body, says);
        }
    }
    assert!(server.calls(|_| true).is_empty());
    let metrics = ours
        .metrics
        .scrape(&ours.snapshots, &lanekeeper::metrics::Certificates::default())
        .unwrap();
    assert!(!metrics.contains("admission_requests_total{"), "nor is it counted: {metrics}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_100_kib_keeps_the_beginning_of_its_message() {
    let says: &str = "no room, ".repeat(12_000).leak();
    let server = ApiServer::new(|_| Some(Answer::Status(403, None, says)));
    let error = Api::new(server.client()).serves(Kind::Vm).await.unwrap_err().to_string();
    assert!(error.starts_with("forbidden: no room, ") && error.len() < 2000, "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_update_that_only_adds_a_finalizer_reads_nothing_and_is_admitted_whatever_its_faults() {
    let odd_vm = {
        let mut vm = vm(["gone".to_owned(), "A b".to_owned()]);
        let twice = json!([{ "name": "gone", "macAddress": "52:54:00:00:00:01" },
                           { "name": "gone", "macAddress": "52:54:00:00:00:01" }]);
        vm["spec"]["template"]["spec"]["domain"] = json!({ "devices": { "interfaces": twice } });
        vm
    };
    let mut odd_config = config("c", "gone", &json!({ "example.com/rack": "r1" }));
    odd_config["spec"]["uplink"] = json!({
        "nics": ["mgmt-bo", "enp7s1", "enp7s1"],
        "bondOptions": { "lacpRate": "fast" },
        "linkAttributes": { "mtu": 7 },
    });
    odd_config["metadata"]["labels"] = json!({ "network.harvesterhci.io/clusternetwork": "other" });
    let mut odd_network = nad("odd", 5000);
    odd_network["metadata"]["labels"] = json!({ "network.harvesterhci.io/clusternetwork": "gone" });
    let record = config("mgmt-vlanconfig-host1", "mgmt", &json!({}));
    let odd_cluster_network = json!({ "metadata": { "name": "much-too-long-a-name", "annotations": {
        "network.harvesterhci.io/uplink-mtu": "odd" } } });
    let host = json!({ "metadata": { "name": "host1", "labels": { "example.com/rack": "z" } } });
    for (group, kind, old) in [
        (HARVESTER, "ClusterNetwork", odd_cluster_network),
        (HARVESTER, "VlanConfig", odd_config),
        (HARVESTER, "VlanConfig", record),
        (MULTUS, "NetworkAttachmentDefinition", odd_network),
        ("kubevirt.io", "VirtualMachine", odd_vm),
        ("", "Node", host),
    ] {
        let mut new = old.clone();
        new["metadata"]["finalizers"] = json!(["wrangler.cattle.io/x"]);
        for (old, new) in [(&old, &new), (&new, &old)] {
            let body = review(group, kind, old, new);
            for webhook in [Webhook::Validate, Webhook::Mutate] {
                assert_eq!(asked(&body, webhook).await, [""; 0], "{kind}");
            }
            let answer = Server::new(Some(known())).post("/validate", body).await.json();
            assert_eq!(answer["response"], json!({ "uid": "1", "allowed": true }), "{kind}");
        }
    }
}

/// The leader's own writes: they must cost no reads, nor be refused for an old fault.
#[tokio::test(start_paused = true)]
async fn an_update_of_what_ready_says_reads_nothing_and_is_admitted() {
    let labels = |ready: Value| {
        json!({ "network.harvesterhci.io/clusternetwork": "gone",
                "network.harvesterhci.io/ready": ready })
    };
    let vm_network = |ready: Value| {
        let mut nad = nad("odd", 5000);
        nad["metadata"]["labels"] = labels(ready);
        nad
    };
    let cluster_network = |status: &str| {
        json!({
            "metadata": { "name": "much-too-long-a-name",
                          "annotations": { "network.harvesterhci.io/uplink-mtu": "odd" } },
            "status": { "conditions": [{ "type": "ready", "status": status }] },
        })
    };
    let nad_kind = (MULTUS, "NetworkAttachmentDefinition");
    for ((group, kind), old, new) in [
        (nad_kind, vm_network(json!("true")), vm_network(json!("false"))),
        (nad_kind, vm_network(Value::Null), vm_network(json!("true"))),
        ((HARVESTER, "ClusterNetwork"), cluster_network("True"), cluster_network("False")),
    ] {
        let body = review(group, kind, &old, &new);
        for webhook in [Webhook::Validate, Webhook::Mutate] {
            assert_eq!(asked(&body, webhook).await, [""; 0], "{kind}");
        }
        let answer = Server::new(Some(known())).post("/validate", body).await.json();
        assert_eq!(answer["response"], json!({ "uid": "1", "allowed": true }), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_of_a_vm_whose_network_no_watch_has_told_yet_keeps_its_affinity() {
    let mut old = vm(["unknown".to_owned()]);
    let required = json!({ "nodeSelectorTerms": [{ "matchExpressions": [
        { "key": "network.harvesterhci.io/cluster-a", "operator": "In", "values": ["true"] },
    ] }] });
    old["spec"]["template"]["spec"]["affinity"] =
        json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": required } });
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({ "one": "two" });
    let body = review("kubevirt.io", "VirtualMachine", &old, &new);
    let answer = Server::new(Some(known())).post("/mutate", body).await.json();
    assert_eq!(answer["response"], json!({ "uid": "1", "allowed": true }));
    new["spec"]["runStrategy"] = json!("Halted");
    let body = review("kubevirt.io", "VirtualMachine", &old, &new);
    assert_eq!(asked(&body, Webhook::Mutate).await, ["unknown"], "any other is looked up for");
}
