//! The filter, from the request's bytes to the reply's: at 100, 1,000 and 15,000 names and 1,000
//! whole nodes, half of them rejected and all of them rejected, beside a copy of the same bytes; and
//! names in the order of the index, in another one, and in one that is never that of the last request.

use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::BytesCount;
use lanekeeper::cluster::{Index, Kind, Options, Snapshot};
use lanekeeper::decide::filter::{Filter, Rejections};
use lanekeeper::decide::needs::Needs;
use lanekeeper::k8s::Decoder;
use lanekeeper::k8s::extender::{args, pod_and_names};
use lanekeeper::k8s::replies::{filter_list, filter_result};
use serde_json::{Value, json};

const HOSTS: usize = 15_000;
/// A node as large as those of the measured cluster: 10.4 MB for 1,000.
const NODE_BYTES: usize = 10_400;

fn main() {
    divan::main();
}

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let mut index = Index::new(Options::default());
    let mut apply = |object: Value| {
        let change = Decoder::default().change(&object).ok().flatten();
        index.apply(change.unwrap_or_else(|| std::process::abort()));
    };
    for host in 0..HOSTS {
        let half = (host % 2).to_string();
        apply(json!({ "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": name(host), "labels": { "half": half } } }));
    }
    let group = "network.harvesterhci.io/v1beta1";
    for (network, selector) in
        [("half", json!({ "half": "1" })), ("nowhere", json!({ "half": "2" }))]
    {
        apply(
            json!({ "apiVersion": group, "kind": "ClusterNetwork", "metadata": { "name": network } }),
        );
        apply(json!({ "apiVersion": group, "kind": "VlanConfig", "metadata": { "name": network },
            "spec": { "clusterNetwork": network, "nodeSelector": selector } }));
        apply(json!({ "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": { "name": network, "namespace": "default",
                          "labels": { "network.harvesterhci.io/clusternetwork": network } } }));
    }
    for kind in Kind::ALL {
        index.listed(kind);
    }
    index.snapshot().unwrap_or_else(|| std::process::abort())
});

fn name(host: usize) -> String {
    format!("worker-{host:05}.example.com")
}

/// A request of the scheduler's, with a pod of the size of KubeVirt's.
fn request(network: &str, hosts: usize, whole_nodes: bool) -> Vec<u8> {
    request_in_order(network, hosts, 1, whole_nodes)
}

/// The same, with every `step`th host, around and around.
fn request_in_order(network: &str, hosts: usize, step: usize, whole_nodes: bool) -> Vec<u8> {
    let pod = json!({
        "metadata": { "name": "virt-launcher", "namespace": "default",
                      "annotations": { "k8s.v1.cni.cncf.io/networks": network } },
        "spec": { "padding": "x".repeat(8_000) },
    });
    let mut body = format!(r#"{{"Pod":{pod},"#);
    if whole_nodes {
        body.push_str(r#""Nodes":{"metadata":{},"items":["#);
        let image = json!({ "names": vec!["registry.example.com/image@sha256:0123456789abcdef"; 4], "sizeBytes": 123_456 });
        for host in 0..hosts {
            let node = json!({
                "metadata": { "name": name(host), "labels": { "a": "b" } },
                "status": { "images": vec![&image; NODE_BYTES / image.to_string().len()] },
            });
            let _ = write!(body, "{}{node}", if host > 0 { "," } else { "" });
        }
        body.push_str(r#"]},"NodeNames":null}"#);
    } else {
        let names: Vec<_> = (0..hosts).map(|place| name(place * step % hosts)).collect();
        let _ = write!(body, r#""Nodes":null,"NodeNames":{}}}"#, json!(names));
    }
    body.into_bytes()
}

fn answer(body: &[u8]) -> Option<Vec<u8>> {
    let snapshot = &*SNAPSHOT;
    let body = std::str::from_utf8(body).ok()?;
    let decoder = Decoder::default();
    if let Some((pod, names)) = pod_and_names(body, &decoder) {
        let needs = Needs::of(snapshot, &pod.networks);
        let mut reply = Vec::new();
        let filter = Filter::new(snapshot, &needs, 0);
        return filter_list(names, filter, Rejections::Needed, &mut reply).map(|_| reply);
    }
    let args = args(body).ok()?;
    let needs = Needs::of(snapshot, &args.pod(&decoder).ok()?.networks);
    let mut filter = Filter::new(snapshot, &needs, args.candidates.len());
    for candidate in args.candidates.iter(body) {
        filter.candidate(&candidate.name(), || {
            args.candidates.are_nodes().then(|| candidate.host(&decoder))?
        });
    }
    let reply = filter_result(args.candidates, filter.finish(Rejections::Needed));
    Some(reply.to_vec(body))
}

fn bench(bencher: Bencher<'_, '_>, body: &[u8], what: impl Fn(&[u8]) -> Option<Vec<u8>> + Sync) {
    LazyLock::force(&SNAPSHOT);
    assert!(answer(body).is_some(), "the request is well formed");
    bencher.counter(BytesCount::of_slice(body)).bench(|| what(divan::black_box(body)));
}

#[divan::bench(args = [100, 1_000, 15_000])]
fn names_half_kept(bencher: Bencher<'_, '_>, hosts: usize) {
    bench(bencher, &request("half", hosts, false), answer);
}

/// Primes that divide none of the numbers of hosts, so that every host comes once.
const STEPS: [usize; 2] = [7_919, 4_999];

#[divan::bench(args = [100, 1_000, 15_000])]
fn names_in_another_order(bencher: Bencher<'_, '_>, hosts: usize) {
    bench(bencher, &request_in_order("half", hosts, STEPS[0], false), answer);
}

#[divan::bench(args = [100, 1_000, 15_000])]
fn names_in_changing_order(bencher: Bencher<'_, '_>, hosts: usize) {
    let [one, other] = STEPS.map(|step| request_in_order("half", hosts, step, false));
    assert!(answer(&one).is_some() && answer(&other).is_some(), "the requests are well formed");
    let turn = Cell::new(false);
    bencher
        .counter(BytesCount::of_slice(&one))
        .bench_local(|| answer(if turn.replace(!turn.get()) { &one } else { &other }));
}

#[divan::bench(args = [100, 1_000, 15_000])]
fn names_none_kept(bencher: Bencher<'_, '_>, hosts: usize) {
    bench(bencher, &request("nowhere", hosts, false), answer);
}

#[divan::bench(args = [100, 1_000, 15_000])]
fn names_only_copied(bencher: Bencher<'_, '_>, hosts: usize) {
    bench(bencher, &request("half", hosts, false), |body| Some(body.to_vec()));
}

#[divan::bench(args = [1_000])]
fn nodes_half_kept(bencher: Bencher<'_, '_>, hosts: usize) {
    bench(bencher, &request("half", hosts, true), answer);
}

#[divan::bench(args = [1_000])]
fn nodes_only_copied(bencher: Bencher<'_, '_>, hosts: usize) {
    bench(bencher, &request("half", hosts, true), |body| Some(body.to_vec()));
}
