//! Admission at 15,000 hosts, 64 cluster networks, 300 network configs and 100,000 VMs, from the
//! request's bytes to the answer's: one benchmark for each kind, each of a change that looks at VMs.

mod large;

use std::sync::LazyLock;

use divan::Bencher;
use lanekeeper::cluster::Snapshot;
use lanekeeper::decide::review::{Evidence, Policy, Webhook, judge};
use lanekeeper::k8s::Decoder;
use lanekeeper::k8s::admission::parse;
use serde_json::{Value, json};

use large::{HOSTS, VMIS, built, fill, mac, workload};

fn main() {
    divan::main();
}

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let mut index = built();
    fill(&mut index, workload(VMIS));
    index.snapshot().unwrap_or_else(|| std::process::abort())
});

fn review(group: &str, kind: &str, old: &Value, new: &Value) -> String {
    let operation = match (old.is_null(), new.is_null()) {
        (true, _) => "CREATE",
        (_, true) => "DELETE",
        _ => "UPDATE",
    };
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "1",
            "kind": { "group": group, "version": "v1", "kind": kind },
            "operation": operation,
            "oldObject": old,
            "object": new,
        },
    })
    .to_string()
}

fn answer(body: &str) -> Option<Vec<u8>> {
    let review = parse(body, Webhook::Validate, &Decoder::default()).ok()?;
    let evidence = Evidence::of(SNAPSHOT.clone());
    let outcome = judge(&evidence, &review.question, &Policy::default());
    Some(review.encode(&outcome, &review.patch(&outcome)))
}

fn bench(bencher: Bencher<'_, '_>, body: &str) {
    assert!(answer(body).is_some(), "the request is well formed");
    bencher.bench(|| answer(divan::black_box(body)));
}

const NETWORK: &str = "network.harvesterhci.io";

fn config(selector: &Value) -> Value {
    json!({
        "metadata": { "name": "config-7" },
        "spec": { "clusterNetwork": "network-7", "nodeSelector": selector,
                  "uplink": { "nics": ["enp7s0", "enp8s0"] } },
    })
}

/// It loses the 50 hosts of a rack.
#[divan::bench]
fn network_config_loses_a_rack(bencher: Bencher<'_, '_>) {
    let (old, new) = (config(&json!({ "rack": "rack-7" })), config(&json!({ "rack": "none" })));
    bench(bencher, &review(NETWORK, "VlanConfig", &old, &new));
}

/// It covered all 15,000 hosts, and goes: all 100,000 VMs are looked at.
#[divan::bench]
fn network_config_loses_every_host(bencher: Bencher<'_, '_>) {
    bench(bencher, &review(NETWORK, "VlanConfig", &config(&json!({})), &Value::Null));
}

#[divan::bench]
fn cluster_network_delete(bencher: Bencher<'_, '_>) {
    let old = json!({ "metadata": { "name": "network-7" } });
    bench(bencher, &review(NETWORK, "ClusterNetwork", &old, &Value::Null));
}

/// 1,562 VMs use it.
#[divan::bench]
fn vm_network_delete(bencher: Bencher<'_, '_>) {
    let old = json!({ "metadata": { "name": "net-7", "namespace": "default" } });
    bench(bencher, &review("k8s.cni.cncf.io", "NetworkAttachmentDefinition", &old, &Value::Null));
}

#[divan::bench]
fn vm_create_with_a_taken_mac(bencher: Bencher<'_, '_>) {
    let new = json!({
        "metadata": { "name": "new", "namespace": "default" },
        "spec": { "template": { "spec": {
            "networks": [{ "name": "n", "multus": { "networkName": "net-7" } }],
            "domain": { "devices": { "interfaces": [{ "name": "n", "macAddress": mac(VMIS - 25).to_string() }] } },
        } } },
    });
    bench(bencher, &review("kubevirt.io", "VirtualMachine", &Value::Null, &new));
}

#[divan::bench]
fn host_relabelled(bencher: Bencher<'_, '_>) {
    let host = |rack: &str| json!({ "metadata": { "name": format!("worker-{:05}", HOSTS / 2), "labels": { "rack": rack } } });
    bench(bencher, &review("", "Node", &host("rack-0"), &host("rack-1")));
}
