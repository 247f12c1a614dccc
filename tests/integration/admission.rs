//! The webhooks' wire format, and what becomes of reviews that are odd (docs/reference.md,
//! "Admission").

use http::StatusCode;
use json_patch::Patch;
use serde_json::{Value, json};

use crate::harness::{Server, examples, snapshot_of};
use crate::mutation::mutation;

pub fn example() -> Server {
    Server::new(Some(snapshot_of(&examples())))
}

fn group(kind: &str) -> &'static str {
    match kind {
        "VlanConfig" | "ClusterNetwork" => "network.harvesterhci.io",
        "VirtualMachine" | "VirtualMachineInstance" => "kubevirt.io",
        "NetworkAttachmentDefinition" => "k8s.cni.cncf.io",
        _ => "",
    }
}

pub fn review(operation: &str, kind: &str, old: Option<&Value>, new: Option<&Value>) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "3b1c",
            "kind": { "group": group(kind), "version": "v1", "kind": kind },
            "operation": operation,
            "userInfo": { "username": "admin", "groups": ["system:authenticated"] },
            "object": new,
            "oldObject": old,
            "dryRun": true,
            "options": null,
        },
    })
}

pub fn config(metadata: Value, selector: Value, network: &str) -> Value {
    json!({
        "apiVersion": "network.harvesterhci.io/v1beta1", "kind": "VlanConfig",
        "metadata": metadata,
        "spec": { "clusterNetwork": network, "nodeSelector": selector, "uplink": {} },
    })
}

#[tokio::test]
async fn anything_but_a_review_of_v1_is_400() {
    let server = example();
    let good = review("CREATE", "VlanConfig", None, Some(&json!({})));
    let with = |path: &str, value: Value| {
        let mut review = good.clone();
        *review.pointer_mut(path).unwrap() = value;
        review.to_string()
    };
    for body in [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        with("/apiVersion", json!("admission.k8s.io/v1beta1")),
        with("/kind", json!("Review")),
        with("/request", Value::Null),
        with("/request", json!({})),
        with("/request/uid", json!("")),
        json!(["admission.k8s.io/v1", "AdmissionReview", good["request"]]).to_string(),
        with("/request/operation", json!("create")),
    ] {
        for path in ["/validate", "/mutate"] {
            let answer = server.post(path, body.clone()).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path} {body}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn what_has_no_rules_is_allowed() {
    let server = example();
    let mut scale = review("UPDATE", "VlanConfig", None, Some(&json!({ "spec": 7 })));
    scale["request"]["subResource"] = json!("scale");
    for review in [
        scale,
        review("CREATE", "Deployment", None, Some(&json!({ "spec": 7 }))),
        review("CONNECT", "Pod", None, None),
        review("CREATE", "Node", None, Some(&json!({}))),
        review("DELETE", "VlanConfig", None, None),
    ] {
        for path in ["/validate", "/mutate"] {
            let answer = server.post(path, review.to_string()).await;
            assert_eq!(
                answer.json(),
                json!({
                    "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                    "response": { "uid": "3b1c", "allowed": true },
                })
            );
        }
    }
}

/// Whether a review is allowed, and what is said.
async fn validated(server: &Server, review: &Value) -> (bool, String) {
    let answer = server.post("/validate", review.to_string()).await;
    let response = answer.json()["response"].clone();
    let message = response["status"]["message"].as_str().unwrap_or_default().to_owned();
    (response["allowed"].as_bool().unwrap(), message)
}

#[tokio::test]
async fn an_unreadable_object_is_refused_but_may_be_repaired_and_deleted() {
    let server = example();
    let odd = json!({ "metadata": { "name": "c" }, "spec": { "clusterNetwork": "cluster-a", "nodeSelector": ["x"] } });
    let create = review("CREATE", "VlanConfig", None, Some(&odd));
    let answer = server.post("/validate", create.to_string()).await.json();
    let status = &answer["response"]["status"];
    assert_eq!(
        (&status["code"], &status["details"]["causes"][0]["reason"]),
        (&json!(422), &json!("unreadable"))
    );
    assert_eq!(status["details"]["causes"][0]["field"], "spec.nodeSelector");
    let message = status["message"].as_str().unwrap();
    assert!(
        message.starts_with("unreadable: ") && message.contains("spec.nodeSelector"),
        "{message}"
    );
    assert_eq!(mutation(&server, &create).await, Patch(Vec::new()));

    let good = config(json!({ "name": "c" }), json!({ "x": "y" }), "cluster-a");
    let mut going = odd.clone();
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let mut labelled = odd.clone();
    labelled["metadata"]["labels"] = json!({ "a": "b" });
    for new in [Some(&good), Some(&going), Some(&labelled), None] {
        let operation = if new.is_some() { "UPDATE" } else { "DELETE" };
        let review = review(operation, "VlanConfig", Some(&odd), new);
        assert_eq!(validated(&server, &review).await, (true, String::new()), "{review}");
    }
}

#[tokio::test]
async fn a_delete_is_judged_by_the_name_if_the_old_version_cant_be_read() {
    let server = example();
    for (kind, namespace, name, code) in [
        ("ClusterNetwork", Value::Null, "mgmt", "cn-mgmt-delete"),
        ("ClusterNetwork", Value::Null, "cluster-a", "cn-in-use"),
        ("NetworkAttachmentDefinition", json!("default"), "vm-network-a", "nad-in-use"),
    ] {
        let odd = json!({ "metadata": { "name": name, "namespace": namespace, "labels": 7 } });
        for old in [Some(&odd), None] {
            let mut review = review("DELETE", kind, old, None);
            review["request"]["name"] = json!(name);
            review["request"]["namespace"] = namespace.clone();
            let (allowed, message) = validated(&server, &review).await;
            assert!(!allowed && message.contains(code), "{review}: {message}");
            review["request"]["name"] = json!("unused");
            assert!(validated(&server, &review).await.0, "{review}");
        }
    }
}

#[tokio::test]
async fn what_cant_be_read_whole_or_is_not_sent_is_still_not_taken_from_running_vms() {
    let server = example();
    let mut odd = config(
        json!({ "name": "network-config-b" }),
        json!({ "example.com/rack": "r1" }),
        "cluster-a",
    );
    odd["spec"]["uplink"] = json!({ "linkAttributes": { "mtu": "9000" } });
    let mut odder = odd.clone();
    odder["spec"]["nodeSelector"] = json!(["r1"]);
    let nowhere = config(json!({ "name": "network-config-b" }), json!({ "x": "y" }), "cluster-a");
    let named = |mut review: Value| {
        review["request"]["name"] = json!("network-config-b");
        review
    };
    for review in [
        review("DELETE", "VlanConfig", Some(&odd), None),
        review("UPDATE", "VlanConfig", Some(&odd), Some(&nowhere)),
        named(review("DELETE", "VlanConfig", Some(&odder), None)),
        named(review("UPDATE", "VlanConfig", Some(&odder), Some(&nowhere))),
        named(review("DELETE", "VlanConfig", None, None)),
        named(review("UPDATE", "VlanConfig", None, Some(&nowhere))),
    ] {
        let (allowed, message) = validated(&server, &review).await;
        assert!(!allowed && message.contains("vc-running-vms"), "{review}: {message}");
    }
}

#[tokio::test]
async fn before_it_is_synced_failure_policy_decides() {
    let server = Server::new(None);
    let review = review("CREATE", "VlanConfig", None, Some(&json!({})));
    for path in ["/validate", "/mutate"] {
        let answer = server.post(path, review.to_string()).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    // What has no rules does not wait for anything.
    for kind in ["Pod", "Deployment"] {
        let create = crate::admission::review("CREATE", kind, None, Some(&json!({})));
        for path in ["/validate", "/mutate"] {
            let answer = server.post(path, create.to_string()).await;
            assert_eq!(answer.json()["response"]["allowed"], true, "{path} {kind}");
        }
    }
}

#[tokio::test]
async fn a_refusal_does_not_repeat_what_was_sent_at_length() {
    let long = "é".repeat(100_000);
    let review = json!({ "apiVersion": "admission.k8s.io/v1", "kind": long });
    let answer = example().post("/validate", review.to_string()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.body.len() < 300 && answer.body.contains("é…\" of"), "{}", answer.body);
    let args = json!({ "Pod": {}, "NodeNames": [{ "x": long }] });
    let answer = example().post("/scheduler/filter", args.to_string()).await;
    assert_eq!(answer.body, "NodeNames: element 0 is not a string\n");
}

#[tokio::test]
async fn a_review_beyond_eight_mib_is_413() {
    let mut body = review("CREATE", "Deployment", None, None).to_string();
    body.push_str(&" ".repeat((8 << 20) - body.len()));
    assert_eq!(example().post("/validate", body.clone()).await.status, StatusCode::OK);
    body.push(' ');
    let answer = example().post("/validate", body).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn the_reference_change_is_refused_naming_the_vms() {
    let old = config(
        json!({ "name": "network-config-b" }),
        json!({ "example.com/rack": "r1" }),
        "cluster-a",
    );
    let mut new = old.clone();
    new["spec"]["nodeSelector"] = json!({ "example.com/rack": "nowhere" });
    let server = example();
    let answer = server
        .post("/validate", review("UPDATE", "VlanConfig", Some(&old), Some(&new)).to_string())
        .await
        .json();
    let status = &answer["response"]["status"];
    assert_eq!((&status["code"], &status["reason"]), (&json!(403), &json!("Forbidden")));
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("default/vm0 (host1), default/vm1 (host2)"), "{message}");
    assert_eq!(status["details"]["causes"][0]["reason"], "vc-running-vms");
    let metrics = server
        .metrics
        .scrape(&server.snapshots, &lanekeeper::metrics::Certificates::default())
        .unwrap();
    for line in [
        r#"lanekeeper_admission_requests_total{operation="update",outcome="denied",resource="VlanConfig",webhook="validate"} 1"#,
        r#"lanekeeper_admission_violations_total{code="vc-running-vms"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}
