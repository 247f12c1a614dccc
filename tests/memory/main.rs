//! What a request costs: an allocator that counts, and bodies that cost as much as they can.
//!
//! One process, one thread that asks: what the allocator counts is the request's.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "a test that can't go on has failed, and tells what it measured"
)]

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use lanekeeper::cluster::{Index, Kind, Options};
use lanekeeper::decide::filter::Rejections;
use lanekeeper::decide::review::Policy;
use lanekeeper::k8s::Decoder;
use lanekeeper::metrics::Metrics;
use lanekeeper::publish;
use lanekeeper::server::{App, Bodies, Calls, Settings};
use peak_alloc::PeakAlloc;
use serde_json::json;
use tower::ServiceExt as _;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What a request may cost beside twice its body: the pieces of a reply, what is known of up to 100,000
/// candidates, the parts of an object that are read.
const BESIDE: usize = 3 << 20;

fn server() -> Calls {
    let mut index = Index::new(Options::default());
    for object in [
        json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "h" } }),
        json!({ "apiVersion": "network.harvesterhci.io/v1beta1", "kind": "ClusterNetwork",
                "metadata": { "name": "a-cluster-network" } }),
        json!({ "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                "metadata": { "name": "net", "namespace": "default", "labels": {
                    "network.harvesterhci.io/clusternetwork": "a-cluster-network" } } }),
    ] {
        index.apply(Decoder::default().change(&object).unwrap().unwrap());
    }
    for kind in Kind::ALL {
        index.listed(kind);
    }
    let (publisher, snapshots) = publish::channel();
    publisher.publish(index.snapshot().unwrap(), Duration::ZERO);
    let settings = Settings {
        decoder: Decoder::default(),
        rejections: Rejections::Needed,
        max_filter_body: 128 << 20,
        policy: Policy::default(),
        clients_only: false,
    };
    let metrics = Arc::new(Metrics::new().unwrap());
    let bodies = Bodies::with_room(256 << 20);
    Calls::new(Arc::new(App::new(settings, snapshots, None, metrics, bodies)))
}

/// A body of about `size` bytes: a part between two others, as often as it takes.
fn filled(before: &str, part: &str, after: &str, size: usize) -> String {
    let times = (size.saturating_sub(before.len() + after.len()) / (part.len() + 1)).max(1);
    let mut body = String::with_capacity(size + part.len());
    body.push_str(before);
    for time in 0..times {
        if time > 0 {
            body.push(',');
        }
        body.push_str(part);
    }
    body.push_str(after);
    body
}

/// The same, of at most 100,000 parts: each is made long enough with spaces behind it.
fn padded(before: &str, part: &str, after: &str, size: usize) -> String {
    let length = (size / 99_000).max(part.len());
    filled(before, &format!("{part}{}", " ".repeat(length - part.len())), after, size)
}

const POD: &str = r#""Pod":{"metadata":{"namespace":"default","annotations":{"k8s.v1.cni.cncf.io/networks":"net"}}}"#;
const PLAIN: &str = r#""Pod":{"metadata":{"namespace":"default"}}"#;

/// An AdmissionReview of an object.
fn review(group: &str, kind: &str, before: &str, part: &str, after: &str, size: usize) -> String {
    let head = format!(
        r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"1","kind":{{"group":"{group}","version":"v1","kind":"{kind}"}},"operation":"CREATE","object":{before}"#
    );
    filled(&head, part, &format!("{after}}}}}"), size)
}

/// Each body with its path and what it is.
fn bodies(size: usize) -> Vec<(&'static str, &'static str, String)> {
    let name = r#""worker-00001.example.com""#;
    let node = r#"{"metadata":{"name":"worker-00001.example.com","labels":{"a":"b"}},"status":{}}"#;
    let mut all = vec![
        (
            "/scheduler/filter",
            "owner references",
            filled(
                r#"{"NodeNames":["h"],"Pod":{"metadata":{"ownerReferences":["#,
                "{}",
                "]}}}",
                size,
            ),
        ),
        (
            "/scheduler/filter",
            "labels of a pod",
            filled(
                r#"{"NodeNames":["h"],"Pod":{"metadata":{"labels":{"#,
                r#""a":"""#,
                "}}}}",
                size,
            ),
        ),
        (
            "/scheduler/filter",
            "annotations that are too large",
            filled(
                r#"{"NodeNames":["h"],"Pod":{"metadata":{"annotations":{"#,
                r#""a":"""#,
                "}}}}",
                size,
            ),
        ),
        (
            "/scheduler/filter",
            "a string of a pod",
            filled(r#"{"NodeNames":["h"],"Pod":""#, "\u{7f}\u{7f}\u{7f}", r#""}"#, size),
        ),
        (
            "/scheduler/filter",
            "a string of nodes",
            filled(&format!(r#"{{{POD},"Nodes":""#), "\u{7f}\u{7f}\u{7f}", r#""}"#, size),
        ),
        (
            "/scheduler/filter",
            "names without end",
            filled(&format!(r#"{{{POD},"NodeNames":["#), r#""a""#, "]}", size),
        ),
        (
            "/scheduler/filter",
            "unknown members",
            filled(&format!(r#"{{{POD},"NodeNames":["h"],"x":["#), "[{}]", "]}", size),
        ),
        ("/scheduler/filter", "no JSON", "\u{7f}".repeat(size)),
    ];
    let image = r#"{"names":["registry.example.com/image"],"sizeBytes":1}"#;
    let large = filled(
        r#"{"metadata":{"name":"worker-00001.example.com"},"status":{"images":["#,
        image,
        "]}}",
        10 << 10,
    );
    for path in ["/scheduler/filter", "/scheduler/prioritize"] {
        all.extend([
            (
                path,
                "large nodes, all kept",
                filled(&format!(r#"{{{PLAIN},"Nodes":{{"items":["#), &large, "]}}", size),
            ),
            (
                path,
                "large nodes, all rejected",
                filled(&format!(r#"{{{POD},"Nodes":{{"items":["#), &large, "]}}", size),
            ),
            (
                path,
                "names, all rejected",
                padded(&format!(r#"{{{POD},"NodeNames":["#), name, "]}", size),
            ),
            (
                path,
                "names, all kept",
                padded(&format!(r#"{{{PLAIN},"NodeNames":["#), name, "]}", size),
            ),
            (
                path,
                "short names",
                padded(&format!(r#"{{{POD},"NodeNames":["#), r#""a""#, "]}", size),
            ),
            (
                path,
                "nodes, all rejected",
                padded(&format!(r#"{{{POD},"Nodes":{{"items":["#), node, "]}}", size),
            ),
            (
                path,
                "nodes, all kept",
                padded(&format!(r#"{{{PLAIN},"Nodes":{{"items":["#), node, "]}}", size),
            ),
            (
                path,
                "empty nodes",
                padded(&format!(r#"{{{POD},"Nodes":{{"items":["#), "{}", "]}}", size),
            ),
        ]);
    }
    // In kube-scheduler's own layout, of at most 100,000 names.
    let head = format!(r#"{{{POD},"Nodes":null,"NodeNames":["#);
    for (what, name) in [
        ("known names", r#""h""#.to_owned()),
        ("unknown names", r#""x""#.to_owned()),
        ("long names", format!(r#""{}""#, "x".repeat(250))),
    ] {
        let size = size.min(head.len() + 99_000 * (name.len() + 1));
        all.push(("/scheduler/filter", what, filled(&head, &name, "]}", size)));
    }
    let meta = r#""NodeNameToMetaVictims":{"#;
    let full = r#""NodeNameToVictims":{"#;
    let pods = r#"{"metadata":{"uid":"3b1c9a7e","name":"p"}}"#;
    all.extend([
        (
            "/scheduler/preempt",
            "numbers for victims",
            filled(&format!("{{{PLAIN},{meta}"), r#""1":1"#, "}}", size),
        ),
        (
            "/scheduler/preempt",
            "hosts without victims",
            padded(&format!("{{{PLAIN},{meta}"), r#""h":{}"#, "}}", size),
        ),
        (
            "/scheduler/preempt",
            "nobody to evict",
            padded(&format!("{{{PLAIN},{meta}"), r#""h":null"#, "}}", size),
        ),
        (
            "/scheduler/preempt",
            "meta victims of one host",
            filled(
                &format!(r#"{{{PLAIN},{meta}"h":{{"Pods":["#),
                r#"{"UID":"3b1c9a7e"}"#,
                "]}}}",
                size,
            ),
        ),
        (
            "/scheduler/preempt",
            "meta victims in lower case",
            padded(
                &format!("{{{PLAIN},{meta}"),
                r#""h":{"pods":[{"uid":"3b1c9a7e"}]}"#,
                "}}",
                size,
            ),
        ),
        (
            "/scheduler/preempt",
            "as many victims of one host as there may be",
            format!(
                r#"{{{PLAIN},{meta}"h":{{"pods":[{}]{}}}}}}}"#,
                vec![format!(r#"{{"uid":"{}"}}"#, "u".repeat(500)); 10_000].join(","),
                " ".repeat(size.saturating_sub(5 << 20)),
            ),
        ),
        (
            "/scheduler/preempt",
            "whole victims of one host",
            filled(&format!(r#"{{{PLAIN},{full}"h":{{"Pods":["#), pods, "]}}}", size),
        ),
        (
            "/scheduler/preempt",
            "empty victims of one host",
            filled(&format!(r#"{{{PLAIN},{full}"h":{{"Pods":["#), "{}", "]}}}", size),
        ),
        (
            "/scheduler/preempt",
            "whole victims",
            padded(
                &format!("{{{PLAIN},{full}"),
                &format!(r#""h":{{"Pods":[{pods}]}}"#),
                "}}",
                size,
            ),
        ),
    ]);
    // Of an AdmissionReview no more than 8 MiB are read.
    let size = size.min(8 << 20);
    let harvester = "network.harvesterhci.io";
    let config = r#"{"metadata":{"name":"c"},"spec":{"clusterNetwork":"a","uplink":{"nics":["#;
    let future = r#"{"metadata":{"name":"c"},"spec":{"clusterNetwork":"a","uplink":{"future":["#;
    let vm = r#"{"metadata":{"name":"v"},"spec":{"template":{"spec":{"networks":["#;
    let terms = r#"{"metadata":{"name":"v"},"spec":{"template":{"spec":{"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":["#;
    let values = format!(r#"{terms}{{"matchExpressions":[{{"key":"k","operator":"In","values":["#);
    for path in ["/validate", "/mutate"] {
        all.extend([
            (path, "NICs", review(harvester, "VlanConfig", config, r#""""#, "]}}}", size)),
            (path, "an unknown member", review(harvester, "VlanConfig", future, "1", "]}}}", size)),
            (path, "networks", review("kubevirt.io", "VirtualMachine", vm, "{}", "]}}}}", size)),
            (path, "terms", review("kubevirt.io", "VirtualMachine", terms, "{}", "]}}}}}}}", size)),
            (
                path,
                "values",
                review("kubevirt.io", "VirtualMachine", &values, r#""""#, "]}]}]}}}}}}}", size),
            ),
            (
                path,
                "labels of a host",
                review(
                    "",
                    "Node",
                    r#"{"metadata":{"name":"h","labels":{"#,
                    r#""a":"""#,
                    "}}}",
                    size,
                ),
            ),
            (
                path,
                "managed fields",
                review(
                    "",
                    "Node",
                    r#"{"metadata":{"name":"h","managedFields":["#,
                    "{}",
                    "]}}",
                    size,
                ),
            ),
            (
                path,
                "a CNI configuration",
                review(
                    "k8s.cni.cncf.io",
                    "NetworkAttachmentDefinition",
                    r#"{"metadata":{"name":"n"},"spec":{"config":"{\"type\":\"bridge\",\"a\":["#,
                    "1",
                    r#"]}"}}"#,
                    size,
                ),
            ),
            (
                path,
                "a string of a config",
                review(
                    harvester,
                    "VlanConfig",
                    r#"{"metadata":{"name":"c"},"spec":""#,
                    "\u{7f}",
                    r#""}"#,
                    size,
                ),
            ),
            (path, "a deployment", review("apps", "Deployment", r#"{"spec":["#, "{}", "]}", size)),
        ]);
    }
    all
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let calls = server();
    let sizes = match std::env::var("SIZES") {
        Ok(sizes) => sizes.split(',').map(|size| size.parse().unwrap()).collect(),
        Err(_) => vec![1, 24],
    };
    let (mut passed, mut failed) = (0, 0);
    for size in sizes {
        for (path, what, body) in bodies(size << 20) {
            let length = body.len();
            let answer = runtime.block_on(async {
                // As it comes from a socket: in pieces, its length known.
                let pieces = Sliced { body: body.into(), at: 0 };
                // The body that is being sent is the test's own.
                let before = ALLOCATOR.current_usage();
                ALLOCATOR.reset_peak_usage();
                let request = Request::post(path).body(Body::new(pieces)).unwrap();
                let mut answer = calls.clone().oneshot(request).await.unwrap();
                let (mut bytes, status) = (0, answer.status());
                while let Some(frame) = answer.body_mut().frame().await {
                    bytes += frame.unwrap().data_ref().map_or(0, bytes::Bytes::len);
                }
                (status, bytes, ALLOCATOR.peak_usage() - before)
            });
            let (status, bytes, cost) = answer;
            let holds = cost <= 2 * length + BESIDE;
            println!(
                "{} {path} {what}: {length} bytes, {status}, {bytes} back, {:.2} times at most",
                if holds { "ok  " } else { "FAIL" },
                ratio(cost, length),
            );
            passed += usize::from(holds);
            failed += usize::from(!holds);
        }
    }
    println!("{passed} passed, {failed} failed");
    assert_eq!(failed, 0, "a request costs more than twice its body");
}

#[expect(clippy::cast_precision_loss, reason = "two digits are told")]
fn ratio(cost: usize, length: usize) -> f64 {
    cost as f64 / length as f64
}

/// A body that comes piece by piece.
struct Sliced {
    body: bytes::Bytes,
    at: usize,
}

impl http_body::Body for Sliced {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        let end = (self.at + (64 << 10)).min(self.body.len());
        if end == self.at {
            return std::task::Poll::Ready(None);
        }
        let piece = self.body.slice(self.at..end);
        self.at = end;
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(piece))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact((self.body.len() - self.at) as u64)
    }
}
