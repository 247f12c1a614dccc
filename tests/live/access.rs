//! What an installation applies, and what our account may do.

use serde_json::{Value, json};

use crate::fixture::{ACCOUNT, ControlPlane, Installed, NAMESPACE, Replica, until};
use crate::objects::{launcher_pod, like, vmi};

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

/// An access that is asked for.
#[derive(Clone, Copy, Default)]
struct Access<'a> {
    verb: &'a str,
    group: &'a str,
    /// With the subresource, where there is one.
    resource: &'a str,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
}

impl<'a> Access<'a> {
    fn of(verb: &'a str, group: &'a str, resource: &'a str) -> Self {
        Self { verb, group, resource, namespace: None, name: None }
    }

    /// To the object of this name in our namespace.
    fn at(self, name: &'a str) -> Self {
        Self { namespace: Some(NAMESPACE), name: Some(name), ..self }
    }
}

/// Whether our account has an access.
async fn may(plane: &ControlPlane, access: Access<'_>) -> bool {
    let Access { verb, group, resource, namespace, name } = access;
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {
            "user": ACCOUNT, "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": {
                "verb": verb, "group": group, "resource": resource, "subresource": subresource,
                "namespace": namespace, "name": name,
            },
        },
    });
    plane.create(&review).await["status"]["allowed"].as_bool().unwrap()
}

const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

pub async fn the_account_can_do_no_harm() {
    for overlay in ["kubevirt", "harvester"] {
        let plane = ControlPlane::start().await;
        let _installed = Installed::but_webhooks(&plane, &["--overlay", overlay]).await;
        let allowed = async |access: Access<'_>| may(&plane, access).await;
        until("access", async || allowed(Access::of("watch", "", "nodes")).await.then_some(()))
            .await;
        // No Secret but its own, and that by its name alone.
        let secret = |verb| Access::of(verb, "", "secrets");
        assert!(allowed(secret("get").at("lanekeeper-tls")).await);
        for verb in ["get", "list", "watch"].into_iter().chain(WRITES) {
            assert!(!allowed(secret(verb)).await, "{verb} secrets");
            assert!(!allowed(secret(verb).at("other")).await, "{verb} another Secret");
            let elsewhere =
                Access { namespace: Some("kube-system"), ..secret(verb).at("lanekeeper-tls") };
            assert!(!allowed(elsewhere).await, "{verb} a Secret elsewhere");
            assert!(!allowed(Access::of(verb, "", "configmaps")).await, "{verb} configmaps");
        }
        for verb in ["list", "watch", "create", "delete", "deletecollection", "patch"] {
            assert!(!allowed(secret(verb).at("lanekeeper-tls")).await, "{verb} its Secret");
        }
        // What it may write, and nothing else of these.
        let is_written = |verb: &str, resource: &str| match resource {
            "nodes" | "pods/status" => verb == "patch",
            "events" => verb == "create",
            "clusternetworks" => overlay == "kubevirt" && ["create", "patch"].contains(&verb),
            "network-attachment-definitions" => overlay == "kubevirt" && verb == "patch",
            _ => false,
        };
        for verb in WRITES {
            for (group, resource) in [
                ("kubevirt.io", "virtualmachines"),
                ("kubevirt.io", "virtualmachineinstances"),
                ("kubevirt.io", "virtualmachineinstancemigrations"),
                ("", "pods"),
                ("", "pods/status"),
                ("", "pods/exec"),
                ("", "pods/binding"),
                ("", "pods/eviction"),
                ("", "pods/ephemeralcontainers"),
                ("", "nodes"),
                ("", "nodes/status"),
                ("", "nodes/proxy"),
                ("", "namespaces"),
                ("", "events"),
                ("", "services"),
                ("", "serviceaccounts"),
                ("", "serviceaccounts/token"),
                ("apps", "deployments"),
                ("network.harvesterhci.io", "clusternetworks"),
                ("network.harvesterhci.io", "vlanconfigs"),
                ("network.harvesterhci.io", "vlanstatuses"),
                ("k8s.cni.cncf.io", "network-attachment-definitions"),
                ("rbac.authorization.k8s.io", "clusterroles"),
                ("rbac.authorization.k8s.io", "clusterrolebindings"),
                ("rbac.authorization.k8s.io", "roles"),
                ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
                ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
            ] {
                let may = allowed(Access::of(verb, group, resource)).await;
                assert_eq!(may, is_written(verb, resource), "{overlay}: {verb} {resource}");
            }
            let lease = Access::of(verb, "coordination.k8s.io", "leases");
            assert!(!allowed(lease.at("other")).await, "{verb} another Lease");
        }
        let webhooks =
            Access::of("patch", "admissionregistration.k8s.io", "validatingwebhookconfigurations");
        assert!(!allowed(Access { name: Some("other"), ..webhooks }).await);
    }
}

/// A right: one verb of one resource in one rule of a Role.
struct Right<'a> {
    role: &'a Value,
    rule: usize,
    resource: &'a str,
    verb: &'a str,
}

/// Every right of our account.
fn rights(documents: &[Value]) -> Vec<Right<'_>> {
    let roles = documents
        .iter()
        .filter(|document| ["ClusterRole", "Role"].contains(&document["kind"].as_str().unwrap()));
    let mut rights = Vec::new();
    for role in roles {
        for (number, rule) in role["rules"].as_array().unwrap().iter().enumerate() {
            for resource in rule["resources"].as_array().unwrap() {
                for verb in rule["verbs"].as_array().unwrap() {
                    let (resource, verb) = (resource.as_str().unwrap(), verb.as_str().unwrap());
                    rights.push(Right { role, rule: number, resource, verb });
                }
            }
        }
    }
    rights
}

impl Right<'_> {
    /// The Role without this right.
    fn role_without(&self) -> Value {
        let mut role = self.role.clone();
        let rules = role["rules"].as_array_mut().unwrap();
        let mut less = rules.remove(self.rule);
        let mut others = less.clone();
        others["resources"].as_array_mut().unwrap().retain(|it| it != self.resource);
        less["resources"] = json!([self.resource]);
        less["verbs"].as_array_mut().unwrap().retain(|it| it != self.verb);
        let grants = |it: &Value| {
            ["resources", "verbs"].iter().all(|part| !it[part].as_array().unwrap().is_empty())
        };
        rules.extend([others, less].into_iter().filter(grants));
        role
    }

    async fn take_away(&self, plane: &ControlPlane) {
        plane.apply(&self.role_without()).await;
        let rule = &self.role["rules"][self.rule];
        let access = Access {
            namespace: self.role["metadata"]["namespace"].as_str(),
            name: rule["resourceNames"][0].as_str(),
            ..Access::of(self.verb, rule["apiGroups"][0].as_str().unwrap(), self.resource)
        };
        until("less access", async || (!may(plane, access).await).then_some(())).await;
    }

    async fn give_back(&self, plane: &ControlPlane) {
        plane.apply(self.role).await;
    }

    /// Waits until our program has been refused what it needs this right for.
    async fn is_missed(&self, replica: &Replica) {
        let Self { verb, resource, .. } = self;
        until(&format!("{verb} {resource} to be missed"), async || {
            let missed = format!("cannot {verb} resource \\\"{resource}\\\"");
            replica.said(&missed).then_some(())
        })
        .await;
    }
}

/// The kinds of which a review gets single objects. `admission::what_no_watch_has_told_is_read_afresh`
/// needs these rights.
const LOOKED_UP: [&str; 4] =
    ["clusternetworks", "network-attachment-definitions", "virtualmachineinstances", "pods"];

pub async fn every_right_to_read_is_needed() {
    // With streamed lists off, as before Kubernetes 1.34, each kind is listed and then watched.
    let plane = ControlPlane::with(&["--feature-gates=WatchList=false"]).await;
    let installed = Installed::but_webhooks(&plane, &[]).await;
    plane.install_foreign_kinds().await;
    // More than one page of a kind.
    for number in 0..300 {
        plane.create(&kind("ClusterNetwork", &format!("net-{number}"), json!({}))).await;
    }
    let replica = installed.ready_replica("lanekeeper").await;
    let known = replica.metric("lanekeeper_objects", &["\"ClusterNetwork\""]).await;
    assert!(known >= 300, "{known}");
    drop(replica);
    for right in rights(&installed.documents) {
        if ["list", "watch"].contains(&right.verb) {
            right.take_away(&plane).await;
            let replica = installed.replica("lanekeeper").await;
            right.is_missed(&replica).await;
            right.give_back(&plane).await;
        }
    }
}

/// Leaves our leader everything to do again, as after an installation.
async fn undo(plane: &ControlPlane, installed: &Installed) {
    let lease = like("Lease", "lanekeeper");
    plane.merge(&lease, json!({"spec": {"holderIdentity": null, "renewTime": null}})).await;
    let secret = like("Secret", "lanekeeper-tls");
    plane.merge(&secret, json!({"data": null})).await;
    for document in &installed.documents {
        if document["kind"].as_str().unwrap().ends_with("WebhookConfiguration") {
            plane.merge(document, json!({"webhooks": document["webhooks"]})).await;
        }
    }
    let mgmt = kind("ClusterNetwork", "mgmt", json!({}));
    if plane.get(&mgmt).await.is_some() {
        plane.delete(&mgmt).await;
    }
    plane.merge(&kind("ClusterNetwork", "cluster-a", json!({})), json!({"status": null})).await;
    let label = |key: &str| json!({"metadata": {"labels": {format!("network.harvesterhci.io/{key}"): null}}});
    plane.merge(&like("Node", "host0"), label("cluster-a")).await;
    let network = like("NetworkAttachmentDefinition", "vm-network-a");
    plane.merge(&network, label("ready")).await;
    let waiting = like("Pod", "virt-launcher-waits");
    let status = json!({"status": {
        "nominatedNodeName": null,
        "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/6 nodes are available",
        }],
    }});
    plane.merge_status(&waiting, &status).await;
}

pub async fn every_right_to_write_is_needed() {
    let plane = ControlPlane::start().await;
    let mut installed = Installed::but_webhooks(&plane, &[]).await;
    plane.install_foreign_kinds().await;
    plane.apply_examples().await;
    // The webhooks are registered, for objects that there are none of: nobody answers them between
    // two replicas.
    for document in &mut installed.documents {
        if document["kind"].as_str().unwrap().ends_with("WebhookConfiguration") {
            for webhook in document["webhooks"].as_array_mut().unwrap() {
                webhook["objectSelector"] = json!({"matchLabels": {"never": "there"}});
            }
        }
    }
    installed.register(&plane).await;
    // A VM that is cut off, and one that waits for a host that it could have.
    let mut cut_off = vmi("cut-off", &["vm-network-b"]);
    cut_off["status"] = json!({"phase": "Running", "nodeName": "host5"});
    let cut_off = plane.create(&cut_off).await;
    let mut pod = launcher_pod(&cut_off);
    pod["spec"]["nodeName"] = json!("host5");
    plane.create(&pod).await;
    let waits = plane.create(&vmi("waits", &["vm-network-b"])).await;
    plane.create(&launcher_pod(&waits)).await;

    // With all its rights it misses none.
    undo(&plane, &installed).await;
    let replica = installed.ready_replica("lanekeeper").await;
    until("everything to be done", async || {
        let pod = plane.get(&like("Pod", "virt-launcher-waits")).await?;
        let nominated = pod["status"]["nominatedNodeName"].is_string();
        let told = !plane.events_of("cut-off").await.is_empty();
        let made = plane.get(&kind("ClusterNetwork", "mgmt", json!({}))).await.is_some();
        (nominated && told && made).then_some(())
    })
    .await;
    assert!(!replica.said("forbidden"), "{}", replica.program.process.end_of_log());
    drop(replica);

    let mut tried = Vec::new();
    for right in rights(&installed.documents) {
        let Right { verb, resource, .. } = right;
        if ["list", "watch"].contains(&verb) || (verb == "get" && LOOKED_UP.contains(&resource)) {
            continue;
        }
        undo(&plane, &installed).await;
        right.take_away(&plane).await;
        let replica = installed.replica("lanekeeper").await;
        right.is_missed(&replica).await;
        right.give_back(&plane).await;
        tried.push(format!("{verb} {resource}"));
    }
    eprintln!("each is missed: {}", tried.join(", "));
    assert!(tried.len() >= 12, "{tried:?}");
}
