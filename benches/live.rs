//! What an API server of 100,000 VMIs costs: memory while they are listed, and a fresh read.
//!
//! Not timed by divan: it starts the program itself, against a list server on the loopback that
//! serves objects of KubeVirt's size, in pages as Kubernetes before 1.34 does and in streams as it
//! does since. `cargo bench --bench live`; it takes a few minutes and prints a table.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::needless_pass_by_value,
    reason = "a benchmark that can't go on has failed, and prints what it found"
)]

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

const VMIS: usize = 100_000;
/// How long a slow API server takes to stream its VMIs.
const SLOW: Duration = Duration::from_secs(90);
const HOSTS: usize = 1_000;
/// The size of a VMI as KubeVirt writes it, in bytes.
const VMI_SIZE: usize = 12 << 10;

/// What the list server serves, and what it has sent.
struct Served {
    how: How,
    requests: AtomicU64,
    bytes: AtomicU64,
    filler: String,
}

/// How lists are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Pages,
    Streams,
    /// As streams, and the VMIs as slowly as a busy API server would.
    SlowStreams,
}

impl Served {
    fn vmi(&self, number: usize) -> Value {
        json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
            "metadata": {
                "name": format!("vm-{number}"), "namespace": "default", "uid": format!("u-{number}"),
                "resourceVersion": "1",
                "managedFields": [{"manager": "virt-controller", "fieldsV1": {"f:spec": self.filler}}],
            },
            "spec": {"domain": {"devices": {}}, "networks": [
                {"name": "net", "multus": {"networkName": format!("default/net-{}", number % 64)}},
            ]},
            "status": {"phase": "Running", "nodeName": host_of(number),
                       "activePods": {format!("p-{number}"): host_of(number)}},
        })
    }

    fn pod(&self, number: usize, metadata: bool) -> Value {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": format!("virt-launcher-vm-{number}"), "namespace": "default",
                "uid": format!("p-{number}"), "resourceVersion": "1",
                "labels": {"kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": format!("vm-{number}")},
                "annotations": {"k8s.v1.cni.cncf.io/networks":
                    format!(r#"[{{"name":"net-{}","namespace":"default"}}]"#, number % 64)},
                "ownerReferences": [{"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
                    "name": format!("vm-{number}"), "uid": format!("u-{number}"), "controller": true}],
                "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": self.filler[..3000]}}],
            },
        });
        if !metadata {
            pod["spec"] =
                json!({"nodeName": host_of(number), "containers": [{"env": self.filler[..4000]}]});
            pod["status"] = json!({"phase": "Running"});
        }
        pod
    }

    fn object(&self, path: &str, number: usize, metadata: bool) -> Value {
        match path.rsplit('/').next().unwrap() {
            "pods" => self.pod(number, metadata),
            "virtualmachineinstances" => self.vmi(number),
            "nodes" => json!({"apiVersion": "v1", "kind": "Node", "metadata": {
                "name": format!("host-{number}"), "resourceVersion": "1",
                "labels": {"rack": (number / 10).to_string(), "site": "one"}}}),
            "network-attachment-definitions" => json!({
                "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                "metadata": {"name": format!("net-{number}"), "namespace": "default",
                             "resourceVersion": "1"},
                "spec": {"config": r#"{"type":"bridge","bridge":"lan-br"}"#}}),
            "clusternetworks" => json!({
                "apiVersion": "network.harvesterhci.io/v1beta1", "kind": "ClusterNetwork",
                "metadata": {"name": "lan", "resourceVersion": "1"}}),
            _ => json!({
                "apiVersion": "network.harvesterhci.io/v1beta1", "kind": "VlanConfig",
                "metadata": {"name": "config", "resourceVersion": "1"},
                "spec": {"clusterNetwork": "lan", "nodeSelector": {"rack": "0"}, "uplink": {}}}),
        }
    }
}

/// The objects of a collection.
fn objects(path: &str, query: &[(String, String)]) -> Vec<usize> {
    let all: Vec<usize> = match path.rsplit('/').next().unwrap() {
        "pods" | "virtualmachineinstances" => (0..VMIS).collect(),
        "nodes" => (0..HOSTS).collect(),
        "network-attachment-definitions" => (0..64).collect(),
        "clusternetworks" | "vlanconfigs" => vec![0],
        _ => Vec::new(),
    };
    let fields = value(query, "fieldSelector").unwrap_or_default();
    match fields.split(',').find_map(|it| it.strip_prefix("spec.nodeName=")) {
        Some(host) => all.into_iter().filter(|number| host_of(*number) == host).collect(),
        None => all,
    }
}

fn host_of(number: usize) -> String {
    format!("host-{}", number % HOSTS)
}

fn value(query: &[(String, String)], key: &str) -> Option<String> {
    query.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
}

async fn answer(
    State(served): State<Arc<Served>>,
    Query(query): Query<Vec<(String, String)>>,
    request: http::Request<Body>,
) -> Response {
    served.requests.fetch_add(1, Ordering::Relaxed);
    let path = request.uri().path().to_owned();
    let metadata = request
        .headers()
        .get("accept")
        .is_some_and(|it| it.to_str().unwrap().contains("PartialObjectMetadata"));
    let send = {
        let served = served.clone();
        move |bytes: Vec<u8>| {
            served.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Bytes::from(bytes)
        }
    };
    let json = |value: Value| {
        ([("content-type", "application/json")], send(value.to_string().into_bytes()))
            .into_response()
    };
    if path == "/version" {
        let minor = if served.how == How::Pages { "33" } else { "37" };
        return json(json!({"major": "1", "minor": minor, "gitVersion": "", "gitCommit": "",
            "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}));
    }
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    if parts[0] == "apis" && parts.len() == 3 {
        let kinds = [
            "clusternetworks",
            "vlanconfigs",
            "vlanstatuses",
            "linkmonitors",
            "network-attachment-definitions",
            "virtualmachines",
            "virtualmachineinstances",
            "virtualmachineinstancemigrations",
        ];
        let resources: Vec<Value> = kinds
            .iter()
            .map(|name| {
                json!({"name": name, "singularName": "", "namespaced": true, "kind": "",
                               "verbs": []})
            })
            .collect();
        return json(
            json!({"kind": "APIResourceList", "groupVersion": "", "resources": resources}),
        );
    }
    let numbers = objects(&path, &query);
    if value(&query, "watch").is_some() {
        // What is there, as a stream, and then nothing more.
        let first = if value(&query, "sendInitialEvents").is_some() { numbers } else { Vec::new() };
        let end = json!({"kind": "x", "apiVersion": "v1", "metadata": {
            "resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}});
        let wait = stream::once(async {
            tokio::time::sleep(Duration::from_mins(1)).await;
            Ok(Bytes::new())
        });
        let is_slow = served.how == How::SlowStreams && path.ends_with("virtualmachineinstances");
        let pause = if is_slow { SLOW / 100 } else { Duration::ZERO };
        let events = first.into_iter().map(Some).chain([None]);
        let events = stream::iter(events).then(move |number| {
            // In this order, as the API server writes them.
            let (of, object) = match number {
                Some(number) => ("ADDED", served.object(&path, number, false)),
                None => ("BOOKMARK", end.clone()),
            };
            let event = send(format!("{{\"type\":\"{of}\",\"object\":{object}}}\n").into_bytes());
            async move {
                if !pause.is_zero() && number.is_some_and(|number| number % (VMIS / 100) == 0) {
                    tokio::time::sleep(pause).await;
                }
                Ok::<_, Infallible>(event)
            }
        });
        return Body::from_stream(events.chain(wait)).into_response();
    }
    let from: usize = value(&query, "continue").map_or(0, |token| token.parse().unwrap());
    let limit: usize = value(&query, "limit").map_or(usize::MAX, |limit| limit.parse().unwrap());
    let page: Vec<Value> = numbers
        .iter()
        .skip(from)
        .take(limit)
        .map(|number| served.object(&path, *number, metadata))
        .collect();
    let next = from + page.len();
    let token = if next < numbers.len() { next.to_string() } else { String::new() };
    json(json!({
        "kind": "List", "apiVersion": "v1",
        "metadata": {"resourceVersion": "1", "continue": token}, "items": page,
    }))
}

/// A figure of a process, in MiB.
fn memory(process: &Child, figure: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(figure)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

/// The program, against a list server; ended with this.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn measure(folder: &Path, how: How) {
    let served = Arc::new(Served {
        how,
        requests: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        filler: "x".repeat(VMI_SIZE - 600),
    });
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let router = Router::new().fallback(get(answer)).with_state(served.clone());
    tokio::spawn(async move { axum::serve(socket, router).await });
    let kubeconfig = folder.join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    });
    fs::write(&kubeconfig, config.to_string()).unwrap();
    let files = lanekeeper::pki::for_development(&folder.join("tls")).unwrap();
    let (https, admin) = (free(), free());
    let started = Instant::now();
    let program = Program(
        Command::new(env!("CARGO_BIN_EXE_lanekeeper"))
            .args(["serve", "--kubeconfig"])
            .arg(&kubeconfig)
            .arg("--tls-cert")
            .arg(&files.cert)
            .arg("--tls-key")
            .arg(&files.key)
            .args(["--listen", &https, "--admin-listen", &admin, "--ui-listen", "127.0.0.1:0"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let http = reqwest::Client::new();
    while !http
        .get(format!("http://{admin}/readyz"))
        .send()
        .await
        .is_ok_and(|it| it.status() == 200)
    {
        assert!(started.elapsed() < Duration::from_mins(5), "not ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let how = match how {
        How::Pages => "pages",
        How::Streams => "streams",
        How::SlowStreams => "streams of 90 s",
    };
    println!(
        "{how}: ready after {:.1} s; {} MiB received in {} requests; peak {} MiB, now {} MiB",
        started.elapsed().as_secs_f64(),
        served.bytes.load(Ordering::Relaxed) >> 20,
        served.requests.load(Ordering::Relaxed),
        memory(&program.0, "VmHWM"),
        memory(&program.0, "VmRSS"),
    );
    let ca = reqwest::Certificate::from_pem(&fs::read(folder.join("tls/ca.crt")).unwrap()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
    for (what, review) in [
        ("a host's labels change: its pods by field selector", relabelled()),
        ("a config loses 10 hosts, with 1,000 VMIs: their pods", deleted(json!({"rack": "0"}))),
        ("one loses all 1,000 hosts: all pods, metadata alone", deleted(json!({"site": "one"}))),
    ] {
        let before =
            (served.requests.load(Ordering::Relaxed), served.bytes.load(Ordering::Relaxed));
        let begun = Instant::now();
        let url = format!("https://localhost:{}/validate", https.rsplit(':').next().unwrap());
        let answer = client.post(url).body(review.to_string()).send().await.unwrap();
        let took = begun.elapsed();
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(answer["response"]["allowed"], false, "{answer}");
        println!(
            "{how}: {what}: {:.0} ms, {} requests, {} KiB; peak {} MiB",
            took.as_secs_f64() * 1e3,
            served.requests.load(Ordering::Relaxed) - before.0,
            (served.bytes.load(Ordering::Relaxed) - before.1) >> 10,
            memory(&program.0, "VmHWM"),
        );
    }
}

fn free() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn review(group: &str, kind: &str, operation: &str, old: Value, new: Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "1", "kind": {"group": group, "version": "v1", "kind": kind},
            "operation": operation, "userInfo": {"username": "admin"},
            "object": new, "oldObject": old,
        },
    })
}

fn relabelled() -> Value {
    let host = |rack: &str| {
        json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "host-0", "labels": {"rack": rack}}})
    };
    review("", "Node", "UPDATE", host("0"), host("none"))
}

fn deleted(selector: Value) -> Value {
    let config = json!({"apiVersion": "network.harvesterhci.io/v1beta1", "kind": "VlanConfig",
        "metadata": {"name": "config"},
        "spec": {"clusterNetwork": "lan", "nodeSelector": selector, "uplink": {}}});
    review("network.harvesterhci.io", "VlanConfig", "DELETE", config, Value::Null)
}

fn main() {
    // `cargo test --benches` and the like only want to know that it is there.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for how in [How::Pages, How::Streams, How::SlowStreams] {
        let folder = tempfile::tempdir().unwrap();
        runtime.block_on(measure(folder.path(), how));
    }
}
