//! What the mutating webhook changes, and what it leaves alone (docs/reference.md, "Mutation").

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use json_patch::Patch;
use lanekeeper::cluster::Options;
use lanekeeper::decide::review::Policy;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::admission::{config, example, review};
use crate::harness::{Server, examples, policy, snapshot_from, snapshot_of, snapshot_with};

/// The patch that `/mutate` answers with.
pub async fn mutation(server: &Server, review: &Value) -> Patch {
    let answer = server.post("/mutate?timeout=10s", review.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let response = &answer.json()["response"];
    assert_eq!(response["allowed"], true);
    assert_eq!(response["uid"], "3b1c");
    match response.get("patch") {
        None => {
            assert!(response.get("patchType").is_none());
            Patch(Vec::new())
        }
        Some(patch) => {
            assert_eq!(response["patchType"], "JSONPatch");
            serde_json::from_slice(&STANDARD.decode(patch.as_str().unwrap()).unwrap()).unwrap()
        }
    }
}

/// What an object is after it was mutated; mutating it again changes nothing.
async fn mutated(server: &Server, kind: &str, object: &Value) -> Value {
    let mut object = object.clone();
    let patch = mutation(server, &review("CREATE", kind, None, Some(&object))).await;
    json_patch::patch(&mut object, &patch).unwrap();
    let again = mutation(server, &review("CREATE", kind, None, Some(&object))).await;
    assert_eq!(again, Patch(Vec::new()), "mutating twice gives an empty patch");
    object
}

fn vm(networks: &[&str], affinity: Value) -> Value {
    json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": { "name": "vm", "namespace": "default" },
        "spec": { "template": { "spec": vmi_spec(networks, affinity) } },
    })
}

fn vmi_spec(networks: &[&str], affinity: Value) -> Value {
    let networks: Vec<_> = networks
        .iter()
        .map(|name| json!({ "name": name, "multus": { "networkName": name } }))
        .collect();
    let mut spec = json!({ "domain": {}, "networks": networks });
    if !affinity.is_null() {
        spec["affinity"] = affinity;
    }
    spec
}

fn terms(affinity: &Value) -> &Value {
    &affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
}

fn with_terms(terms: Value) -> Value {
    json!({ "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } } })
}

fn ours(network: &str) -> Value {
    json!({ "key": format!("network.harvesterhci.io/{network}"), "operator": "In", "values": ["true"] })
}

async fn placed(networks: &[&str], affinity: Value) -> Value {
    let after = mutated(&example(), "VirtualMachine", &vm(networks, affinity)).await;
    after["spec"]["template"]["spec"]["affinity"].clone()
}

#[tokio::test]
async fn a_vm_gets_a_term_where_there_is_none() {
    let wanted = json!([{ "matchExpressions": [ours("cluster-a"), ours("cluster-b")] }]);
    for missing in [
        Value::Null,
        json!({}),
        json!({ "nodeAffinity": null }),
        json!({ "nodeAffinity": {} }),
        json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": null } }),
        json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {} } }),
        with_terms(Value::Null),
        with_terms(json!([])),
    ] {
        let affinity = placed(&["vm-network-b", "vm-network-c"], missing.clone()).await;
        assert_eq!(terms(&affinity), &wanted, "{missing}");
    }
}

#[tokio::test]
async fn every_term_gets_the_requirement_and_keeps_what_it_had() {
    let zone = json!({ "key": "zone", "operator": "In", "values": ["1"] });
    let field = json!([{ "key": "metadata.name", "operator": "In", "values": ["host2"] }]);
    let affinity = with_terms(json!([
        { "matchExpressions": [zone] },
        { "matchFields": field },
        { "matchFields": field, "matchExpressions": null },
        { "matchExpressions": [ours("cluster-b"), zone] },
    ]));
    let after = placed(&["vm-network-c"], affinity).await;
    assert_eq!(
        terms(&after),
        &json!([
            { "matchExpressions": [zone, ours("cluster-b")] },
            { "matchFields": field, "matchExpressions": [ours("cluster-b")] },
            { "matchFields": field, "matchExpressions": [ours("cluster-b")] },
            { "matchExpressions": [ours("cluster-b"), zone] },
        ])
    );
}

#[tokio::test]
async fn requirements_that_no_longer_hold_are_taken_out() {
    let zone = json!({ "key": "zone", "operator": "Exists" });
    let after = placed(
        &["vm-network-c"],
        with_terms(json!([{ "matchExpressions": [ours("cluster-a"), zone, ours("gone")] }])),
    )
    .await;
    assert_eq!(terms(&after), &json!([{ "matchExpressions": [zone, ours("cluster-b")] }]));
    let after = placed(
        &[],
        with_terms(json!([
            { "matchExpressions": [ours("cluster-a")] },
            { "matchExpressions": [zone, ours("cluster-a")] },
            { "matchExpressions": [ours("cluster-a")], "matchFields": [] },
        ])),
    )
    .await;
    assert_eq!(terms(&after), &json!([{ "matchExpressions": [zone] }]), "emptied terms go");
    let after = placed(&[], with_terms(json!([{ "matchExpressions": [ours("cluster-a")] }]))).await;
    assert_eq!(after, json!({ "nodeAffinity": {} }), "and with the last one the whole of required");
}

#[tokio::test]
async fn a_stale_requirement_that_was_all_a_term_held_does_not_become_a_wider_term() {
    let zone = json!({ "key": "zone", "operator": "Exists" });
    let only = |network: &str| json!({ "matchExpressions": [ours(network)] });
    for (before, after) in [
        (
            json!([only("cluster-a"), { "matchExpressions": [zone] }]),
            json!([{ "matchExpressions": [zone, ours("cluster-b")] }]),
        ),
        (json!([only("cluster-a"), only("gone")]), json!([only("cluster-b")])),
        (json!([only("gone"), {}]), json!([{}, only("cluster-b")])),
        (json!([only("cluster-b"), only("gone")]), json!([only("cluster-b")])),
    ] {
        let placed = placed(&["vm-network-c"], with_terms(before.clone())).await;
        assert_eq!(terms(&placed), &after, "{before}");
    }
}

#[tokio::test]
async fn interface_state_absent_adds_no_requirement() {
    let mut vm = vm(&["vm-network-a", "vm-network-c"], Value::Null);
    vm["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"] =
        json!([{ "name": "vm-network-a" }, { "name": "vm-network-c", "state": "absent" }]);
    let after = mutated(&example(), "VirtualMachine", &vm).await;
    assert_eq!(
        terms(&after["spec"]["template"]["spec"]["affinity"]),
        &json!([{ "matchExpressions": [ours("cluster-a")] }])
    );
}

#[tokio::test]
async fn vm_affinity_off_leaves_vms_and_vmis_alone_and_nothing_else() {
    let policy = Policy { vm_affinity_off: true, ..policy() };
    let server = Server::judging(snapshot_of(&examples()), policy);
    let stale = with_terms(json!([{ "matchExpressions": [ours("gone")] }]));
    let vm = vm(&["vm-network-a"], stale.clone());
    assert_eq!(mutated(&server, "VirtualMachine", &vm).await, vm);
    let vmi = json!({ "metadata": { "name": "vm" }, "spec": vmi_spec(&["vm-network-a"], stale) });
    assert_eq!(mutated(&server, "VirtualMachineInstance", &vmi).await, vmi);
    let config = config(json!({ "name": "c" }), json!({}), "cluster-b");
    assert_ne!(mutated(&server, "VlanConfig", &config).await, config);
}

#[tokio::test]
async fn nothing_of_the_users_is_touched() {
    let preferred =
        json!([{ "weight": 1, "preference": { "matchExpressions": [ours("cluster-a")] } }]);
    let like_ours = [
        json!({ "key": "network.harvesterhci.io/mgmt", "operator": "In", "values": ["true"] }),
        json!({ "key": "network.harvesterhci.io/cluster-a", "operator": "NotIn", "values": ["true"] }),
        json!({ "key": "network.harvesterhci.io/cluster-a", "operator": "In", "values": ["true", "x"] }),
        json!({ "key": "network.harvesterhci.io/cluster-a", "operator": "Exists" }),
    ];
    let mut affinity = with_terms(json!([{ "matchExpressions": like_ours }]));
    affinity["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] = preferred;
    affinity["podAffinity"] = json!({ "x": [1] });
    assert_eq!(placed(&[], affinity.clone()).await, affinity);
    let empty = with_terms(json!([{}, { "matchExpressions": [] }]));
    assert_eq!(
        placed(&["vm-network-a"], empty.clone()).await,
        empty,
        "an empty term matches no host, and would match some with a requirement in it"
    );
    let left = with_terms(json!([{ "matchExpressions": [ours("gone")] }, {}]));
    assert_eq!(
        placed(&[], left).await,
        json!({ "nodeAffinity": {} }),
        "with empty terms alone the VM, which could run everywhere, could run nowhere"
    );
}

#[tokio::test]
async fn only_what_names_a_network_of_ours_adds_a_requirement() {
    assert_eq!(placed(&["gone"], Value::Null).await, Value::Null);
    assert_eq!(placed(&[], Value::Null).await, Value::Null);
    assert_eq!(placed(&["other/vm-network-a"], Value::Null).await, Value::Null);
    let affinity = placed(&["default/vm-network-a", "gone"], Value::Null).await;
    assert_eq!(terms(&affinity), &json!([{ "matchExpressions": [ours("cluster-a")] }]));
}

#[tokio::test]
async fn a_vmi_is_mutated_on_create_alone() {
    let server = example();
    let vmi = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
        "metadata": { "name": "vmi", "namespace": "default" },
        "spec": vmi_spec(&["vm-network-a"], Value::Null),
    });
    let after = mutated(&server, "VirtualMachineInstance", &vmi).await;
    assert_eq!(
        terms(&after["spec"]["affinity"]),
        &json!([{ "matchExpressions": [ours("cluster-a")] }])
    );
    let update = review("UPDATE", "VirtualMachineInstance", Some(&vmi), Some(&vmi));
    assert_eq!(mutation(&server, &update).await, Patch(Vec::new()));
}

#[tokio::test]
async fn a_vm_and_its_vmi_get_the_same_affinity_whatever_was_frozen_into_the_vm() {
    let server = example();
    // Written when the VM was on other cluster networks, and copied into the VMI.
    let frozen = with_terms(json!([{ "matchExpressions": [ours("cluster-a"), ours("gone")] }]));
    let vm = vm(&["vm-network-c"], frozen.clone());
    let vmi = json!({
        "metadata": { "name": "vm", "namespace": "default" },
        "spec": vmi_spec(&["vm-network-c"], frozen),
    });
    let vm = mutated(&server, "VirtualMachine", &vm).await;
    let vmi = mutated(&server, "VirtualMachineInstance", &vmi).await;
    let affinity = &vmi["spec"]["affinity"];
    assert_eq!(affinity, &vm["spec"]["template"]["spec"]["affinity"]);
    assert_eq!(terms(affinity), &json!([{ "matchExpressions": [ours("cluster-b")] }]));
}

#[tokio::test]
async fn what_is_being_deleted_or_is_deleted_is_not_mutated() {
    let server = example();
    let mut going = vm(&["vm-network-a"], Value::Null);
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    for (operation, new) in [("UPDATE", Some(&going)), ("DELETE", None)] {
        let review = review(operation, "VirtualMachine", Some(&going), new);
        assert_eq!(mutation(&server, &review).await, Patch(Vec::new()));
    }
}

#[tokio::test]
async fn a_network_config_gets_its_label_and_its_hosts() {
    let server = example();
    let label = "network.harvesterhci.io/clusternetwork";
    let matched = "network.harvesterhci.io/matched-nodes";
    for metadata in [
        json!({ "name": "c" }),
        json!({ "name": "c", "labels": null, "annotations": null }),
        json!({ "name": "c", "labels": {}, "annotations": {} }),
        json!({ "name": "c", "labels": { label: "old" }, "annotations": { matched: "[\"x\"]" } }),
    ] {
        let object = config(metadata, json!({ "example.com/rack": "r1" }), "cluster-b");
        let after = mutated(&server, "VlanConfig", &object).await;
        assert_eq!(after["metadata"]["labels"], json!({ label: "cluster-b" }));
        assert_eq!(after["metadata"]["annotations"], json!({ matched: r#"["host1","host2"]"# }));
    }
    let object = config(
        json!({ "name": "c", "labels": { "a/b": "1" }, "annotations": { "c~d": "2" } }),
        json!({ "nobody": "has this" }),
        "cluster-b",
    );
    let patch = mutation(&server, &review("CREATE", "VlanConfig", None, Some(&object))).await;
    assert_eq!(
        serde_json::to_value(&patch).unwrap(),
        json!([
            { "op": "add", "path": "/metadata/labels/network.harvesterhci.io~1clusternetwork", "value": "cluster-b" },
            { "op": "add", "path": "/metadata/annotations/network.harvesterhci.io~1matched-nodes", "value": "[]" },
        ]),
        "never a whole map"
    );
}

#[tokio::test]
async fn network_configs_of_mgmt_and_those_being_deleted_are_left_alone() {
    let server = example();
    let gone = json!({ "name": "c", "deletionTimestamp": "2026-01-01T00:00:00Z" });
    for object in
        [config(json!({ "name": "c" }), json!({}), "mgmt"), config(gone, json!({}), "cluster-a")]
    {
        let review = review("UPDATE", "VlanConfig", Some(&object), Some(&object));
        assert_eq!(mutation(&server, &review).await, Patch(Vec::new()));
    }
}

fn vm_network(metadata: Value, config: &str) -> Value {
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": metadata,
        "spec": { "config": config },
    })
}

const NAD: &str = "NetworkAttachmentDefinition";

/// A cluster with cluster network `large`, of MTU 9000, and `small`, active nowhere.
fn two_networks(strict_vm_networks: bool) -> Server {
    let options = Options { strict_vm_networks, ..Options::default() };
    Server::new(Some(snapshot_with(
        "
{apiVersion: v1, kind: Node, metadata: {name: h}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: ClusterNetwork, metadata: {name: large}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, metadata: {name: l}, spec: {clusterNetwork: large, uplink: {linkAttributes: {mtu: 9000}}}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: ClusterNetwork, metadata: {name: small}}
",
        options,
    )))
}

#[tokio::test]
async fn a_vm_network_gets_its_labels_and_keeps_its_others() {
    let server = two_networks(false);
    let label = |name: &str| format!("network.harvesterhci.io/{name}");
    let untagged = "UntaggedNetwork";
    for (config, network, kind, vlan, ready) in [
        (
            r#"{"bridge":"large-br","vlan":7,"mtu":9000}"#,
            "large",
            "L2VlanNetwork",
            json!("7"),
            "true",
        ),
        (r#"{"type":"cnv-bridge","bridge":"small-br"}"#, "small", untagged, Value::Null, "false"),
        (
            r#"{"bridge":"small-br","vlanTrunk":[{"id":7}]}"#,
            "small",
            "L2VlanTrunkNetwork",
            Value::Null,
            "false",
        ),
        (
            r#"{"vlan":9,"plugins":[{"type":"x"},{"type":"bridge","bridge":"small-br","vlan":7}]}"#,
            "small",
            "L2VlanNetwork",
            json!("7"),
            "false",
        ),
        (r#"{"bridge":"mgmt-br"}"#, "mgmt", untagged, Value::Null, "true"),
    ] {
        let old = json!({ label("type"): "old", label("vlan-id"): "0" });
        for labels in [Value::Null, json!({ "a/b": "c" }), old] {
            let mut metadata = json!({ "name": "n", "namespace": "default" });
            metadata["labels"] = labels;
            let after = mutated(&server, NAD, &vm_network(metadata, config)).await;
            let labels = &after["metadata"]["labels"];
            assert_eq!(labels[label("clusternetwork")], network);
            assert_eq!(labels[label("type")], kind);
            assert_eq!(labels[label("vlan-id")], vlan, "only a VLAN network has it");
            assert_eq!(labels[label("ready")], ready);
            assert_eq!(after["spec"]["config"], config, "the MTU is right already");
        }
    }
    let label_of_ours = json!({ "name": "n", "labels": { label("clusternetwork"): "small" } });
    let overlay = vm_network(label_of_ours, r#"{"type":"kube-ovn","bridge":"large-br"}"#);
    let after = mutated(&server, NAD, &overlay).await;
    assert_eq!(
        after["metadata"]["labels"],
        json!({ label("clusternetwork"): "small", label("type"): "OverlayNetwork" })
    );
    let other =
        vm_network(json!({ "name": "n" }), r#"{"type":"bridge","bridge":"br0","mtu":9000}"#);
    assert_eq!(mutated(&server, NAD, &other).await, other, "nothing of ours");
}

#[tokio::test]
async fn a_vm_networks_mtu_is_filled_in_and_lowered_on_create() {
    let with = |config: &str| vm_network(json!({ "name": "n", "namespace": "default" }), config);
    let odd = "{ \"bridge\" : \"large-br\" , \"x\":[12345678901234567890123, 1.50] }";
    let odd_after =
        "{\"mtu\":9000, \"bridge\" : \"large-br\" , \"x\":[12345678901234567890123, 1.50] }";
    let list = r#"{"mtu":1,"plugins": [{"type":"x"},{ "type":"bridge","bridge":"large-br"}]}"#;
    let list_after =
        r#"{"mtu":1,"plugins": [{"type":"x"},{"mtu":9000, "type":"bridge","bridge":"large-br"}]}"#;
    let large = |mtu: i64| format!(r#"{{"bridge":"large-br","mtu":{mtu}}}"#);
    let small = |mtu: i64| format!(r#"{{"bridge":"small-br","MTU":{mtu}}}"#);
    let labelled = |mtu: i64| format!(r#"{{"bridge":"gone-br","mtu":{mtu}}}"#);
    // What it is before, after, and after with --strict-vm-networks.
    for (before, after, strict) in [
        (odd, odd_after, odd_after),
        (list, list_after, list_after),
        (&*large(0), &*large(9000), &*large(9000)),
        (&*large(1500), &*large(1500), &*large(9000)),
        (&*large(9001), &*large(9000), &*large(9000)),
        (&*small(9000), &*small(1500), &*small(1500)),
        (&*small(1400), &*small(1400), &*small(1500)),
        (&*small(0), &*small(0), &*small(0)),
        (r#"{"bridge":"small-br"}"#, r#"{"bridge":"small-br"}"#, r#"{"bridge":"small-br"}"#),
        (&*labelled(9000), &*labelled(9000), &*labelled(9000)),
    ] {
        for (is_strict, after) in [(false, after), (true, strict)] {
            let object = mutated(&two_networks(is_strict), NAD, &with(before)).await;
            assert_eq!(object["spec"]["config"], after, "{before}, strict: {is_strict}");
        }
    }
}

#[tokio::test]
async fn a_vm_networks_mtu_is_only_filled_in_on_update() {
    let server = two_networks(false);
    let with = |config: &str| vm_network(json!({ "name": "n", "namespace": "default" }), config);
    let right = r#"{"bridge":"large-br","mtu":9000}"#;
    let never = r#"{"bridge":"large-br"}"#;
    for (old, new, after) in [
        (right, never, r#"{"mtu":9000,"bridge":"large-br"}"#),
        (right, r#"{"bridge":"large-br","mtu":0}"#, r#"{"bridge":"large-br","mtu":9000}"#),
        (never, never, never),
        (never, r#"{"bridge":"large-br","vlan":5}"#, r#"{"bridge":"large-br","vlan":5}"#),
        (right, r#"{"bridge":"large-br","mtu":1400}"#, r#"{"bridge":"large-br","mtu":1400}"#),
        (right, r#"{"bridge":"large-br","mtu":9001}"#, r#"{"bridge":"large-br","mtu":9001}"#),
    ] {
        let mut object = with(new);
        let update = review("UPDATE", NAD, Some(&with(old)), Some(&object));
        json_patch::patch(&mut object, &mutation(&server, &update).await).unwrap();
        assert_eq!(object["spec"]["config"], after, "{old} → {new}");
    }
}

#[tokio::test]
async fn an_object_that_names_no_namespace_lies_in_the_requests() {
    let server = example();
    let mut vm = vm(&["vm-network-a"], Value::Null);
    vm["metadata"] = json!({ "name": "vm" });
    let mut request = review("CREATE", "VirtualMachine", None, Some(&vm));
    request["request"]["namespace"] = json!("default");
    assert_eq!(mutation(&server, &request).await.0.len(), 1);
    request["request"]["namespace"] = json!("other");
    assert_eq!(mutation(&server, &request).await, Patch(Vec::new()));
}

#[tokio::test]
async fn a_list_of_hosts_that_kubernetes_would_refuse_is_left_out() {
    let hosts = (0..15_000).map(|host| {
        let name = format!("worker-{host:06}");
        json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } })
    });
    let server = Server::new(Some(snapshot_from(hosts, Options::default())));
    let matched = "network.harvesterhci.io/matched-nodes";
    let stale = json!({ "name": "c", "annotations": { matched: "[]", "other": "x" } });
    let after = mutated(&server, "VlanConfig", &config(stale, json!({}), "cluster-a")).await;
    assert_eq!(after["metadata"]["annotations"], json!({ "other": "x" }));
    let after =
        mutated(&server, "VlanConfig", &config(json!({ "name": "c" }), json!({}), "cluster-a"))
            .await;
    assert!(after["metadata"].get("annotations").is_none());
}

/// Requirements, ours and others'.
fn requirement() -> impl Strategy<Value = Value> {
    prop_oneof![
        select(vec!["cluster-a", "cluster-b", "gone", "mgmt"]).prop_map(ours),
        select(vec!["zone", "network.harvesterhci.io/cluster-a", "a/b~c"])
            .prop_map(|key| json!({ "key": key, "operator": "Exists" })),
    ]
}

fn term() -> impl Strategy<Value = Value> {
    let list = proptest::option::of(proptest::collection::vec(requirement(), 0..4));
    (list, proptest::option::of(0..2_usize)).prop_map(|(expressions, fields)| {
        let mut term = json!({});
        if let Some(expressions) = expressions {
            term["matchExpressions"] = expressions.into();
        }
        if let Some(fields) = fields {
            term["matchFields"] = vec![json!({ "key": "metadata.name" }); fields].into();
        }
        term
    })
}

/// Without what is ours: what must never change.
fn users(terms: &Value) -> Vec<Value> {
    let terms = terms.as_array().cloned().unwrap_or_default();
    terms
        .into_iter()
        .map(|mut term| {
            if let Some(list) = term["matchExpressions"].as_array_mut() {
                list.retain(|it| !["cluster-a", "cluster-b", "gone"].map(ours).contains(it));
            }
            if term["matchExpressions"].as_array().is_none_or(Vec::is_empty) {
                term.as_object_mut().unwrap().remove("matchExpressions");
            }
            term
        })
        .filter(|term| {
            term.get("matchExpressions").is_some()
                || term["matchFields"].as_array().is_some_and(|it| !it.is_empty())
        })
        .collect()
}

/// CNI configurations, right and wrong ones.
fn cni() -> impl Strategy<Value = String> {
    let bridge = select(vec![
        r#""bridge":"large-br""#,
        r#""bridge":"small-br""#,
        r#""bridge":"br0""#,
        r#""Bridge":"large-br","bridge":7"#,
    ]);
    let kind = select(vec![r#","type":"bridge""#, r#","type":"cnv-bridge""#, r#","type":"x""#, ""]);
    let mtu = select(vec!["", r#","mtu":0"#, r#","MTU":9000"#, r#","mtu":9999"#, r#","mtu":"x""#]);
    let tags = select(vec!["", r#","vlan":7"#, r#","vlanTrunk":[{"id":7}]"#, r#","vlan":{}"#]);
    let around = select(vec!["X", r#"{"mtu":1,"plugins":[{"type":"x"}, X ]}"#, "X]", ""]);
    (bridge, kind, mtu, tags, around).prop_map(|(bridge, kind, mtu, tags, around)| {
        around.replace('X', &format!("{{{bridge}{kind}{mtu}{tags}}}"))
    })
}

proptest! {
    #[test]
    fn mutating_a_vm_network_twice_changes_nothing_more(
        old in proptest::option::of(cni()),
        new in cni(),
        label in proptest::option::of(select(vec!["large", "small", "gone"])),
        strict in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let server = two_networks(strict);
        let label = label.map(|it| json!({ "network.harvesterhci.io/clusternetwork": it }));
        let with = |config: &str| vm_network(json!({ "name": "n", "labels": label }), config);
        let (old, mut object) = (old.as_deref().map(with), with(&new));
        let operation = if old.is_some() { "UPDATE" } else { "CREATE" };
        let mutate = |object: &Value| {
            runtime.block_on(mutation(&server, &review(operation, NAD, old.as_ref(), Some(object))))
        };
        let patch = mutate(&object);
        json_patch::patch(&mut object, &patch).unwrap();
        prop_assert_eq!(mutate(&object), Patch(Vec::new()), "{}", object);
    }

    #[test]
    fn mutating_twice_changes_nothing_more_and_nothing_of_the_users(
        terms_before in proptest::option::of(proptest::collection::vec(term(), 0..4)),
        networks in proptest::sample::subsequence(vec!["vm-network-a", "vm-network-b", "vm-network-c", "gone"], 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let affinity = terms_before.clone().map_or(Value::Null, |terms| with_terms(terms.into()));
        let before = vm(&networks, affinity);
        // Twice, by `mutated` itself.
        let after = runtime.block_on(mutated(&example(), "VirtualMachine", &before));
        let path = "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
        let of = |object: &Value| object.pointer(path).cloned().unwrap_or_default();
        prop_assert_eq!(users(&of(&before)), users(&of(&after)));
        let needed: Vec<Value> = [("cluster-a", &["vm-network-a", "vm-network-b"][..]), ("cluster-b", &["vm-network-c"])]
            .into_iter()
            .filter(|(_, of)| networks.iter().any(|name| of.contains(name)))
            .map(|(name, _)| ours(name))
            .collect();
        for term in of(&after).as_array().into_iter().flatten() {
            let list = term["matchExpressions"].as_array().cloned().unwrap_or_default();
            let fields = term["matchFields"].as_array().is_some_and(|it| !it.is_empty());
            if list.is_empty() && !fields {
                continue;
            }
            for network in ["cluster-a", "cluster-b", "gone"] {
                prop_assert_eq!(list.contains(&ours(network)), needed.contains(&ours(network)));
            }
        }
    }
}
