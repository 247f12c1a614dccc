//! Admission at 15,000 hosts, 64 cluster networks and 300 network configs, from the request's bytes to
//! the answer's, with 1,000 VMs and with 100,000. A review takes more time with more VMs only if its
//! answer names or counts them.

mod large;

use std::sync::LazyLock;

use divan::{AllocProfiler, Bencher};
use lanekeeper::cluster::Snapshot;
use lanekeeper::decide::review::{Evidence, Policy, Webhook, judge, scope};
use lanekeeper::k8s::Decoder;
use lanekeeper::k8s::admission::parse;
use serde_json::{Value, json};

use large::{HOSTS, built, fill, mac, workload};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const FEW: usize = 1_000;
const MANY: usize = 100_000;
const VMS: [usize; 2] = [FEW, MANY];

static OF_FEW: LazyLock<Snapshot> = LazyLock::new(|| of(FEW));
static OF_MANY: LazyLock<Snapshot> = LazyLock::new(|| of(MANY));

fn of(vms: usize) -> Snapshot {
    let mut index = built();
    fill(&mut index, workload(vms));
    index.snapshot().unwrap_or_else(|| std::process::abort())
}

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

fn answer(body: &str, webhook: Webhook, snapshot: &Snapshot) -> Option<Vec<u8>> {
    let review = parse(body, webhook, &Decoder::default()).ok()?;
    divan::black_box(scope(snapshot, &review.question));
    let evidence = Evidence::of(snapshot.clone());
    let outcome = judge(&evidence, &review.question, &Policy::default());
    Some(review.encode(&outcome, &review.patch(&outcome)))
}

fn bench_of(bencher: Bencher<'_, '_>, webhook: Webhook, vms: usize, body: &str) {
    let snapshot = if vms == FEW { &*OF_FEW } else { &*OF_MANY };
    assert!(answer(body, webhook, snapshot).is_some(), "the request is well formed");
    bencher.bench(|| answer(divan::black_box(body), webhook, snapshot));
}

fn bench(bencher: Bencher<'_, '_>, vms: usize, body: &str) {
    bench_of(bencher, Webhook::Validate, vms, body);
}

const NETWORK: &str = "network.harvesterhci.io";

fn config(selector: &Value, mode: &str) -> Value {
    json!({
        "metadata": { "name": "config-7", "labels": { "network.harvesterhci.io/clusternetwork": "network-7" } },
        "spec": { "description": "", "clusterNetwork": "network-7", "nodeSelector": selector,
                  "uplink": { "nics": ["enp7s0", "enp8s0"], "bondOptions": { "mode": mode } } },
    })
}

fn rack(name: &str) -> Value {
    json!({ "rack": name })
}

/// The object with another text in a member that it has.
fn with(object: &Value, pointer: &str, text: &str) -> Value {
    let mut object = object.clone();
    if let Some(member) = object.pointer_mut(pointer) {
        *member = text.into();
    }
    object
}

const MODE: &str = "active-backup";

/// It loses the 50 hosts of a rack.
#[divan::bench(args = VMS)]
fn network_config_loses_a_rack(bencher: Bencher<'_, '_>, vms: usize) {
    let (old, new) = (config(&rack("rack-7"), MODE), config(&rack("none"), MODE));
    bench(bencher, vms, &review(NETWORK, "VlanConfig", &old, &new));
}

/// It covered all 15,000 hosts, and goes: all VMs are looked at.
#[divan::bench(args = VMS)]
fn network_config_loses_every_host(bencher: Bencher<'_, '_>, vms: usize) {
    let old = config(&json!({}), MODE);
    bench(bencher, vms, &review(NETWORK, "VlanConfig", &old, &Value::Null));
}

/// No host gets another uplink.
#[divan::bench(args = VMS)]
fn network_config_description(bencher: Bencher<'_, '_>, vms: usize) {
    let old = config(&rack("rack-7"), MODE);
    let new = with(&old, "/spec/description", "for rack 7");
    bench(bencher, vms, &review(NETWORK, "VlanConfig", &old, &new));
}

#[divan::bench(args = VMS)]
fn network_config_create(bencher: Bencher<'_, '_>, vms: usize) {
    let new = with(&config(&rack("none"), MODE), "/metadata/name", "new");
    bench(bencher, vms, &review(NETWORK, "VlanConfig", &Value::Null, &new));
}

#[divan::bench(args = VMS)]
fn network_config_mutated(bencher: Bencher<'_, '_>, vms: usize) {
    let body = review(NETWORK, "VlanConfig", &Value::Null, &config(&rack("rack-7"), MODE));
    bench_of(bencher, Webhook::Mutate, vms, &body);
}

#[divan::bench(args = VMS)]
fn cluster_network_delete(bencher: Bencher<'_, '_>, vms: usize) {
    let old = json!({ "metadata": { "name": "network-7" } });
    bench(bencher, vms, &review(NETWORK, "ClusterNetwork", &old, &Value::Null));
}

fn vm_network(vlan: u32) -> Value {
    let cni = json!({ "type": "bridge", "bridge": "network-7-br", "vlan": vlan });
    json!({
        "metadata": { "name": "net-7", "namespace": "default" },
        "spec": { "config": cni.to_string() },
    })
}

const NAD: [&str; 2] = ["k8s.cni.cncf.io", "NetworkAttachmentDefinition"];

/// A 64th of the VMs use it.
#[divan::bench(args = VMS)]
fn vm_network_delete(bencher: Bencher<'_, '_>, vms: usize) {
    bench(bencher, vms, &review(NAD[0], NAD[1], &vm_network(7), &Value::Null));
}

/// A 64th of the VMs use it.
#[divan::bench(args = VMS)]
fn vm_network_change(bencher: Bencher<'_, '_>, vms: usize) {
    bench(bencher, vms, &review(NAD[0], NAD[1], &vm_network(7), &vm_network(8)));
}

#[divan::bench(args = VMS)]
fn vm_network_mutated(bencher: Bencher<'_, '_>, vms: usize) {
    let body = review(NAD[0], NAD[1], &Value::Null, &vm_network(7));
    bench_of(bencher, Webhook::Mutate, vms, &body);
}

fn vm(name: &str, mac: &str, selector: &Value) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "template": { "spec": {
            "nodeSelector": selector,
            "networks": [{ "name": "n", "multus": { "networkName": "net-7" } }],
            "domain": { "devices": { "interfaces": [{ "name": "n", "macAddress": mac }] } },
        } } },
    })
}

const VM: [&str; 2] = ["kubevirt.io", "VirtualMachine"];
const NO_MAC: &str = "02:00:00:00:00:01";

#[divan::bench(args = VMS)]
fn vm_create_with_a_taken_mac(bencher: Bencher<'_, '_>, vms: usize) {
    let new = vm("new", &mac(vms - 25).to_string(), &json!({}));
    bench(bencher, vms, &review(VM[0], VM[1], &Value::Null, &new));
}

/// Hosts are looked at until one fits. None does.
#[divan::bench(args = VMS)]
fn vm_create_that_no_host_fits(bencher: Bencher<'_, '_>, vms: usize) {
    let new = vm("new", NO_MAC, &rack("none"));
    bench(bencher, vms, &review(VM[0], VM[1], &Value::Null, &new));
}

#[divan::bench(args = VMS)]
fn vm_mutated(bencher: Bencher<'_, '_>, vms: usize) {
    let body = review(VM[0], VM[1], &Value::Null, &vm("new", NO_MAC, &json!({})));
    bench_of(bencher, Webhook::Mutate, vms, &body);
}

#[divan::bench(args = VMS)]
fn host_relabelled(bencher: Bencher<'_, '_>, vms: usize) {
    let name = format!("worker-{:05}", HOSTS / 2);
    let host = |rack: &str| json!({ "metadata": { "name": name, "labels": { "rack": rack } } });
    bench(bencher, vms, &review("", "Node", &host("rack-0"), &host("rack-1")));
}
