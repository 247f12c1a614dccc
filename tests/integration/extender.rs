//! The extender's wire format and its verbs, called without a socket (docs/reference.md, "Scheduler
//! extender").

use std::fmt::Write as _;

use http::StatusCode;
use lanekeeper::cluster::{Activation, Options};
use lanekeeper::decide::filter::Rejections;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::harness::{Server, examples, snapshot, snapshot_of, snapshot_with};

/// A pod as the scheduler sends one, asking for these networks.
fn pod(networks: &str) -> Value {
    json!({
        "metadata": {
            "name": "virt-launcher", "namespace": "default", "uid": "u",
            "annotations": { "k8s.v1.cni.cncf.io/networks": networks },
        },
        "spec": { "containers": [{ "name": "compute" }] },
    })
}

fn example() -> Server {
    Server::new(Some(snapshot_of(&examples())))
}

async fn filter(server: &Server, pod: &Value, names: &[&str]) -> Value {
    let args = json!({ "Pod": pod, "Nodes": null, "NodeNames": names });
    let answer = server.post("/scheduler/filter", args.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.json()
}

const ALL: [&str; 6] = ["host0", "host1", "host2", "host3", "host4", "host5"];
const VM1: &str = "vm-network-b,vm-network-c";

#[tokio::test]
async fn a_whole_reply_has_every_field() {
    let args = json!({ "Pod": pod(VM1), "NodeNames": ALL });
    let answer = example().post("/scheduler/filter", args.to_string()).await;
    assert_eq!(
        answer.body,
        r#"{"Nodes":null,"NodeNames":["host2"],"FailedNodes":{},"FailedAndUnresolvableNodes":{},"Error":""}"#
    );
}

#[tokio::test]
async fn rejected_hosts_are_named_when_none_is_kept() {
    let answer = filter(&example(), &pod(VM1), &["host0", "host3"]).await;
    assert_eq!(answer["NodeNames"], json!([]));
    assert_eq!(answer["FailedNodes"], json!({}));
    assert_eq!(
        answer["FailedAndUnresolvableNodes"],
        json!({
            "host0": "cluster network cluster-b inactive: no network config",
            "host3": "cluster network cluster-a inactive: no network config; \
                      cluster network cluster-b inactive: no network config",
        })
    );
}

#[tokio::test]
async fn with_rejections_all_they_are_named_always() {
    let server = Server::with(Some(snapshot_of(&examples())), Rejections::All, 1 << 20);
    let answer = filter(&server, &pod(VM1), &["host2", "host1"]).await;
    assert_eq!(answer["NodeNames"], json!(["host2"]));
    assert_eq!(answer["FailedAndUnresolvableNodes"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn kept_names_keep_their_order_and_their_bytes() {
    let body = format!(
        r#"{{"Pod":{},"NodeNames":["host5", "h\u006fst4","host0","host2"]}}"#,
        pod("vm-network-c")
    );
    let answer = example().post("/scheduler/filter", body).await;
    assert!(
        answer.body.contains(r#""NodeNames":["host5","h\u006fst4","host2"]"#),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn kept_nodes_are_kept_byte_for_byte_and_known_hosts_judged_by_the_index() {
    // host2's own labels, as sent, would leave it uncovered; the index knows better.
    let host2 =
        r#"{ "metadata": {"labels":{},  "name" : "host2"}, "status":{"n":1e999,"x":"\u00e9"} }"#;
    // Not in the index: judged by what came along.
    let fresh = r#"{"metadata":{"name":"fresh","labels":{"example.com/second-uplink":"true"}}}"#;
    let bare = r#"{"metadata":{"name":"bare"}}"#;
    let body = format!(
        r#"{{"Pod":{},"Nodes":{{"metadata":{{}},"items":[{host2},{bare},{fresh}]}},"NodeNames":null}}"#,
        pod("vm-network-c")
    );
    let answer = example().post("/scheduler/filter", body).await;
    assert_eq!(
        answer.body,
        format!(
            r#"{{"Nodes":{{"metadata":{{}},"items":[{host2},{fresh}]}},"NodeNames":null,"FailedNodes":{{}},"FailedAndUnresolvableNodes":{{}},"Error":""}}"#
        )
    );
    let body = format!(r#"{{"pod":{},"nodes":{{"items":[{bare}]}}}}"#, pod("vm-network-c"));
    let answer = example().post("/scheduler/filter", body).await.json();
    assert_eq!(answer["Nodes"], json!({ "metadata": {}, "items": [] }));
    assert_eq!(
        answer["FailedAndUnresolvableNodes"]["bare"],
        "cluster network cluster-b inactive: no network config"
    );
}

#[tokio::test]
async fn what_kube_schedulers_own_types_write_is_read_and_kept_to_the_byte() {
    let read = |file: &str| {
        let path = crate::harness::project().join("tests/wire").join(file);
        std::fs::read_to_string(path).unwrap()
    };
    let nodes = read("args-nodes.json");
    let host2 = nodes.find(r#"{"metadata":{"name":"host2""#).unwrap();
    let host3 = nodes.find(r#",{"metadata":{"name":"host3""#).unwrap();
    let host2 = &nodes[host2..host3];
    let answer = example().post("/scheduler/filter", nodes.clone()).await.body;
    assert!(answer.starts_with(&format!(r#"{{"Nodes":{{"metadata":{{}},"items":[{host2}]}},"#)));
    let answer = example().post("/scheduler/filter", read("args-names.json")).await.json();
    assert_eq!(answer["NodeNames"], json!(["host2"]));
    for file in ["preemption-meta.json", "preemption-full.json"] {
        let answer = example().post("/scheduler/preempt", read(file)).await.json();
        let kept: Vec<_> = answer["NodeNameToMetaVictims"].as_object().unwrap().keys().collect();
        assert_eq!(kept, ["host2"], "{file}");
    }
}

#[tokio::test]
async fn an_unknown_name_is_not_known_yet_unless_mgmt_is_all_it_takes() {
    let server = example();
    let answer = filter(&server, &pod("vm-network-c"), &["host9"]).await;
    assert_eq!(answer["FailedAndUnresolvableNodes"], json!({ "host9": "host not known yet" }));
    let server = Server::new(Some(snapshot(
        "{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: m, \
         namespace: default, labels: {network.harvesterhci.io/clusternetwork: mgmt}}}",
    )));
    let answer = filter(&server, &pod("m"), &["host9"]).await;
    assert_eq!(answer["NodeNames"], json!(["host9"]));
}

#[tokio::test]
async fn a_pod_that_asks_for_nothing_is_kept_everywhere() {
    let bare = json!({ "metadata": { "name": "p", "namespace": "default" } });
    let answer = filter(&example(), &bare, &["host9", "host3"]).await;
    assert_eq!(answer["NodeNames"], json!(["host9", "host3"]));
}

#[tokio::test]
async fn a_pod_that_is_bound_already_keeps_its_own_host() {
    let mut bound = pod(VM1);
    bound["spec"]["nodeName"] = json!("host3");
    let answer = filter(&example(), &bound, &["host0", "host2", "host3"]).await;
    assert_eq!(answer["NodeNames"], json!(["host2", "host3"]));
    let victims = json!({ "host0": null, "host3": null });
    let body = json!({ "Pod": bound, "NodeNameToMetaVictims": victims }).to_string();
    let answer = example().post("/scheduler/preempt", body).await.json();
    let kept: Vec<_> = answer["NodeNameToMetaVictims"].as_object().unwrap().keys().collect();
    assert_eq!(kept, ["host3"], "whatever else holds");
    bound["spec"]["nodeName"] = json!("");
    let answer = filter(&example(), &bound, &["host0", "host3"]).await;
    assert_eq!(answer["NodeNames"], json!([]), "an empty name is no host");
}

#[tokio::test]
async fn odd_letter_case_and_nulls_are_read_as_go_reads_them() {
    let body =
        format!(r#"{{"POD":{},"nodenames":["host2"],"NODES":null,"Other":[1,{{}}]}}"#, pod(VM1));
    let answer = example().post("/scheduler/filter", body).await.json();
    assert_eq!(answer["NodeNames"], json!(["host2"]));
    let empty = filter(&example(), &pod(VM1), &[]).await;
    assert_eq!(empty["NodeNames"], json!([]));
    assert_eq!(empty["FailedAndUnresolvableNodes"], json!({}));
    let nulls = json!({
        "Pod": { "metadata": { "namespace": null, "annotations": null, "labels": null } },
        "NodeNames": ["host3"],
    });
    let answer = example().post("/scheduler/filter", nulls.to_string()).await.json();
    assert_eq!(answer["NodeNames"], json!(["host3"]));
}

#[tokio::test]
async fn every_reason_has_its_words() {
    let server = Server::new(Some(snapshot(
        "
{apiVersion: v1, kind: Node, metadata: {name: h, labels: {a: b}}}
---
{apiVersion: v1, kind: Node, metadata: {name: w, labels: {node-role.harvesterhci.io/witness: 'true'}}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: ClusterNetwork, metadata: {name: up}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, metadata: {name: c}, spec: {clusterNetwork: up}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanStatus, metadata: {name: s}, status: {clusterNetwork: up, vlanConfig: c, node: h, conditions: [{type: ready, status: 'False'}]}}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: up, namespace: default, labels: {network.harvesterhci.io/clusternetwork: up}}}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: odd, namespace: default, labels: {network.harvesterhci.io/clusternetwork: odd}}}
",
    )));
    for (networks, host, reason) in [
        ("up", "h", "cluster network up inactive: uplink not ready"),
        ("up", "w", "cluster network up inactive: witness host"),
        ("odd", "h", "cluster network odd does not exist"),
        (
            "odd,up",
            "h",
            "cluster network odd does not exist; cluster network up inactive: uplink not ready",
        ),
        ("net-b", "h", "VM network default/net-b does not exist"),
        ("other/up", "h", "VM network other/up does not exist"),
        ("[", "h", "unreadable network annotation"),
        ("odd", "new", "cluster network odd does not exist; host not known yet"),
        (
            "odd,gone",
            "h",
            "VM network default/gone does not exist; cluster network odd does not exist",
        ),
    ] {
        let answer = filter(&server, &pod(networks), &[host]).await;
        assert_eq!(answer["FailedAndUnresolvableNodes"], json!({ host: reason }), "{networks}");
    }
}

#[tokio::test]
async fn with_activation_reported_a_silent_host_is_not_active() {
    let yaml = "
{apiVersion: v1, kind: Node, metadata: {name: silent}}
---
{apiVersion: v1, kind: Node, metadata: {name: ready}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: ClusterNetwork, metadata: {name: up}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, metadata: {name: c}, spec: {clusterNetwork: up}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanStatus, metadata: {name: s}, status: {clusterNetwork: up, vlanConfig: c, node: ready, conditions: [{type: ready, status: 'True'}]}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanStatus, metadata: {name: t}, status: {clusterNetwork: up, vlanConfig: other, node: silent, conditions: [{type: ready, status: 'True'}]}}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: up, namespace: default, labels: {network.harvesterhci.io/clusternetwork: up}}}
";
    let covered = Server::new(Some(snapshot(yaml)));
    let answer = filter(&covered, &pod("up"), &["silent", "ready"]).await;
    assert_eq!(answer["NodeNames"], json!(["silent", "ready"]));
    let options = Options { activation: Activation::Reported, strict_vm_networks: false };
    let reported = Server::new(Some(snapshot_with(yaml, options)));
    let answer = filter(&reported, &pod("up"), &["silent", "ready"]).await;
    assert_eq!(answer["NodeNames"], json!(["ready"]));
    let answer = filter(&reported, &pod("up"), &["silent"]).await;
    assert_eq!(
        answer["FailedAndUnresolvableNodes"]["silent"],
        "cluster network up inactive: uplink not reported"
    );
}

#[tokio::test]
async fn a_bridge_speaks_of_a_cluster_network_that_exists_or_with_strict_of_any() {
    let yaml = r#"
{apiVersion: v1, kind: Node, metadata: {name: h}}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: nn, namespace: default}, spec: {config: '{"type":"bridge","bridge":"foo-br"}'}}
"#;
    let plain = snapshot(yaml);
    let problems: Vec<_> = plain.problems().into_iter().map(|it| it.message).collect();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("default/nn has bridge foo-br"), "{problems:?}");
    let answer = filter(&Server::new(Some(plain)), &pod("nn"), &["h"]).await;
    assert_eq!(answer["NodeNames"], json!(["h"]));

    let options = Options { strict_vm_networks: true, ..Options::default() };
    let strict = snapshot_with(yaml, options);
    assert_eq!(strict.problems().len(), 0);
    let answer = filter(&Server::new(Some(strict)), &pod("nn"), &["h"]).await;
    assert_eq!(answer["FailedAndUnresolvableNodes"]["h"], "cluster network foo does not exist");

    let existing = format!(
        "{yaml}\n---\n{{apiVersion: network.harvesterhci.io/v1beta1, kind: ClusterNetwork, metadata: {{name: foo}}}}"
    );
    let answer = filter(&Server::new(Some(snapshot(&existing))), &pod("nn"), &["h"]).await;
    assert_eq!(
        answer["FailedAndUnresolvableNodes"]["h"],
        "cluster network foo inactive: no network config"
    );
}

#[tokio::test]
async fn malformed_bodies_are_400_and_say_why() {
    let server = example();
    for (body, why) in [
        ("", "ExtenderArgs"),
        ("[]", "ExtenderArgs"),
        ("{", "ExtenderArgs"),
        (r#"{"Pod":{},"NodeNames":["a"]} x"#, "more text after"),
        (r#"{"NodeNames":["a"]}"#, "Pod"),
        (r#"{"Pod":null,"NodeNames":["a"]}"#, "Pod"),
        (r#"{"Pod":{}}"#, "neither"),
        (r#"{"Pod":{},"NodeNames":null,"Nodes":null}"#, "neither"),
        (r#"{"Pod":{},"NodeNames":[],"Nodes":{"items":[]}}"#, "both"),
        (r#"{"Pod":{},"NodeNames":[1]}"#, "not a string"),
        (r#"{"Pod":{},"NodeNames":"a"}"#, "NodeNames"),
        (r#"{"Pod":{},"Nodes":[]}"#, "Nodes"),
        (r#"{"Pod":{},"Nodes":{"items":[{"metadata":7}]}}"#, "Nodes.items"),
        (r#"{"Pod":7,"NodeNames":["a"]}"#, "Pod"),
        (r#"{"Pod":[],"NodeNames":["a"]}"#, "Pod"),
        (r#"[{},null,["a"]]"#, "ExtenderArgs"),
        (r#"{"Pod":{"metadata":{"annotations":[]}},"NodeNames":["a"]}"#, "Pod"),
    ] {
        for verb in ["filter", "prioritize"] {
            let answer = server.post(&format!("/scheduler/{verb}"), body).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{verb} {body}: {}", answer.body);
            assert!(answer.body.contains(why), "{body}: {}", answer.body);
        }
    }
    for (body, why) in [
        ("{}", "Pod"),
        (r#"{"Pod":{}}"#, "neither"),
        (r#"{"Pod":{},"NodeNameToVictims":null,"NodeNameToMetaVictims":null}"#, "neither"),
        (r#"{"Pod":{},"NodeNameToVictims":[]}"#, "NodeNameToVictims"),
        (r#"{"Pod":{},"NodeNameToVictims":{"a":{"Pods":7}}}"#, "Pods"),
    ] {
        let answer = server.post("/scheduler/preempt", body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}: {}", answer.body);
        assert!(answer.body.contains(why), "{body}: {}", answer.body);
    }
    assert_eq!(server.post("/scheduler/filter", vec![0xff, 0xfe]).await.status, 400);
}

#[tokio::test]
async fn a_body_at_the_limit_passes_and_one_beyond_is_413() {
    let body = json!({ "Pod": pod(VM1), "NodeNames": ["host2"] }).to_string();
    let server = |most| Server::with(Some(snapshot_of(&examples())), Rejections::Needed, most);
    let at = server(body.len()).post("/scheduler/filter", body.clone()).await;
    assert_eq!(at.status, StatusCode::OK);
    let beyond = server(body.len() - 1).post("/scheduler/filter", body.clone()).await;
    assert_eq!(beyond.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", beyond.body);
}

#[tokio::test]
async fn before_it_is_synced_nothing_is_taken_for_none() {
    let server = Server::new(None);
    let answer = filter(&server, &pod(VM1), &["host2"]).await;
    assert!(answer["Error"].as_str().unwrap().contains("not synced"), "{answer}");
    assert_eq!(answer["NodeNames"], Value::Null);
    let args = json!({ "Pod": pod(VM1), "NodeNames": ["host2", "host3"] }).to_string();
    let scores = server.post("/scheduler/prioritize", args).await.json();
    assert_eq!(scores, json!([{ "Host": "host2", "Score": 10 }, { "Host": "host3", "Score": 10 }]));
    let args = json!({ "Pod": pod(VM1), "NodeNameToMetaVictims": {} }).to_string();
    let answer = server.post("/scheduler/preempt", args).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_score_is_the_share_of_nics_that_are_up() {
    let mut yaml = "
{apiVersion: network.harvesterhci.io/v1beta1, kind: ClusterNetwork, metadata: {name: up}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, metadata: {name: c}, spec: {clusterNetwork: up, uplink: {nics: [e0, e1, e2]}}}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: up, namespace: default, labels: {network.harvesterhci.io/clusternetwork: up}}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: LinkMonitor, metadata: {name: m}, spec: {}, status: {linkStatus: {
  all: [{name: e0, state: up}, {name: e1, state: up}, {name: e2, state: unknown}],
  two: [{name: e0, state: up}, {name: e1, state: down}, {name: e2, state: up}],
  one: [{name: e2, state: up}, {name: other, state: up}],
  none: []}}}
"
    .to_owned();
    let expected = [("all", 10), ("two", 6), ("one", 3), ("none", 0), ("silent", 10), ("new", 10)];
    for (name, _) in expected.iter().filter(|(name, _)| *name != "new") {
        let _ = write!(yaml, "---\n{{apiVersion: v1, kind: Node, metadata: {{name: '{name}'}}}}\n");
    }
    let server = Server::new(Some(snapshot(&yaml)));
    let names: Vec<_> = expected.iter().map(|(name, _)| name).collect();
    let args = json!({ "Pod": pod("up"), "NodeNames": names }).to_string();
    let scores = server.post("/scheduler/prioritize", args).await.json();
    let wanted: Vec<_> =
        expected.iter().map(|(host, score)| json!({ "Host": host, "Score": score })).collect();
    assert_eq!(scores, json!(wanted));
    let items: Vec<_> =
        expected.iter().map(|(name, _)| json!({ "metadata": { "name": name } })).collect();
    let args = json!({ "Pod": pod("up"), "Nodes": { "items": items } }).to_string();
    assert_eq!(server.post("/scheduler/prioritize", args).await.json(), json!(wanted));
    let args = json!({ "Pod": pod(""), "NodeNames": ["none"] }).to_string();
    let scores = server.post("/scheduler/prioritize", args).await.json();
    assert_eq!(scores[0]["Score"], 10, "a pod that needs no uplink does not care");
}

#[tokio::test]
async fn preempt_drops_hosts_without_the_network_and_keeps_victims_as_they_came() {
    let meta = r#"{"Pods":[{"UID":"u1"} ],"NumPDBViolations":3}"#;
    let body = format!(
        r#"{{"Pod":{},"NodeNameToVictims":{{"host2":{{"Pods":[],"NumPDBViolations":0}}}},"NodeNameToMetaVictims":{{"host1":{meta},"host2":{meta},"host9":{meta}}}}}"#,
        pod(VM1)
    );
    let answer = example().post("/scheduler/preempt", body).await;
    assert_eq!(answer.body, format!(r#"{{"NodeNameToMetaVictims":{{"host2":{meta}}}}}"#));

    let full = json!({
        "Pod": pod(VM1),
        "NodeNameToVictims": {
            "host1": { "Pods": [{ "metadata": { "uid": "u1" } }], "NumPDBViolations": 1 },
            "host2": { "Pods": [{ "metadata": { "uid": "u2", "name": "p" } }], "NumPDBViolations": 2 },
        },
    });
    let answer = example().post("/scheduler/preempt", full.to_string()).await;
    assert_eq!(
        answer.json(),
        json!({ "NodeNameToMetaVictims": {
            "host2": { "Pods": [{ "UID": "u2" }], "NumPDBViolations": 2 },
        } })
    );
    let none = json!({ "Pod": pod(VM1), "NodeNameToMetaVictims": {} });
    let answer = example().post("/scheduler/preempt", none.to_string()).await;
    assert_eq!(answer.body, r#"{"NodeNameToMetaVictims":{}}"#);
}

#[tokio::test]
async fn preempt_keeps_the_uids_of_victims_in_any_case() {
    let victims = r#"{"pods":[{"uid":"u1"},{"Uid":"u2"}],"numpdbviolations":3}"#;
    for map in ["NodeNameToMetaVictims", "nodenametometavictims"] {
        let body = format!(r#"{{"pod":{},"{map}":{{"host2":{victims}}}}}"#, pod(VM1));
        let answer = example().post("/scheduler/preempt", body).await;
        let kept = r#"{"Pods":[{"UID":"u1"},{"UID":"u2"}],"NumPDBViolations":3}"#;
        assert_eq!(answer.body, format!(r#"{{"NodeNameToMetaVictims":{{"host2":{kept}}}}}"#));
    }
    let odd = r#"{"NumPDBViolations":1.5}"#;
    let body = format!(r#"{{"pod":{},"nodeNameToMetaVictims":{{"host2":{odd}}}}}"#, pod(VM1));
    let answer = example().post("/scheduler/preempt", body).await;
    assert!(answer.body.contains("NumPDBViolations: Invalid value: 1.5: must be an integer"));
    let odd = r#"{"pods":[{"uid":7}]}"#;
    let body = format!(r#"{{"pod":{},"nodeNameToMetaVictims":{{"host2":{odd}}}}}"#, pod(VM1));
    let answer = example().post("/scheduler/preempt", body).await;
    assert_eq!((answer.status, answer.body.contains("uid")), (StatusCode::BAD_REQUEST, true));
}

#[tokio::test]
async fn multus_default_network_is_looked_for_in_multus_namespace() {
    let server = Server::new(Some(snapshot(
        "
{apiVersion: v1, kind: Node, metadata: {name: h}}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: d.dotted, namespace: kube-system}}
",
    )));
    let asking = |name: &str| {
        json!({ "metadata": { "namespace": "default",
                "annotations": { "v1.multus-cni.io/default-network": name } } })
    };
    let kept = filter(&server, &asking("d.dotted"), &["h"]).await;
    assert_eq!(kept["NodeNames"], json!(["h"]));
    let gone = filter(&server, &asking("default/d.dotted"), &["h"]).await;
    assert_eq!(
        gone["FailedAndUnresolvableNodes"]["h"],
        "VM network default/d.dotted does not exist"
    );
    let two = filter(&server, &asking("d.dotted,d.dotted"), &["h"]).await;
    assert_eq!(two["FailedAndUnresolvableNodes"]["h"], "unreadable network annotation");
}

#[tokio::test]
async fn requests_and_rejections_are_counted_with_closed_labels() {
    let server = example();
    filter(&server, &pod(VM1), &["host0", "host3"]).await;
    filter(&server, &pod(VM1), &["host2"]).await;
    server.post("/scheduler/filter", "nonsense").await;
    let metrics = server
        .metrics
        .scrape(&server.snapshots, &lanekeeper::metrics::Certificates::default())
        .unwrap();
    for line in [
        r#"lanekeeper_filter_requests_total{outcome="kept"} 1"#,
        r#"lanekeeper_filter_requests_total{outcome="none_kept"} 1"#,
        r#"lanekeeper_filter_requests_total{outcome="refused"} 1"#,
        r#"lanekeeper_filter_rejections_total{cause="host-not-covered",cluster_network="cluster-b"} 2"#,
        r#"lanekeeper_filter_rejections_total{cause="host-not-covered",cluster_network="cluster-a"} 1"#,
        r#"lanekeeper_cluster_network_active_hosts{cluster_network="cluster-a"} 3"#,
        r#"lanekeeper_cluster_network_active_hosts{cluster_network="mgmt"} 6"#,
        r#"lanekeeper_objects{kind="VirtualMachineInstance"} 3"#,
        r#"lanekeeper_problems{kind="source"} 0"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn what_only_a_snapshot_tells_is_not_told_without_one() {
    let server = Server::new(None);
    server.post("/scheduler/prioritize", "nonsense").await;
    let args = json!({ "Pod": pod(VM1), "NodeNameToMetaVictims": {} });
    server.post("/scheduler/preempt", args.to_string()).await;
    let metrics = server
        .metrics
        .scrape(&server.snapshots, &lanekeeper::metrics::Certificates::default())
        .unwrap();
    for absent in ["lanekeeper_objects", "lanekeeper_problems", "snapshot_age", "active_hosts"] {
        assert!(!metrics.contains(absent), "{absent}: {metrics}");
    }
    for line in [
        r#"lanekeeper_extender_requests_total{outcome="refused",verb="prioritize"} 1"#,
        r#"lanekeeper_extender_requests_total{outcome="unavailable",verb="preempt"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn a_pod_that_asks_for_thousands_of_networks_gets_a_short_reason() {
    let networks: Vec<String> = (0..20_000).map(|number| format!("a{number}")).collect();
    let answer = filter(&example(), &pod(&networks.join(",")), &["host0", "host1"]).await;
    let reason = answer["FailedAndUnresolvableNodes"]["host0"].as_str().unwrap();
    assert!(reason.len() < 1100, "{}", reason.len());
    let (named, more) = reason.rsplit_once("; and ").unwrap();
    let named = named.split("; ").count();
    assert_eq!(more, format!("{} more", 20_000 - named));
}

#[tokio::test]
async fn a_reason_of_1_024_bytes_is_whole_and_a_longer_one_is_cut() {
    // Five reasons; the last name is as long as the whole needs.
    let name = |length: usize, first: &str| format!("{first}{}", "a".repeat(length - 1));
    for (length, is_cut) in [(1023, false), (1024, false), (1025, true), (1026, true), (1027, true)]
    {
        let mut names: Vec<String> = ["b", "c", "d", "e"].map(|it| name(170, it)).into();
        let whole = |names: &[String]| -> usize {
            let reasons =
                names.iter().map(|it| format!("VM network default/{it} does not exist").len());
            reasons.sum::<usize>() + "; ".len() * (names.len() - 1)
        };
        let rest = length - whole(&[&names[..], &["f".to_owned()]].concat());
        names.push(name(rest + 1, "f"));
        assert_eq!(whole(&names), length);
        let answer = filter(&example(), &pod(&names.join(",")), &["host0"]).await;
        let reason = answer["FailedAndUnresolvableNodes"]["host0"].as_str().unwrap();
        assert_eq!(reason.ends_with("; and 1 more"), is_cut, "{length}: {reason}");
        assert_eq!(reason.len() == length, !is_cut, "{length}: {}", reason.len());
    }
}

#[tokio::test]
async fn there_is_a_limit_to_candidates() {
    let body = |most: usize| {
        format!(r#"{{"Pod":{},"NodeNames":[{}]}}"#, pod("a"), vec![r#""""#; most].join(","))
    };
    let answer = example().post("/scheduler/filter", body(100_000)).await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = example().post("/scheduler/filter", body(100_001)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.body.contains("NodeNames: more than 100000"), "{}", answer.body);
}

#[tokio::test]
async fn before_it_is_synced_a_pod_that_needs_nothing_is_answered() {
    let server = Server::new(None);
    let bare = json!({ "metadata": { "namespace": "default" } });
    let answer = filter(&server, &bare, &["host0"]).await;
    assert_eq!((&answer["NodeNames"], &answer["Error"]), (&json!(["host0"]), &json!("")));
    let args = json!({ "Pod": bare, "NodeNameToMetaVictims": { "h": { "Pods": [] } } });
    let answer = server.post("/scheduler/preempt", args.to_string()).await.json();
    assert_eq!(answer["NodeNameToMetaVictims"], json!({ "h": { "Pods": [] } }));
}

#[tokio::test]
async fn nulls_inside_are_taken_for_absent_too() {
    let pod = pod(VM1);
    let body = json!({ "Pod": pod, "Nodes": { "items": [{ "metadata": null }, { "metadata": { "name": null } }] } });
    let answer = example().post("/scheduler/filter", body.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let empty =
        json!({ "NodeNameToMetaVictims": { "host2": { "Pods": [], "NumPDBViolations": 0 } } });
    for map in ["NodeNameToVictims", "NodeNameToMetaVictims"] {
        let body = json!({ "Pod": pod, map: { "host2": null } });
        let answer = example().post("/scheduler/preempt", body.to_string()).await;
        assert_eq!(answer.json(), empty, "{map}");
    }
}

#[tokio::test]
async fn a_config_that_cant_be_read_is_a_problem_and_restricts_nothing() {
    let snapshot = snapshot(
        r#"{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: odd, namespace: default}, spec: {config: '{"bridge":"cluster-a-br",}'}}"#,
    );
    let problems = snapshot.problems();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("default/odd has a spec.config that can't be read"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_answer_what_is_not_json(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        text in "[{}\\[\\]\":,a-zA-Z0-9 \\\\]{0,200}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let server = Server::new(Some(snapshot("{apiVersion: v1, kind: Node, metadata: {name: h}}")));
        for body in [bytes, text.into_bytes()] {
            for path in [
                "/scheduler/filter", "/scheduler/prioritize", "/scheduler/preempt", "/validate", "/mutate",
            ] {
                let answer = runtime.block_on(server.post(path, body.clone()));
                prop_assert!(answer.status == 400, "{} {}", answer.status, answer.body);
            }
        }
    }
}
