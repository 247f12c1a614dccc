//! What the leader keeps in the cluster.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fixture::audit::{self, Audit};
use crate::fixture::{ControlPlane, Installed, Replica, until};
use crate::objects::{documents, launcher_pod, like, vmi};

/// An installation over the reference cluster, with one replica, and the audit log of our account.
pub async fn cluster(arguments: &[&str]) -> (ControlPlane, Installed, Replica) {
    let plane = ControlPlane::prepared(|path, _| audit::arguments(path)).await;
    let installed = Installed::at_once(&plane, arguments).await;
    plane.install_foreign_kinds().await;
    let replica = installed.ready_replica("lanekeeper-0").await;
    installed.enforced(&plane).await;
    plane.apply_examples().await;
    (plane, installed, replica)
}

/// The names of the cluster networks in a host's labels.
async fn labels(plane: &ControlPlane, host: &str) -> String {
    let host = plane.get(&like("Node", host)).await.unwrap();
    let labels = host["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    let set = labels.iter().filter(|(_, value)| *value == "true");
    let names = set.filter_map(|(key, _)| key.strip_prefix("network.harvesterhci.io/"));
    names.collect::<Vec<_>>().join(" ")
}

/// The status of a cluster network's condition `ready`.
async fn condition(plane: &ControlPlane, cluster_network: &str) -> Option<String> {
    let object = plane.get(&like("ClusterNetwork", cluster_network)).await?;
    let conditions = object["status"]["conditions"].as_array()?.clone();
    let ready = conditions.into_iter().find(|it| it["type"] == "ready")?;
    Some(ready["status"].as_str()?.to_owned())
}

async fn uplink_mtu(plane: &ControlPlane, cluster_network: &str) -> Option<String> {
    let object = plane.get(&like("ClusterNetwork", cluster_network)).await?;
    let mtu = &object["metadata"]["annotations"]["network.harvesterhci.io/uplink-mtu"];
    Some(mtu.as_str()?.to_owned())
}

/// The label `ready` of a VM network.
async fn ready_label(plane: &ControlPlane, vm_network: &str) -> Option<String> {
    let object = plane.get(&like("NetworkAttachmentDefinition", vm_network)).await?;
    Some(object["metadata"]["labels"]["network.harvesterhci.io/ready"].as_str()?.to_owned())
}

/// Waits until each of these hosts has labels for these cluster networks and no others.
async fn hosts_have(plane: &ControlPlane, wanted: &[(&str, &str)]) {
    for (host, networks) in wanted {
        until(&format!("{host} to have the labels {networks}"), async || {
            (labels(plane, host).await == *networks).then_some(())
        })
        .await;
    }
}

async fn is_ready(plane: &ControlPlane, cluster_network: &str, status: &str) {
    until(&format!("{cluster_network} to be ready: {status}"), async || {
        (condition(plane, cluster_network).await? == status).then_some(())
    })
    .await;
}

pub async fn labels_and_conditions_follow_the_network_configs() {
    let (plane, _installed, replica) = cluster(&[]).await;
    hosts_have(
        &plane,
        &[
            ("host0", "cluster-a mgmt"),
            ("host1", "cluster-a mgmt"),
            ("host2", "cluster-a cluster-b mgmt"),
            ("host3", "mgmt"),
            ("host4", "cluster-b mgmt"),
            ("host5", "cluster-b mgmt"),
        ],
    )
    .await;
    for network in ["mgmt", "cluster-a", "cluster-b"] {
        is_ready(&plane, network, "True").await;
    }
    until("uplink-mtu", async || uplink_mtu(&plane, "cluster-b").await).await;

    // A config goes.
    let config = plane.get(&like("VlanConfig", "network-config-c")).await.unwrap();
    plane.delete(&config).await;
    hosts_have(&plane, &[("host2", "cluster-a mgmt"), ("host4", "mgmt"), ("host5", "mgmt")]).await;
    is_ready(&plane, "cluster-b", "False").await;
    until("vm-network-c not to be ready", async || {
        (ready_label(&plane, "vm-network-c").await? == "false").then_some(())
    })
    .await;
    assert_eq!(ready_label(&plane, "vm-network-a").await.as_deref(), Some("true"));

    // It is back, with another MTU, which then changes.
    let mut wider = like("VlanConfig", "network-config-d");
    wider["spec"] = config["spec"].clone();
    wider["spec"]["uplink"]["linkAttributes"] = json!({"mtu": 9000});
    plane.create(&wider).await;
    hosts_have(&plane, &[("host2", "cluster-a cluster-b mgmt"), ("host4", "cluster-b mgmt")]).await;
    is_ready(&plane, "cluster-b", "True").await;
    until("vm-network-c to be ready", async || {
        (ready_label(&plane, "vm-network-c").await? == "true").then_some(())
    })
    .await;
    for mtu in ["9000", "4000"] {
        let change =
            json!({"spec": {"uplink": {"linkAttributes": {"mtu": mtu.parse::<u64>().unwrap()}}}});
        plane.merge(&wider, change).await;
        until(&format!("uplink-mtu {mtu}"), async || {
            (uplink_mtu(&plane, "cluster-b").await? == mtu).then_some(())
        })
        .await;
    }

    // A host moves, another one comes, and one is a witness.
    let rack = json!({"metadata": {"labels": {"example.com/rack": "r1"}}});
    plane.merge(&like("Node", "host3"), rack.clone()).await;
    let mut late = like("Node", "host6");
    late["metadata"]["labels"] = rack["metadata"]["labels"].clone();
    plane.create(&late).await;
    hosts_have(&plane, &[("host3", "cluster-a mgmt"), ("host6", "cluster-a mgmt")]).await;
    let witness = json!({"metadata": {"labels": {"node-role.harvesterhci.io/witness": "true"}}});
    plane.merge(&like("Node", "host6"), witness).await;
    hosts_have(&plane, &[("host6", "mgmt")]).await;
    // An uplink that is reported as not ready.
    let mut status = like("VlanStatus", "cluster-a-host1");
    status["status"] = json!({
        "clusterNetwork": "cluster-a", "vlanConfig": "network-config-b", "node": "host1",
        "linkMonitor": "", "conditions": [{"type": "ready", "status": "False"}],
    });
    plane.create(&status).await;
    hosts_have(&plane, &[("host1", "mgmt"), ("host3", "cluster-a mgmt")]).await;
    // What somebody else changes is put right again.
    let key = "network.harvesterhci.io/cluster-a";
    plane.merge(&like("Node", "host0"), json!({"metadata": {"labels": {key: null}}})).await;
    plane.merge(&like("Node", "host1"), json!({"metadata": {"labels": {key: "true"}}})).await;
    hosts_have(&plane, &[("host0", "cluster-a mgmt"), ("host1", "mgmt")]).await;

    // Once everything is right, nothing is written any more, and nothing was in vain.
    let audit = Audit::of(plane.folder.path());
    let mut before = 0;
    until("the writes to end", async || {
        let now = audit.writes().len();
        let same = now == std::mem::replace(&mut before, now);
        tokio::time::sleep(Duration::from_secs(2)).await;
        same.then_some(())
    })
    .await;
    // Our own webhook refuses `mgmt` until it can be called.
    let failed: Vec<_> = audit
        .writes()
        .into_iter()
        .filter(|it| it.code >= 400 && it.code != 409 && it.name != "mgmt")
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(replica.metric("lanekeeper_leader", &[]).await, 1);
}

pub async fn installed_at_once_into_an_empty_cluster() {
    let mut plane = ControlPlane::start().await;
    // Webhooks that refuse what they can't be asked about, and nobody yet to ask.
    let installed = Installed::at_once(&plane, &[]).await;
    let mgmt = like("ClusterNetwork", "mgmt");
    until("the webhooks to be called", async || {
        let error = plane.would_apply(&mgmt).await.err()?.to_string();
        error.contains("failed calling webhook").then_some(())
    })
    .await;

    let replica = installed.ready_replica("lanekeeper-0").await;
    let (_, text) = replica.program.readiness().await;
    assert!(text.contains("not served, so counted as empty: "), "{text}");
    until("mgmt to be made", async || plane.get(&mgmt).await).await;
    installed.enforced(&plane).await;
    installed.start_scheduler(&mut plane);

    plane.install_foreign_kinds().await;
    until("the foreign kinds to be known", async || {
        let (ready, text) = replica.program.readiness().await;
        (ready && !text.contains("not served")).then_some(())
    })
    .await;
    plane.apply_examples().await;
    let mut vm = like("VirtualMachine", "new");
    vm["spec"] = json!({"runStrategy": "Always", "template": {"spec": {"domain": {}, "networks": [
        {"name": "b", "multus": {"networkName": "default/vm-network-b"}},
        {"name": "c", "multus": {"networkName": "default/vm-network-c"}},
    ]}}});
    let vm = plane.create(&vm).await;
    let affinity = &vm["spec"]["template"]["spec"]["affinity"];
    assert!(affinity.to_string().contains("network.harvesterhci.io/cluster-b"), "{vm}");
    let vmi = plane.create(&vmi("new", &["vm-network-b", "vm-network-c"])).await;
    let mut pod = launcher_pod(&vmi);
    pod["spec"]["affinity"] = affinity.clone();
    let pod = plane.create(&pod).await;
    let host = until("the pod to be bound", async || plane.host_of(&pod).await).await;
    assert_eq!(host, "host2");
}

/// The Warning Events of an object, with how often each was told.
async fn warnings(plane: &ControlPlane, name: &str) -> Vec<(String, u64)> {
    let request = http::Request::get(format!(
        "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name={name}"
    ));
    let list: Value = plane.client.request(request.body(Vec::new()).unwrap()).await.unwrap();
    let events = list["items"].as_array().unwrap().iter();
    events
        .filter(|event| event["type"] == "Warning")
        .map(|event| {
            let message = event["message"].as_str().unwrap().to_owned();
            (message, event["count"].as_u64().unwrap_or(1))
        })
        .collect()
}

/// A VMI that runs on host2, and its pod, with the networks that the pod has beside those that its
/// annotation asks for.
async fn run(plane: &ControlPlane, name: &str, attached: Option<&[&str]>) {
    let mut running = vmi(name, &["vm-network-b", "vm-network-c"]);
    running["status"] = json!({"phase": "Running", "nodeName": "host2"});
    let running = plane.create(&running).await;
    let mut pod = launcher_pod(&running);
    pod["spec"]["nodeName"] = json!("host2");
    if let Some(attached) = attached {
        let status: Vec<_> = attached
            .iter()
            .map(|name| json!({"name": format!("default/{name}"), "interface": "pod1"}))
            .collect();
        pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"] =
            json!(Value::Array(status).to_string());
    }
    plane.create(&pod).await;
}

pub async fn a_vm_without_its_network_gets_one_event() {
    let plane = ControlPlane::start().await;
    // Without webhooks, what they would refuse can be done.
    let installed = Installed::but_webhooks(&plane, &[]).await;
    plane.install_foreign_kinds().await;
    plane.apply_examples().await;
    let replica = installed.ready_replica("lanekeeper-0").await;
    run(&plane, "cut-off", None).await;
    run(&plane, "attached", Some(&["vm-network-b", "vm-network-c"])).await;
    run(&plane, "plugged", Some(&["vm-network-b"])).await;
    let counted = async || replica.metric("lanekeeper_vms_on_inactive_host", &[]).await;
    let vmis = async || replica.metric("lanekeeper_objects", &["\"VirtualMachineInstance\""]).await;
    until("the VMIs to be known", async || (vmis().await == 3).then_some(())).await;
    assert_eq!(counted().await, 0);

    plane.delete(&like("VlanConfig", "network-config-c")).await;
    until("two VMs to be counted", async || (counted().await == 2).then_some(())).await;
    for name in ["cut-off", "attached"] {
        let warnings = until("an Event", async || {
            let warnings = warnings(&plane, name).await;
            (!warnings.is_empty()).then_some(warnings)
        })
        .await;
        let [(message, 1)] = &warnings[..] else { panic!("{warnings:?}") };
        assert!(message.contains("cluster-b") && message.contains("host2"), "{message}");
    }
    // Another change of its VMI, and of its host, tells nothing new; nor does another leader.
    let change = json!({"metadata": {"annotations": {"a": "b"}}});
    plane.merge(&like("VirtualMachineInstance", "cut-off"), change.clone()).await;
    plane.merge(&like("Node", "host2"), change).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(warnings(&plane, "cut-off").await.len(), 1);
    assert_eq!(warnings(&plane, "plugged").await, []);

    // Its network is back.
    let configs = include_str!("../../examples/network-configs.yaml");
    for config in documents(configs) {
        plane.apply(&config).await;
    }
    until("no VM to be counted", async || (counted().await == 0).then_some(())).await;
    assert_eq!(warnings(&plane, "plugged").await, []);
}
