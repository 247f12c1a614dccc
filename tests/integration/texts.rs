//! What a message says of an object or a request that can't be read.

use lanekeeper::cluster::{Kind, Now};
use lanekeeper::k8s::Decoder;
use serde_json::{Value, json};

use crate::harness::Server;

/// Words of Rust, serde and `serde_json`, and positions inside a value.
const FOREIGN: [&str; 20] = [
    "i64",
    "u32",
    "usize",
    "struct",
    "sequence",
    "unit",
    "enum ",
    "newtype",
    "borrowed",
    "variant",
    "identifier",
    "invalid type",
    ", expected",
    "Option ",
    "floating point",
    "`",
    "line ",
    "column",
    "byte array",
    "RawValue",
];
const MAX: usize = 512;

fn assert_plain(message: &str, of: &str) {
    let foreign = FOREIGN.iter().find(|word| message.contains(**word));
    assert_eq!(foreign, None, "{of}: {message}");
    let length = message.chars().count();
    assert!(length <= MAX, "{of}: {length} characters: {message}");
}

/// An object with every field that we read.
fn sample(kind: Kind) -> Value {
    let metadata = json!({
        "name": "a", "namespace": "default", "uid": "1", "labels": {"l": "x"},
        "annotations": {"network.harvesterhci.io/uplink-mtu": "1500"},
        "ownerReferences": [{"kind": "VirtualMachineInstance", "name": "a", "uid": "2"}],
    });
    let vmi_spec = json!({
        "networks": [{"name": "n", "multus": {"networkName": "a", "default": true}}],
        "domain": {"devices": {"interfaces": [{"name": "n", "macAddress": "02:00:00:00:00:01"}]}},
    });
    let migration_state = json!({"targetNode": "h", "completed": false, "failed": false});
    let rest = match kind {
        Kind::ClusterNetwork | Kind::Namespace | Kind::Host => json!({}),
        Kind::NetworkConfig => json!({"spec": {
            "description": "d", "clusterNetwork": "c", "nodeSelector": {"l": "x"}, "uplink": {
                "nics": ["e1"], "bondOptions": {"mode": "802.3ad", "miimon": 100},
                "linkAttributes": {"mtu": 9000, "txQLen": 1, "hardwareAddr": "x"},
            },
        }}),
        Kind::UplinkStatus => json!({"status": {
            "clusterNetwork": "c", "vlanConfig": "v", "node": "h",
            "conditions": [{"type": "ready", "status": "False", "message": "m"}],
        }}),
        Kind::LinkMonitor => json!({"status": {"linkStatus": {
            "h": [{"name": "e1", "state": "up", "index": 1, "masterIndex": 2}],
        }}}),
        Kind::HostNetwork => json!({"spec": {
            "clusterNetwork": "c", "underlay": true, "ips": {"h": "10.0.0.1/24"},
            "nodeSelector": {"matchLabels": {"l": "x"}, "matchExpressions": [
                {"key": "k", "operator": "In", "values": ["v"]},
            ]},
        }}),
        Kind::VmNetwork => json!({"spec": {"config": "{}"}}),
        Kind::Vm => json!({"spec": {"runStrategy": "Always", "template": {"spec": vmi_spec}}}),
        Kind::Vmi => json!({"spec": vmi_spec, "status": {
            "phase": "Running", "nodeName": "h", "activePods": {"p": "h"},
            "migrationState": migration_state,
        }}),
        Kind::Migration => json!({
            "spec": {"vmiName": "a"},
            "status": {"phase": "Running", "migrationState": migration_state},
        }),
        Kind::LauncherPod => json!({"spec": {"nodeName": "h"}, "status": {"phase": "Running"}}),
    };
    let mut object = rest;
    object["metadata"] = metadata;
    object
}

/// The path of each part of a value, as a JSON pointer and as messages write it.
fn parts(value: &Value, pointer: &str, path: &str, out: &mut Vec<(String, String)>) {
    if !pointer.is_empty() {
        out.push((pointer.to_owned(), path.to_owned()));
    }
    let members = value.as_object().into_iter().flatten();
    for (name, member) in members {
        let dot = if path.is_empty() { "" } else { "." };
        let escaped = name.replace('/', "~1");
        parts(member, &format!("{pointer}/{escaped}"), &format!("{path}{dot}{name}"), out);
    }
    for (number, element) in value.as_array().into_iter().flatten().enumerate() {
        parts(element, &format!("{pointer}/{number}"), &format!("{path}[{number}]"), out);
    }
}

/// Values of each type, among them what can't be repeated at length.
fn wrong_values() -> Vec<Value> {
    let long = "é".repeat(10_000);
    let values = [json!(null), json!(true), json!(7), json!(-1.5), json!(u64::MAX), json!(1e300)];
    let nested = [json!([]), json!({}), json!(["x"]), json!([7]), json!({"x": 7}), json!([[]])];
    values.into_iter().chain([json!("x"), json!(long), json!({ long: 7 })]).chain(nested).collect()
}

/// What is said of each way to break an object of a kind: the path of the wrong value, and the text.
fn faults(kind: Kind) -> Vec<(String, Value, String)> {
    let sample = sample(kind);
    let mut all = Vec::new();
    parts(&sample, "", "", &mut all);
    let mut faults = Vec::new();
    for (pointer, path) in all {
        for wrong in wrong_values() {
            let mut object = sample.clone();
            *object.pointer_mut(&pointer).unwrap() = wrong.clone();
            if let Now::Malformed { why, .. } = Decoder::default().now(kind, &object) {
                faults.push((path.clone(), wrong, why.to_string()));
            }
        }
    }
    faults
}

#[test]
fn the_sample_of_each_kind_can_be_read() {
    for kind in Kind::ALL {
        let now = Decoder::default().now(kind, sample(kind));
        assert!(!matches!(now, Now::Malformed { .. }), "{kind:?}: {now:?}");
    }
}

#[test]
fn a_value_of_the_wrong_type_is_told_with_its_path_in_the_words_of_kubernetes() {
    for kind in Kind::ALL {
        let faults = faults(kind);
        assert!(faults.len() > 40, "{kind:?}: {}", faults.len());
        for (path, wrong, why) in faults {
            let of = format!("{kind:?} {path} {wrong:.40}");
            assert_plain(&why, &of);
            // An expression is wrong as a whole.
            let whole = path.strip_suffix(".operator").or_else(|| path.strip_suffix(".values"));
            assert!(why.starts_with(whole.unwrap_or(&path)), "{of}: {why}");
            let words = ["Invalid value: ", ": Required value"];
            assert!(words.iter().any(|words| why.contains(words)), "{of}: {why}");
        }
    }
}

/// A network annotation of a pod, or the text of a VM network's configuration.
#[test]
fn json_inside_a_string_is_told_without_a_position() {
    for text in
        ["[", "[1]", "[{]", r#"[{"name":7}]"#, r#"{"name":"a"}"#, r#"[{"name":"a"}] x"#, "[[]]"]
    {
        let annotation = "k8s.v1.cni.cncf.io/networks";
        let pod = json!({"metadata": {"namespace": "default", "annotations": {annotation: text}}});
        let pod = Decoder::default().scheduled_pod(&pod.to_string()).unwrap();
        let why = format!("{:?}", pod.networks);
        let why =
            why.split(annotation).nth(1).unwrap_or_else(|| panic!("{text} is refused: {why}"));
        assert_plain(&why.replace('\\', ""), text);
    }
}

#[tokio::test]
async fn a_body_that_cant_be_read_is_told_in_plain_words() {
    let server = Server::new(Some(crate::harness::snapshot("")));
    let review = crate::admission::review("CREATE", "Node", None, Some(&json!({})));
    let mut all = Vec::new();
    parts(&review, "", "", &mut all);
    let mut refused = 0;
    for (pointer, path) in all {
        for wrong in wrong_values() {
            let mut review = review.clone();
            *review.pointer_mut(&pointer).unwrap() = wrong.clone();
            let answer = server.post("/validate", review.to_string()).await;
            if answer.status == 400 {
                refused += 1;
                assert_plain(answer.body.trim_end(), &format!("{path} {wrong:.40}"));
            }
        }
    }
    assert!(refused > 50, "{refused}");
    for (path, body) in [
        ("/validate", "{"),
        ("/mutate", r#"{"request":7}"#),
        ("/scheduler/filter", r#"{"Pod":{},"NodeNames":"a"}"#),
        ("/scheduler/filter", r#"{"Pod":{"metadata":[]},"NodeNames":["a"]}"#),
        ("/scheduler/filter", r#"{"Pod":{},"Nodes":{"items":[{"metadata":7}]}}"#),
        ("/scheduler/filter", r#"{"Pod":{},"NodeNames":["a"]} x"#),
        ("/scheduler/preempt", r#"{"Pod":{},"NodeNameToVictims":{"a":{"Pods":[7]}}}"#),
        ("/scheduler/preempt", r#"{"Pod":{},"NodeNameToMetaVictims":{"a":{"Pods":7}}}"#),
        ("/scheduler/preempt", r#"{"Pod":{},"NodeNameToMetaVictims":[,]}"#),
    ] {
        let answer = server.post(path, body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_plain(answer.body.trim_end(), body);
    }
}
