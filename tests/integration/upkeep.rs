//! What the leader keeps right: each rule as a table over manifests, and the properties of the whole.

use std::collections::{BTreeMap, BTreeSet};

use lanekeeper::cluster::{
    Activation, Change, ClusterNetwork, Fact, Host, Key, Kind, Labels, Name, Now, ObjectRef,
    Options, Run, Snapshot, UplinkMtu,
};
use lanekeeper::decide::explain::Asked;
use lanekeeper::decide::feasible::unschedulable;
use lanekeeper::decide::upkeep::{
    ClusterNetworkUpdate, CutOff, Scope, Target, Update, count_cut_off, cut_off, targets, update,
};
use lanekeeper::metrics::Certificates;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::harness::{Server, snapshot_from, snapshot_with};
use crate::properties::{few_histories, histories, options, outcome, picture, synced};

const PREFIX: &str = "network.harvesterhci.io/";

/// A Node. Labels that begin with `/` are about cluster networks.
pub fn node(name: &str, labels: &[(&str, &str)]) -> Value {
    let labels: BTreeMap<String, &str> = labels
        .iter()
        .map(|(key, value)| match key.strip_prefix('/') {
            Some(network) => (format!("{PREFIX}{network}"), *value),
            None => ((*key).to_owned(), *value),
        })
        .collect();
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": labels } })
}

/// A ClusterNetwork with the status of its condition `ready`, and its `uplink-mtu`.
pub fn cluster_network(name: &str, ready: Option<&str>, mtu: Option<&str>) -> Value {
    let conditions: Vec<Value> =
        ready.iter().map(|status| json!({ "type": "ready", "status": status })).collect();
    let annotations: BTreeMap<String, &str> =
        mtu.iter().map(|mtu| (format!("{PREFIX}uplink-mtu"), *mtu)).collect();
    json!({
        "apiVersion": "network.harvesterhci.io/v1beta1", "kind": "ClusterNetwork",
        "metadata": { "name": name, "annotations": annotations },
        "status": { "conditions": conditions },
    })
}

/// A VlanConfig for the hosts with these labels.
pub fn config(name: &str, network: &str, selector: &[(&str, &str)], mtu: i64) -> Value {
    let selector: BTreeMap<&str, &str> = selector.iter().copied().collect();
    json!({
        "apiVersion": "network.harvesterhci.io/v1beta1", "kind": "VlanConfig",
        "metadata": { "name": name },
        "spec": { "clusterNetwork": network, "nodeSelector": selector,
                  "uplink": { "nics": ["eth1"], "linkAttributes": { "mtu": mtu } } },
    })
}

/// A host's report on the uplink of the network config `c`.
fn status(network: &str, host: &str, ready: &str) -> Value {
    json!({
        "apiVersion": "network.harvesterhci.io/v1beta1", "kind": "VlanStatus",
        "metadata": { "name": format!("{network}-{host}") },
        "status": { "clusterNetwork": network, "vlanConfig": "c", "node": host,
                    "conditions": [{ "type": "ready", "status": ready }] },
    })
}

/// A VM network on the bridge of a cluster network, with the label `ready`.
pub fn vm_network(name: &str, network: &str, ready: Option<&str>) -> Value {
    let mut nad = on_bridge(name, &format!("{network}-br"));
    nad["metadata"]["labels"] = json!({ format!("{PREFIX}clusternetwork"): network });
    if let Some(ready) = ready {
        nad["metadata"]["labels"][format!("{PREFIX}ready")] = json!(ready);
    }
    nad
}

/// A VM network without labels.
fn on_bridge(name: &str, bridge: &str) -> Value {
    let config = json!({ "type": "bridge", "bridge": bridge, "vlan": 7 }).to_string();
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": { "name": name, "namespace": "ns" },
        "spec": { "config": config },
    })
}

/// The VMI `ns/vm` on a VM network, with this status.
fn vmi(network: &str, status: Value) -> Value {
    json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
        "metadata": { "name": "vm", "namespace": "ns", "uid": "u1" },
        "spec": { "networks": [{ "name": "n", "multus": { "networkName": network } }] },
        "status": status,
    })
}

/// A launcher pod of the VMI `ns/vm` on a host and a VM network.
fn pod(name: &str, host: &str, network: &str, phase: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "ns",
            "labels": { "kubevirt.io": "virt-launcher", "kubevirt.io/created-by": "u1",
                        "vm.kubevirt.io/name": "vm" },
            "annotations": { "k8s.v1.cni.cncf.io/networks": network },
        },
        "spec": { "nodeName": host },
        "status": { "phase": phase },
    })
}

/// The same, with what Multus reports.
fn with_status(mut pod: Value, networks: &[&str]) -> Value {
    let networks: Vec<Value> = networks.iter().map(|name| json!({ "name": name })).collect();
    let status = Value::from(networks).to_string();
    pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"] = json!(status);
    pod
}

/// Two hosts: the cluster network `a` is active on `h0` alone, and everything says so.
pub fn right() -> Vec<Value> {
    vec![
        cluster_network("mgmt", Some("True"), None),
        cluster_network("a", Some("True"), Some("9000")),
        config("c", "a", &[("rack", "0")], 9000),
        node("h0", &[("rack", "0"), ("/a", "true"), ("/mgmt", "true")]),
        node("h1", &[("rack", "1"), ("/mgmt", "true")]),
        vm_network("net", "a", Some("true")),
    ]
}

fn said(ready: bool) -> &'static str {
    if ready { "True" } else { "False" }
}

/// An update in short.
fn short(update: &Update) -> String {
    match update {
        Update::CreateMgmt => "create mgmt".to_owned(),
        Update::ClusterNetwork(ClusterNetworkUpdate { name, ready, uplink_mtu }) => {
            let ready = ready.map(|ready| format!(" ready={}", said(ready))).unwrap_or_default();
            let mtu = uplink_mtu.map(|mtu| format!(" mtu={mtu}")).unwrap_or_default();
            format!("{name}:{ready}{mtu}")
        }
        Update::HostLabels { host, labels } => {
            let labels = labels.iter().map(|(name, set)| {
                let sign = if *set { '+' } else { '-' };
                format!(" {sign}{name}")
            });
            format!("{host}:{}", labels.collect::<String>())
        }
        Update::VmNetworkReady { vm_network, ready } => format!("{vm_network}: ready={ready}"),
        Update::CutOff(CutOff { vmi, uid, from }) => {
            let from = from.iter().map(|(host, network, why)| format!(" {network}@{host} {why:?}"));
            format!("{vmi} {uid} cut off:{}", from.collect::<String>())
        }
    }
}

/// All that a snapshot lacks.
fn lacks(snapshot: &Snapshot, scope: Scope) -> Vec<String> {
    let targets = targets(None, snapshot, scope);
    targets.iter().map(|target| short(&update(snapshot, target, scope).unwrap())).collect()
}

/// Adds objects to the right state, or replaces them, and compares what is lacking then.
fn check(cases: Vec<(&str, Vec<Value>, &[&str])>) {
    check_with(Options::default(), cases);
}

fn check_with(options: Options, cases: Vec<(&str, Vec<Value>, &[&str])>) {
    for (what, objects, expected) in cases {
        let all = right().into_iter().chain(objects);
        assert_eq!(lacks(&snapshot_from(all, options), Scope::All), expected, "{what}");
    }
}

#[test]
fn an_empty_cluster_lacks_mgmt_alone() {
    assert_eq!(lacks(&snapshot_from([], Options::default()), Scope::All), ["create mgmt"]);
    // It is not ready without a host.
    let mgmt = |ready| snapshot_from([cluster_network("mgmt", ready, None)], Options::default());
    assert_eq!(lacks(&mgmt(None), Scope::All), ["mgmt: ready=False"]);
    assert_eq!(lacks(&mgmt(Some("False")), Scope::All), [""; 0]);
    let host = node("h0", &[("/mgmt", "true")]);
    let with_host = |mgmt: Vec<Value>| {
        snapshot_from(mgmt.into_iter().chain([host.clone()]), Options::default())
    };
    assert_eq!(lacks(&with_host(vec![]), Scope::All), ["create mgmt"]);
    let unready = with_host(vec![cluster_network("mgmt", Some("False"), None)]);
    assert_eq!(lacks(&unready, Scope::All), ["mgmt: ready=True"]);
}

#[test]
fn hosts_have_a_label_for_each_active_cluster_network_and_no_other() {
    let h1 = |labels: &[(&str, &str)]| {
        vec![node("h1", &[&[("rack", "1"), ("/mgmt", "true")], labels].concat())]
    };
    check(vec![
        ("right", vec![], &[]),
        ("missing", vec![node("h0", &[("rack", "0")])], &["h0: +a +mgmt"]),
        (
            "another value",
            vec![node("h0", &[("rack", "0"), ("/a", "false"), ("/mgmt", "")])],
            &["h0: +a +mgmt"],
        ),
        ("too many", h1(&[("/a", "true")]), &["h1: -a"]),
        ("too many, of another value", h1(&[("/a", "false")]), &["h1: -a"]),
        ("of a cluster network that is gone", h1(&[("/gone", "true")]), &["h1: -gone"]),
        ("one that may be another program's", h1(&[("/gone", "false"), ("/x", "")]), &[]),
        (
            "names that no cluster network can have",
            h1(&[("/thirteen-long", "true"), ("/Upper", "true"), ("/a.b", "true")]),
            &[],
        ),
        ("the longest name", h1(&[("/twelve-longs", "true")]), &["h1: -twelve-longs"]),
        ("other prefixes", h1(&[("example.com/a", "true"), ("a", "true")]), &[]),
        (
            "a witness host has only mgmt",
            vec![node(
                "w",
                &[("rack", "0"), ("/a", "true"), ("node-role.harvesterhci.io/witness", "true")],
            )],
            &["w: -a +mgmt"],
        ),
        (
            "an uplink that is not ready",
            vec![status("a", "h0", "False")],
            &["a: ready=False", "h0: -a", "ns/net: ready=false"],
        ),
        ("an uplink that is ready", vec![status("a", "h0", "True")], &[]),
        ("of another host", vec![status("a", "h1", "False")], &[]),
    ]);
    // Where a report is required, the one of h0 is missing.
    let reported = Options { activation: Activation::Reported, ..Options::default() };
    check_with(
        reported,
        vec![
            ("no report", vec![], &["a: ready=False", "h0: -a", "ns/net: ready=false"]),
            ("a report", vec![status("a", "h0", "True")], &[]),
        ],
    );
}

#[test]
fn a_cluster_network_is_ready_where_it_is_active_on_any_host() {
    let b = |ready| cluster_network("b", ready, None);
    check(vec![
        ("not active, not said", vec![b(None)], &["b: ready=False"]),
        ("not active, said otherwise", vec![b(Some("True"))], &["b: ready=False"]),
        ("not active, said", vec![b(Some("False"))], &[]),
        ("not known, which is not ready", vec![b(Some("Unknown"))], &[]),
        ("active, not said", vec![cluster_network("a", None, Some("9000"))], &["a: ready=True"]),
        (
            "active, said otherwise",
            vec![cluster_network("a", Some("Unknown"), Some("9000"))],
            &["a: ready=True"],
        ),
    ]);
}

#[test]
fn uplink_mtu_is_what_the_network_configs_agree_on() {
    let a = |mtu| vec![cluster_network("a", Some("True"), mtu)];
    let c2 = |mtu| config("c2", "a", &[("rack", "2")], mtu);
    let mut deleting = c2(1400);
    deleting["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    check(vec![
        ("missing", a(None), &["a: mtu=9000"]),
        ("another", a(Some("1500")), &["a: mtu=9000"]),
        ("unreadable", a(Some("big")), &["a: mtu=9000"]),
        ("agreed", vec![c2(9000)], &[]),
        ("another, and agreed", [a(Some("1500")), vec![c2(9000)]].concat(), &["a: mtu=9000"]),
        ("not agreed", [a(Some("1500")), vec![c2(1400)]].concat(), &[]),
        ("not agreed, and missing", [a(None), vec![c2(1400)]].concat(), &[]),
        ("one is being deleted", [a(None), vec![deleting]].concat(), &["a: mtu=9000"]),
        (
            "without a network config, it stays",
            vec![cluster_network("b", Some("False"), Some("1400"))],
            &[],
        ),
        (
            "the default is written, if none is",
            vec![config("c", "a", &[("rack", "0")], 0), cluster_network("a", Some("True"), None)],
            &["a: mtu=1500"],
        ),
        (
            "0 is the default",
            [a(Some("0")), vec![config("c", "a", &[("rack", "0")], 1500)]].concat(),
            &[],
        ),
        ("records of mgmt say nothing", vec![config("mgmt-vlanconfig-h0", "mgmt", &[], 9000)], &[]),
    ]);
}

#[test]
fn a_vm_network_is_ready_where_its_cluster_network_is_active() {
    let inactive = || cluster_network("b", Some("False"), None);
    let mut overlay = on_bridge("o", "");
    overlay["spec"]["config"] = json!(r#"{"type":"kube-ovn"}"#);
    let mut unreadable = vm_network("u", "a", None);
    unreadable["spec"]["config"] = json!("{");
    check(vec![
        ("active, not said", vec![vm_network("n", "a", None)], &["ns/n: ready=true"]),
        (
            "active, said otherwise",
            vec![vm_network("n", "a", Some("false"))],
            &["ns/n: ready=true"],
        ),
        ("neither true nor false", vec![vm_network("n", "a", Some("yes"))], &["ns/n: ready=true"]),
        (
            "not active",
            vec![inactive(), vm_network("n", "b", Some("true"))],
            &["ns/n: ready=false"],
        ),
        ("not active, said", vec![inactive(), vm_network("n", "b", Some("false"))], &[]),
        ("no such cluster network", vec![vm_network("n", "x", None)], &["ns/n: ready=false"]),
        ("of mgmt", vec![vm_network("n", "mgmt", None)], &["ns/n: ready=true"]),
        ("by its bridge", vec![on_bridge("n", "a-br")], &["ns/n: ready=true"]),
        ("unconstrained", vec![on_bridge("n", "x-br"), on_bridge("m", "br0")], &[]),
        ("of another network system", vec![overlay], &[]),
        ("unreadable", vec![unreadable], &[]),
    ]);
}

#[test]
fn a_running_vm_on_a_host_without_its_network_is_cut_off() {
    let on = |host: &str| vmi("net", json!({ "phase": "Running", "nodeName": host }));
    let cut_off = "ns/vm u1 cut off: a@h1 HostNotCovered";
    let migrating = |extra: Value| {
        let mut state = json!({ "targetNode": "h1", "migrationUid": "m1" });
        state.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        vmi("net", json!({ "phase": "Running", "nodeName": "h0", "migrationState": state }))
    };
    let migration = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration",
        "metadata": { "name": "m", "namespace": "ns", "uid": "m2" },
        "spec": { "vmiName": "vm" },
        "status": { "phase": "Running", "migrationState": { "targetNode": "h1" } },
    });
    check(vec![
        ("without pods, where it is active", vec![on("h0")], &[]),
        ("without pods, where it is not", vec![on("h1")], &[cut_off]),
        ("on a host that is not known", vec![on("h9")], &[]),
        ("finished", vec![vmi("net", json!({ "phase": "Failed", "nodeName": "h1" }))], &[]),
        ("not scheduled yet", vec![vmi("net", json!({ "phase": "Pending" }))], &[]),
        ("migrating to it", vec![migrating(json!({}))], &[cut_off]),
        ("migrated", vec![migrating(json!({ "completed": true }))], &[]),
        ("migrating to it, says the migration", vec![on("h0"), migration], &[cut_off]),
        ("of a VM network that is gone", vec![vmi("none", json!({ "nodeName": "h1" }))], &[]),
        (
            "of mgmt",
            vec![vm_network("m", "mgmt", Some("true")), vmi("m", json!({ "nodeName": "h1" }))],
            &[],
        ),
        (
            "of a cluster network that is gone",
            vec![vm_network("x", "x", Some("false")), vmi("x", json!({ "nodeName": "h0" }))],
            &["ns/vm u1 cut off: x@h0 ClusterNetworkNotFound"],
        ),
    ]);
}

#[test]
fn a_running_vm_has_what_its_pods_have() {
    let on = |host: &str| vmi("net", json!({ "phase": "Running", "nodeName": host }));
    let cut_off = "ns/vm u1 cut off: a@h1 HostNotCovered";
    check(vec![
        ("its pod is elsewhere", vec![on("h1"), pod("p", "h0", "net", "Running")], &[]),
        ("its pod is there", vec![on("h0"), pod("p", "h1", "net", "Running")], &[cut_off]),
        (
            "its pod is there before the VMI says so",
            vec![vmi("net", json!({ "phase": "Scheduling" })), pod("p", "h1", "net", "Pending")],
            &[cut_off],
        ),
        (
            "the pod of a migration's target",
            vec![on("h0"), pod("p", "h0", "net", "Running"), pod("q", "h1", "net", "Running")],
            &[cut_off],
        ),
        (
            "the pod of a migration's source has ended",
            vec![on("h0"), pod("p", "h1", "net", "Succeeded"), pod("q", "h0", "net", "Running")],
            &[],
        ),
        (
            "a pod on a host that is not known",
            vec![on("h1"), pod("p", "h9", "net", "Running")],
            &[],
        ),
        (
            "a pod of an earlier VMI",
            vec![on("h0"), {
                let mut old = pod("p", "h1", "net", "Running");
                old["metadata"]["labels"]["kubevirt.io/created-by"] = json!("u0");
                old
            }],
            &[],
        ),
        (
            "the pod has a network that the spec has lost",
            vec![
                vmi("other", json!({ "phase": "Running", "nodeName": "h1" })),
                on_bridge("other", "br0"),
                pod("p", "h1", "net", "Running"),
            ],
            &[cut_off],
        ),
        (
            "the pod lacks a network that the spec has",
            vec![on("h1"), on_bridge("other", "br0"), pod("p", "h1", "other", "Running")],
            &[],
        ),
        (
            "the network waits for a migration",
            vec![on("h1"), with_status(pod("p", "h1", "net", "Running"), &["default-net"])],
            &[],
        ),
        (
            "the network is there",
            vec![on("h1"), with_status(pod("p", "h1", "net", "Running"), &["x", "ns/net"])],
            &[cut_off],
        ),
        (
            "on two hosts",
            vec![
                on("h0"),
                status("a", "h0", "False"),
                pod("p", "h0", "net", "Running"),
                pod("q", "h1", "net", "Running"),
            ],
            &[
                "a: ready=False",
                "h0: -a",
                "ns/net: ready=false",
                "ns/vm u1 cut off: a@h0 UplinkNotReady a@h1 HostNotCovered",
            ],
        ),
    ]);
}

#[test]
fn on_harvester_events_alone_are_made() {
    let cut_off = vmi("net", json!({ "phase": "Running", "nodeName": "h1" }));
    let wrong = [
        cluster_network("a", None, None),
        cluster_network("b", None, None),
        node("h2", &[("/gone", "true")]),
        vm_network("n", "a", None),
        cut_off,
    ];
    let all = || right().into_iter().skip(1).chain(wrong.clone());
    let snapshot = snapshot_from(all(), Options::default());
    assert_eq!(lacks(&snapshot, Scope::EventsOnly), ["ns/vm u1 cut off: a@h1 HostNotCovered"]);
    assert_eq!(lacks(&snapshot, Scope::All).len(), 6);
    for target in targets(None, &snapshot, Scope::All) {
        let is_event = matches!(target, Target::Vmi(_));
        assert_eq!(update(&snapshot, &target, Scope::EventsOnly).is_some(), is_event);
    }
    let before = snapshot_with("", Options::default());
    let vmi: BTreeSet<_> = [Target::Vmi(Key::in_namespace("ns", "vm"))].into();
    assert_eq!(targets(Some(&before), &snapshot, Scope::EventsOnly), vmi);
}

/// Adds objects to the right state, takes some away by name, adds or replaces others, and compares what
/// is lacking by the difference.
fn changes(what: &str, more: Vec<Value>, gone: &[&str], new: Vec<Value>, expected: &[&str]) {
    let before: Vec<Value> = right().into_iter().chain(more).collect();
    let is_left = |it: &&Value| !gone.contains(&it["metadata"]["name"].as_str().unwrap());
    let after = before.iter().filter(is_left).cloned().chain(new);
    let after = snapshot_from(after, Options::default());
    let before = snapshot_from(before, Options::default());
    assert_eq!(lacks(&before, Scope::All), [""; 0], "{what}");
    let named = targets(Some(&before), &after, Scope::All);
    let short = |target| short(&update(&after, target, Scope::All).unwrap());
    assert_eq!(named.iter().map(short).collect::<Vec<_>>(), expected, "{what}");
}

#[test]
fn a_difference_names_running_vms_that_a_change_cuts_off() {
    let on_h1 = |network: &str| vmi(network, json!({ "phase": "Running", "nodeName": "h1" }));
    let cut_off = |network: &str, why: &str| format!("ns/vm u1 cut off: {network}@h1 {why}");
    let inactive = || cluster_network("b", Some("False"), None);
    let migration = |host: &str| {
        json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration",
            "metadata": { "name": "m", "namespace": "ns", "uid": "m2" }, "spec": { "vmiName": "vm" },
            "status": { "phase": "Running", "migrationState": { "targetNode": host } },
        })
    };
    let not_covered = cut_off("a", "HostNotCovered");
    let b_not_covered = cut_off("b", "HostNotCovered");
    changes(
        "a host comes under a VM",
        vec![vmi("net", json!({ "phase": "Running", "nodeName": "h2" }))],
        &[],
        vec![node("h2", &[("/mgmt", "true")])],
        &["ns/vm u1 cut off: a@h2 HostNotCovered"],
    );
    changes(
        "a migration begins",
        vec![vmi("net", json!({ "phase": "Running", "nodeName": "h0" }))],
        &[],
        vec![migration("h1")],
        &[&not_covered],
    );
    changes(
        "a migration goes to another host",
        vec![vmi("net", json!({ "phase": "Running", "nodeName": "h0" })), migration("h0")],
        &[],
        vec![migration("h1")],
        &[&not_covered],
    );
    changes(
        "a pod goes to another VM",
        vec![on_h1("net"), pod("p", "h0", "net", "Running")],
        &[],
        vec![{
            let mut pod = pod("p", "h0", "net", "Running");
            pod["metadata"]["labels"]["vm.kubevirt.io/name"] = json!("other");
            pod
        }],
        &[&not_covered],
    );
    changes(
        "a pod ends",
        vec![on_h1("net"), pod("p", "h0", "net", "Running")],
        &[],
        vec![pod("p", "h0", "net", "Succeeded")],
        &[&not_covered],
    );
    changes(
        "a VM network comes",
        vec![on_h1("late")],
        &[],
        vec![vm_network("late", "a", Some("true"))],
        &[&not_covered],
    );
    changes(
        "a VM network moves",
        vec![inactive(), on_h1("n"), vm_network("n", "mgmt", Some("true"))],
        &[],
        vec![vm_network("n", "b", Some("false"))],
        &[&b_not_covered],
    );
}

#[test]
fn a_difference_names_what_a_change_of_another_object_concerns() {
    let on_h1 = |network: &str| vmi(network, json!({ "phase": "Running", "nodeName": "h1" }));
    let cut_off = |network: &str, why: &str| format!("ns/vm u1 cut off: {network}@h1 {why}");
    let inactive = || cluster_network("b", Some("False"), None);
    let b_not_covered = cut_off("b", "HostNotCovered");
    changes(
        "a cluster network comes to which bridges belong",
        vec![on_bridge("n", "b-br"), on_h1("n")],
        &[],
        vec![inactive()],
        &["ns/n: ready=false", &b_not_covered],
    );
    changes(
        "a cluster network comes that a label names",
        vec![node("h2", &[("/b", "false"), ("/mgmt", "true")])],
        &[],
        vec![inactive()],
        &["h2: -b"],
    );
    changes(
        "a cluster network goes",
        vec![vmi("net", json!({ "phase": "Running", "nodeName": "h0" }))],
        &["a"],
        vec![],
        &["h0: -a", "ns/net: ready=false", "ns/vm u1 cut off: a@h0 ClusterNetworkNotFound"],
    );
    changes(
        "an uplink fails",
        vec![vmi("net", json!({ "phase": "Running", "nodeName": "h0" }))],
        &[],
        vec![status("a", "h0", "False")],
        &[
            "a: ready=False",
            "h0: -a",
            "ns/net: ready=false",
            "ns/vm u1 cut off: a@h0 UplinkNotReady",
        ],
    );
    changes(
        "a network config covers more",
        vec![],
        &[],
        vec![config("c", "a", &[], 9000)],
        &["h1: +a"],
    );
    changes(
        "a network config moves",
        vec![inactive()],
        &[],
        vec![config("c", "b", &[("rack", "none")], 9000)],
        &["a: ready=False", "b: mtu=9000", "h0: -a", "ns/net: ready=false"],
    );
    changes(
        "a network config that held up the MTU goes",
        vec![
            cluster_network("a", Some("True"), Some("1500")),
            config("c2", "a", &[("rack", "none")], 1500),
        ],
        &["c2"],
        vec![],
        &["a: mtu=9000"],
    );
    changes("a host is relabelled by hand", vec![], &[], vec![node("h1", &[])], &["h1: +mgmt"]);
    changes("mgmt is deleted", vec![], &["mgmt"], vec![], &["create mgmt"]);
    changes(
        "the last hosts go",
        vec![vm_network("m", "mgmt", Some("true"))],
        &["h0", "h1"],
        vec![],
        &["a: ready=False", "mgmt: ready=False", "ns/m: ready=false", "ns/net: ready=false"],
    );
}

#[test]
fn a_vm_that_is_cut_off_on_two_hosts_is_named_when_one_of_them_goes() {
    let objects = [
        node("h1", &[]),
        node("h2", &[]),
        json!({ "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                "metadata": { "name": "net", "namespace": "ns",
                              "labels": { "network.harvesterhci.io/clusternetwork": "gone" } } }),
        vmi("net", json!({ "phase": "Running", "nodeName": "h1" })),
        pod("p", "h1", "net", "Running"),
        pod("q", "h2", "net", "Running"),
    ];
    let before = snapshot_from(objects, Options::default());
    let host = ObjectRef { kind: Kind::Host, key: Key::cluster_scoped(Name::from("h2")) };
    let after = before.with([Change { object: host, now: Now::Gone }]);
    let vm = Key::in_namespace("ns", "vm");
    assert_eq!(cut_off(&before, &vm).unwrap().from.len(), 2);
    assert_eq!(cut_off(&after, &vm).unwrap().from.len(), 1);
    assert!(targets(Some(&before), &after, Scope::All).contains(&Target::Vmi(vm)));
}

#[test]
fn a_vm_that_is_cut_off_is_counted_once() {
    let on = |host: &str| vmi("net", json!({ "phase": "Running", "nodeName": host }));
    let pods = || vec![pod("p", "h1", "net", "Running"), pod("q", "h2", "net", "Running")];
    let mut other = on("h1");
    other["metadata"]["name"] = json!("other");
    for (objects, count) in [
        (vec![], 0),
        (vec![on("h0")], 0),
        (vec![on("h1")], 1),
        (vec![on("h1"), other], 2),
        ([vec![on("h1"), node("h2", &[])], pods()].concat(), 1),
    ] {
        let snapshot = snapshot_from(right().into_iter().chain(objects), Options::default());
        let server = Server::new(Some(snapshot));
        let metrics = server.metrics.scrape(&server.snapshots, &Certificates::default()).unwrap();
        let line = format!("\nlanekeeper_vms_on_inactive_host {count}\n");
        assert!(metrics.contains(&line), "{line} {metrics}");
    }
}

/// Objects and the index of them.
struct World {
    objects: BTreeMap<ObjectRef, Now>,
    options: Options,
}

impl World {
    fn apply(&mut self, changes: Vec<Vec<Change>>) {
        self.objects.extend(outcome(&changes));
    }

    fn set(&mut self, kind: Kind, name: &Name, fact: Fact) {
        let key = Key::cluster_scoped(name.clone());
        self.objects.insert(ObjectRef { kind, key }, Now::Is(fact));
    }

    fn fact(&self, object: &ObjectRef) -> Fact {
        match &self.objects[object] {
            Now::Is(fact) => fact.clone(),
            Now::Malformed { last: Some(last), .. } => (**last).clone(),
            _ => panic!("{object} has no facts"),
        }
    }

    fn snapshot(&self) -> Snapshot {
        let mut index = synced(self.options);
        for (object, now) in &self.objects {
            index.apply(Change { object: object.clone(), now: now.clone() });
        }
        index.snapshot().unwrap()
    }

    /// Does what the writer does.
    fn write(&mut self, update: Update) {
        let object = |kind, name: &Name| ObjectRef { kind, key: Key::cluster_scoped(name.clone()) };
        match update {
            Update::CreateMgmt => {
                let mgmt = Fact::ClusterNetwork(ClusterNetwork::default());
                self.set(Kind::ClusterNetwork, &"mgmt".into(), mgmt);
            }
            Update::ClusterNetwork(ClusterNetworkUpdate { name, ready, uplink_mtu }) => {
                let Fact::ClusterNetwork(mut facts) =
                    self.fact(&object(Kind::ClusterNetwork, &name))
                else {
                    panic!()
                };
                facts.ready = ready.or(facts.ready);
                facts.uplink_mtu = uplink_mtu.map_or(facts.uplink_mtu, UplinkMtu::Is);
                self.set(Kind::ClusterNetwork, &name, Fact::ClusterNetwork(facts));
            }
            Update::HostLabels { host, labels } => {
                let Fact::Host(Host { labels: present, witness }) =
                    self.fact(&object(Kind::Host, &host))
                else {
                    panic!()
                };
                let labels: BTreeMap<String, bool> =
                    labels.iter().map(|(name, set)| (format!("{PREFIX}{name}"), *set)).collect();
                let kept = present.under("").filter(|(key, _)| !labels.contains_key(*key));
                let set = labels.iter().filter(|(_, set)| **set).map(|(key, _)| (&**key, "true"));
                let labels: Labels = kept.chain(set).collect();
                self.set(Kind::Host, &host, Fact::Host(Host { labels, witness }));
            }
            Update::VmNetworkReady { vm_network, ready } => {
                let object = ObjectRef { kind: Kind::VmNetwork, key: vm_network };
                let Fact::VmNetwork(mut facts) = self.fact(&object) else { panic!() };
                facts.ready = Some(ready);
                self.objects.insert(object, Now::Is(Fact::VmNetwork(facts)));
            }
            Update::CutOff(_) => {}
        }
    }

    /// Does what the leader does from `before` on, until there is nothing to do. Returns the last
    /// snapshot.
    fn settle(&mut self, mut before: Option<Snapshot>) -> Snapshot {
        for _ in 0..4 {
            let snapshot = self.snapshot();
            let mut targets = targets(before.as_ref(), &snapshot, Scope::All);
            targets.retain(|target| !matches!(target, Target::Vmi(_)));
            if targets.is_empty() {
                return snapshot;
            }
            for target in &targets {
                self.write(update(&snapshot, target, Scope::All).unwrap());
            }
            before = Some(snapshot);
        }
        panic!("the leader finds no end: {:?}", self.objects);
    }
}

/// What an update says, but for the causes.
fn gist(update: Option<Update>) -> Option<String> {
    Some(match update? {
        Update::CutOff(CutOff { vmi, uid, from }) => {
            let from: BTreeSet<_> = from.iter().map(|(host, network, _)| (host, network)).collect();
            format!("{vmi} {uid} {from:?}")
        }
        update => short(&update),
    })
}

proptest! {

    #[test]
    fn a_difference_names_every_object_that_lacks_something_new(
        before in histories(),
        after in prop_oneof![1 => histories(), 4 => few_histories()],
        options in options(),
    ) {
        let mut index = synced(options);
        let mut apply = |changes: &[Vec<Change>]| {
            for change in changes.concat() {
                index.apply(change);
            }
            index.snapshot().unwrap()
        };
        let (before, after) = (apply(&before), apply(&after));
        for scope in [Scope::All, Scope::EventsOnly] {
            let named = targets(Some(&before), &after, scope);
            let all = targets(None, &after, scope);
            prop_assert!(named.is_subset(&all), "what lacks nothing is not named");
            for target in &all {
                let [old, new] = [&before, &after].map(|it| gist(update(it, target, scope)));
                prop_assert!(old == new || named.contains(target), "{old:?} {new:?}");
            }
            prop_assert!(targets(Some(&after), &after, scope).is_empty());
        }
    }

    #[test]
    fn the_leader_comes_to_the_same_end_from_differences_and_from_all(
        before in histories(),
        after in few_histories(),
        options in options(),
    ) {
        let mut world = World { objects: BTreeMap::new(), options };
        world.apply(before);
        let first = world.settle(None);
        world.apply(after);
        let mut other = World { objects: world.objects.clone(), options };
        let (by_difference, by_all) = (world.settle(Some(first)), other.settle(None));
        prop_assert_eq!(picture(&by_difference), picture(&by_all));
    }

    #[test]
    fn what_metrics_count_is_what_is_told_one_by_one(
        histories in histories(),
        options in options(),
    ) {
        let mut index = synced(options);
        for change in histories.concat() {
            index.apply(change);
        }
        let snapshot = index.snapshot().unwrap();
        let cut_off = snapshot.vmis().filter(|(key, _)| cut_off(&snapshot, key).is_some()).count();
        prop_assert_eq!(count_cut_off(&snapshot), cut_off);
        let vms = snapshot.vms().filter(|(_, vm)| vm.run == Run::Asked && !vm.deleting);
        let vmis = snapshot.vmis().filter(|(key, vmi)| !vmi.finished && snapshot.vm(key).is_none());
        let has_no_host = |key: &&Key| {
            // The VMI of a VM that was changed asks while it waits.
            let changed = snapshot.vm(key).zip(snapshot.vmi(key)).is_some_and(|(vm, vmi)| {
                let waits = !vmi.finished && vmi.host.is_none();
                waits && (&vm.networks, &vm.hosts) != (&vmi.networks, &vmi.hosts)
            });
            let of = if changed { Asked::of_vmi } else { Asked::of };
            let asked = of(&snapshot, key).unwrap();
            snapshot.every_host().all(|host| !asked.causes(&snapshot, host).is_empty())
        };
        let keys = vms.map(|(key, _)| key).chain(vmis.map(|(key, _)| key));
        prop_assert_eq!(unschedulable(&snapshot), keys.filter(has_no_host).count());
    }

    #[test]
    fn what_was_updated_lacks_nothing(histories in histories(), options in options()) {
        let mut world = World { objects: BTreeMap::new(), options };
        world.apply(histories);
        let snapshot = world.snapshot();
        for target in targets(None, &snapshot, Scope::All) {
            let wanted = update(&snapshot, &target, Scope::All).unwrap();
            if matches!(wanted, Update::CutOff(_) | Update::CreateMgmt) {
                continue;
            }
            let mut world = World { objects: world.objects.clone(), options };
            world.write(wanted);
            prop_assert_eq!(update(&world.snapshot(), &target, Scope::All), None);
        }
    }
}
