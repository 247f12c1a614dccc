//! `lanekeeper cleanup`, and then everything that was installed is deleted: VMs that had our affinity
//! are placed, and nothing of ours is left.

use std::process::{Command, Output};

use kube::discovery::{Discovery, verbs};
use serde_json::{Value, json};

use crate::doctor::Cluster;
use crate::fixture::{ControlPlane, leader, until};
use crate::objects::{like, plain_pod};

async fn cleanup(plane: &ControlPlane, more: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lanekeeper"));
    command.args(["cleanup", "--kubeconfig"]).arg(plane.folder.path().join("admin.kubeconfig"));
    command.args(more);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let Output { status, stdout, stderr } = output.unwrap();
    let said = [stdout, stderr].map(|it| String::from_utf8(it).unwrap()).concat();
    (status.code().unwrap(), said)
}

/// What in an object is ours.
fn ours(object: &Value) -> Vec<String> {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    let mut found = Vec::new();
    // An Event is named after what it is about, whoever reports it. Ours have us as their manager.
    if name.contains("lanekeeper") && object["kind"] != "Event" {
        found.push("its name".to_owned());
    }
    if metadata["labels"]["app.kubernetes.io/name"] == "lanekeeper" {
        found.push("its label".to_owned());
    }
    let managers = metadata["managedFields"].as_array().into_iter().flatten();
    found.extend(managers.filter(|it| it["manager"] == "lanekeeper").map(ToString::to_string));
    // The mutation's labels on VM networks were asked for by those who made them.
    for map in ["labels", "annotations"] {
        let keys = metadata[map].as_object().into_iter().flatten().map(|(key, _)| key);
        let key = |key: &&String| {
            key.contains("lanekeeper")
                || object["kind"] == "Node" && key.starts_with("network.harvesterhci.io/")
        };
        found.extend(keys.filter(key).cloned());
    }
    if object["spec"].to_string().contains("\"network.harvesterhci.io/") {
        found.push("its spec".to_owned());
    }
    found
}

/// Everything of ours in objects of every kind.
pub async fn all_of_ours(plane: &ControlPlane) -> Vec<String> {
    until("a list of each kind that there is", async || ours_of_every_kind(plane).await).await
}

/// An answer; `None` if the API server does not serve what it was asked for.
fn served<T>(answer: kube::Result<T>) -> Option<T> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 404 => None,
        answer => Some(answer.unwrap()),
    }
}

/// The same. `None` if a group or kind that the API server names is not served: its definition has just
/// been deleted.
async fn ours_of_every_kind(plane: &ControlPlane) -> Option<Vec<String>> {
    let discovery = served(Discovery::new(plane.client.clone()).run().await)?;
    let mut found = Vec::new();
    let mut kinds = 0;
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if !capabilities.supports_operation(verbs::LIST) {
                continue;
            }
            kinds += 1;
            let api: kube::Api<kube::api::DynamicObject> =
                kube::Api::all_with(plane.client.clone(), &resource);
            for object in served(api.list(&kube::api::ListParams::default()).await)? {
                let mut object = serde_json::to_value(object).unwrap();
                object["kind"] = json!(resource.kind);
                let what = ours(&object);
                if !what.is_empty() {
                    let name = &object["metadata"]["name"];
                    found.push(format!("{} {name}: {}", resource.kind, what.join(", ")));
                }
            }
        }
    }
    assert!(kinds > 40, "every kind is looked at: {kinds}");
    Some(found)
}

fn affinity(vm: &Value) -> &Value {
    &vm["spec"]["template"]["spec"]["affinity"]
}

/// Has the API server report an Event about our Service, as it may on its own in a Service's first
/// moments: that it finds no `IPAddress` for the Service's address.
async fn reported_by_the_api_server(plane: &ControlPlane) {
    let service = like("Service", "lanekeeper");
    let address = plane.get(&service).await.unwrap()["spec"]["clusterIP"].clone();
    plane
        .delete(&json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": {"name": address},
        }))
        .await;
    let events = http::Request::get("/api/v1/namespaces/lanekeeper-system/events");
    let events = events.body(Vec::new()).unwrap();
    let mut times = 0;
    until("an Event about the Service", async || {
        times += 1;
        plane
            .merge(&service, json!({"metadata": {"annotations": {"times": times.to_string()}}}))
            .await;
        let events: Value = plane.client.request(events.clone()).await.unwrap();
        let mut events = events["items"].as_array()?.iter();
        let about_it = |event: &&Value| event["reason"] == "ClusterIPNotAllocated";
        let name = events.find(about_it)?["metadata"]["name"].as_str()?;
        name.starts_with("lanekeeper.").then_some(())
    })
    .await;
}

pub async fn nothing_of_ours_is_left() {
    let Cluster { mut plane, installed, replica, .. } = Cluster::start().await;
    // One VM with our affinity alone, and one that has terms of its own, too.
    let mut own = plane.get(&like("VirtualMachine", "vm1")).await.unwrap();
    own["metadata"] = json!({"name": "own", "namespace": "default"});
    let zone = json!({"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["host9"]});
    let terms = json!({"nodeSelectorTerms": [{"matchExpressions": [zone]}]});
    own["spec"]["template"]["spec"]["affinity"] =
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}});
    let own = plane.create(&own).await;
    assert!(affinity(&own).to_string().contains("network.harvesterhci.io/"), "{own:#}");
    let vm1 = like("VirtualMachine", "vm1");
    let had = affinity(&plane.get(&vm1).await.unwrap()).clone();
    assert!(had.to_string().contains("network.harvesterhci.io/cluster-b"), "{had}");
    let vm_network = like("NetworkAttachmentDefinition", "vm-network-b");
    until("what the leader sets", async || {
        let host = plane.get(&like("Node", "host2")).await?;
        let network = plane.get(&vm_network).await?;
        let label = |object: &Value, key: &str| {
            object["metadata"]["labels"][format!("network.harvesterhci.io/{key}")] == "true"
        };
        (label(&host, "cluster-b") && label(&network, "ready")).then_some(())
    })
    .await;

    let (status, said) = cleanup(&plane, &["--dry-run"]).await;
    assert_eq!(status, 1, "{said}");
    for part in [
        "would delete MutatingWebhookConfiguration",
        "no longer holds the Lease",
        "  default/vm1: node affinity for cluster network cluster-a, node affinity for cluster \
         network cluster-b",
        "  host2: label network.harvesterhci.io/cluster-a",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(affinity(&plane.get(&vm1).await.unwrap()), &had, "a dry run changes nothing");

    // While the leader runs, nothing is cleaned.
    let (status, said) = cleanup(&plane, &["--timeout", "2"]).await;
    assert_eq!(status, 2, "{said}");
    let type_this = "kubectl -n lanekeeper-system scale deployment lanekeeper --replicas 0";
    assert!(said.contains("still holds the Lease") && said.contains(type_this), "{said}");
    assert_eq!(affinity(&plane.get(&vm1).await.unwrap()), &had);

    replica.terminate();
    until("the Lease to be given up", async || leader(&plane).await.is_none().then_some(())).await;
    let (status, said) = cleanup(&plane, &[]).await;
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("cleaned 6 hosts"), "{said}");
    let (status, said) = cleanup(&plane, &[]).await;
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("cleaned 0 VMs\ncleaned 0 hosts\ncleaned 0 VM networks"), "{said}");
    assert_eq!(cleanup(&plane, &["--dry-run"]).await.0, 0);

    reported_by_the_api_server(&plane).await;
    // As `kubectl delete` does with what was applied.
    for document in installed.documents.iter().rev() {
        if !document["kind"].as_str().unwrap().ends_with("WebhookConfiguration") {
            plane.delete(document).await;
        }
    }
    until("the definitions to be gone", async || {
        let path = "/apis/network.harvesterhci.io/v1beta1";
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        plane.client.request::<Value>(request).await.is_err().then_some(())
    })
    .await;
    let left = all_of_ours(&plane).await;
    // Nobody finishes the deletion of a namespace here.
    let but_the_namespace: Vec<&String> =
        left.iter().filter(|it| !it.starts_with("Namespace \"lanekeeper-system\"")).collect();
    assert!(but_the_namespace.is_empty(), "{but_the_namespace:#?}");

    // The user's own terms are there, and both VMs are placed.
    let own = plane.get(&own).await.unwrap();
    assert!(affinity(&own).to_string().contains("host9"), "{own:#}");
    installed.start_scheduler_with(&mut plane, |config| {
        config.as_object_mut().unwrap().remove("extenders");
    });
    for (name, affinity) in
        [("had", &had), ("own", affinity(&own)), ("vm1", affinity(&plane.get(&vm1).await.unwrap()))]
    {
        let mut pod = plain_pod(name);
        pod["spec"]["affinity"] = affinity.clone();
        let pod = plane.create(&pod).await;
        if name == "had" {
            until("an event", async || {
                let events = plane.events_of("had").await;
                events.iter().any(|it| it.contains("didn't match")).then_some(())
            })
            .await;
        } else {
            until("a pod to be bound", async || plane.host_of(&pod).await).await;
        }
    }
}
