//! What an installation applies, and what our account may do.

use serde_json::{Value, json};

use crate::fixture::{ControlPlane, until};

pub async fn every_document_passes_strict_validation() {
    let plane = ControlPlane::start().await;
    // Applied strictly and in order, by server-side apply; and once more, which changes nothing.
    for document in plane.manifests() {
        let applied = plane.apply(&document).await;
        let again = plane.apply(&document).await;
        let version = |it: &Value| it["metadata"]["resourceVersion"].clone();
        if document["kind"] != "CustomResourceDefinition" {
            assert_eq!(version(&applied), version(&again), "{document}");
        }
    }
    let mut wrong = plane.manifests().pop().unwrap();
    wrong["webhooks"][0]["failurepolicy"] = json!("Fail");
    let error = plane.try_apply(&wrong).await.unwrap_err().to_string();
    assert!(error.contains("failurepolicy"), "what is not known is refused: {error}");
}

fn kind(kind: &str, name: &str, rest: Value) -> Value {
    let mut object = json!({
        "apiVersion": "network.harvesterhci.io/v1beta1", "kind": kind, "metadata": {"name": name},
    });
    for (field, value) in rest.as_object().unwrap() {
        object[field] = value.clone();
    }
    object
}

pub async fn objects_in_harvesters_shape_are_kept_as_they_are() {
    let plane = ControlPlane::start().await;
    plane.install().await;
    let condition = json!({
        "type": "ready", "status": "True", "reason": "", "message": "",
        "lastUpdateTime": "2026-08-01T00:00:00Z", "lastTransitionTime": "",
    });
    for object in [
        kind("ClusterNetwork", "mgmt", json!({"status": {"conditions": [condition]}})),
        kind("ClusterNetwork", "bare", json!({})),
        kind(
            "VlanConfig",
            "full",
            json!({"spec": {
                "clusterNetwork": "vlan", "description": "rack 1",
                "nodeSelector": {"kubernetes.io/hostname": "host1"},
                "uplink": {
                    "nics": ["enp7s3", "enp8s3"],
                    "bondOptions": {"mode": "802.3ad", "miimon": 100},
                    "linkAttributes": {"mtu": 9000, "txQLen": -1, "hardwareAddr": "UlQAEjRW"},
                },
            }}),
        ),
        kind(
            "VlanConfig",
            "mgmt-vlanconfig-host1",
            json!({"spec": {
                "clusterNetwork": "mgmt", "uplink": {},
            }}),
        ),
        kind(
            "VlanStatus",
            "vlan-host1-0a1b",
            json!({"status": {
                "clusterNetwork": "vlan", "vlanConfig": "full", "linkMonitor": "vlan", "node": "host1",
                "localAreas": [{"vlanID": 7, "cidr": "10.0.0.0/8"}], "conditions": [condition],
            }}),
        ),
        kind(
            "HostNetworkConfig",
            "storage",
            json!({"spec": {
                "clusterNetwork": "vlan", "vlanID": 7, "mode": "static", "underlay": false,
                "nodeSelector": {"matchExpressions": [{"key": "rack", "operator": "Exists"}]},
                "ips": {"host1": "10.0.0.1/8"},
            }}),
        ),
        kind(
            "LinkMonitor",
            "nic",
            json!({
                "spec": {"targetLinkRule": {"typeRule": "device", "nameRule": "^en"}},
                "status": {"linkStatus": {"host1": [
                    {"name": "enp7s3", "index": 2, "type": "device", "mac": "52:54:00:12:34:56",
                     "promiscuous": true, "state": "down", "masterIndex": 5},
                ]}},
            }),
        ),
    ] {
        let made = plane.create(&object).await;
        for part in ["spec", "status"] {
            assert_eq!(made[part], object[part], "{object}");
        }
    }
    for (spec, what) in [
        (json!({"bondOptions": {"mode": "802.3AD"}}), "Unsupported value"),
        (json!({"linkAttributes": {"mtu": 575}}), "the MTU must be 0 or from 576 to 9000"),
        (json!({"nics": ["a", "a"]}), "a NIC is listed twice"),
        (json!({"bondOptions": {"miimon": -2}}), "greater than or equal to -1"),
    ] {
        let wrong = kind(
            "VlanConfig",
            "wrong",
            json!({"spec": {"clusterNetwork": "vlan", "uplink": spec}}),
        );
        let error = plane.try_apply(&wrong).await.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    let long = kind("ClusterNetwork", "thirteen-char", json!({}));
    let error = plane.try_apply(&long).await.unwrap_err().to_string();
    assert!(error.contains("at most 12 lower-case letters"), "{error}");

    // One that breaks the rules since before there were any can be edited elsewhere.
    let mut loose = Vec::new();
    for definition in plane.manifests() {
        if definition["kind"] == "CustomResourceDefinition" {
            let mut without = definition.clone();
            strip(&mut without);
            plane.apply(&without).await;
            loose.push(definition);
        }
    }
    let old = kind(
        "VlanConfig",
        "old",
        json!({"spec": {"clusterNetwork": "vlan", "uplink": {
            "nics": ["a", "a"], "linkAttributes": {"mtu": 100}, "bondOptions": {"mode": "odd"},
        }}}),
    );
    for object in [&long, &old] {
        until("the rules to be gone", async || plane.try_apply(object).await.ok()).await;
    }
    for definition in &loose {
        plane.apply(definition).await;
    }
    let other = kind("ClusterNetwork", "fourteen-chars", json!({}));
    until("the rules to be back", async || match plane.try_apply(&other).await {
        Ok(_) => {
            plane.delete(&other).await;
            None
        }
        Err(_) => Some(()),
    })
    .await;
    plane.merge(&long, json!({"metadata": {"annotations": {"a": "b"}}})).await;
    plane
        .merge(
            &old,
            json!({"spec": {"description": "new", "uplink": {"linkAttributes": {"txQLen": 5}}}}),
        )
        .await;
    let worse = json!({"spec": {"uplink": {"linkAttributes": {"mtu": 101}}}});
    assert!(plane.try_merge(&old, worse).await.is_err());
}

/// Takes the rules out of a definition.
fn strip(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove("x-kubernetes-validations");
            if members.get("enum").is_some_and(Value::is_array) {
                members.remove("enum");
            }
            members.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

const US: &str = "system:serviceaccount:lanekeeper-system:lanekeeper";

async fn may(plane: &ControlPlane, verb: &str, group: &str, resource: &str) -> bool {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {
            "user": US, "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": {"verb": verb, "group": group, "resource": resource},
        },
    });
    plane.create(&review).await["status"]["allowed"].as_bool().unwrap()
}

pub async fn the_account_can_do_no_harm() {
    let plane = ControlPlane::start().await;
    plane.install().await;
    until("access", async || may(&plane, "watch", "", "nodes").await.then_some(())).await;
    for verb in ["get", "list", "watch"] {
        assert!(!may(&plane, verb, "", "secrets").await, "{verb} secrets");
        assert!(!may(&plane, verb, "", "configmaps").await, "{verb} configmaps");
    }
    for verb in ["create", "update", "patch", "delete", "deletecollection"] {
        for (group, resource) in [
            ("kubevirt.io", "virtualmachines"),
            ("kubevirt.io", "virtualmachineinstances"),
            ("", "pods"),
            ("", "pods/exec"),
            ("", "nodes/status"),
            ("network.harvesterhci.io", "vlanconfigs"),
            ("rbac.authorization.k8s.io", "clusterroles"),
            ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
        ] {
            assert!(!may(&plane, verb, group, resource).await, "{verb} {resource}");
        }
    }
}

pub async fn every_verb_of_the_role_is_needed() {
    // With streamed lists off, as before Kubernetes 1.34, each kind is listed and then watched.
    let plane = ControlPlane::with(&["--feature-gates=WatchList=false"]).await;
    plane.install().await;
    plane.install_foreign_kinds().await;
    let role = plane.manifests().into_iter().find(|it| it["kind"] == "ClusterRole").unwrap();
    let rules = role["rules"].as_array().unwrap().clone();
    // More than one page of a kind.
    for number in 0..300 {
        plane.create(&kind("ClusterNetwork", &format!("net-{number}"), json!({}))).await;
    }
    let lanekeeper = plane.lanekeeper().await.ready().await;
    let known = lanekeeper.metric("lanekeeper_objects", &["\"ClusterNetwork\""]).await;
    assert_eq!(known, 300);
    drop(lanekeeper);
    for (number, rule) in rules.iter().enumerate() {
        let resource = rule["resources"][0].as_str().unwrap();
        let group = rule["apiGroups"][0].as_str().unwrap();
        for verb in rule["verbs"].as_array().unwrap() {
            let verb = verb.as_str().unwrap();
            if !["list", "watch"].contains(&verb) {
                // `admission::what_no_watch_has_told_is_read_afresh` and the leader need these.
                continue;
            }
            let mut less = role.clone();
            let verbs = less["rules"][number]["verbs"].as_array_mut().unwrap();
            verbs.retain(|it| it != verb);
            plane.apply(&less).await;
            until("less access", async || {
                (!may(&plane, verb, group, resource).await).then_some(())
            })
            .await;
            let lanekeeper = plane.lanekeeper().await;
            until(&format!("{verb} {resource} to be missed"), async || {
                let missed = format!("cannot {verb} resource \\\"{resource}\\\"");
                lanekeeper.process.said(&missed).then_some(())
            })
            .await;
        }
    }
}
