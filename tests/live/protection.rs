//! Which VMs hold up a change, and which changes hold up nobody.

use serde_json::{Value, json};

use crate::admission::{cluster, enforce, hold_watches_back, refusal};
use crate::fixture::{ControlPlane, until};
use crate::objects::{launcher_pod, like, vmi};

pub async fn a_network_that_only_a_new_launcher_pod_names_is_looked_up() {
    let (mut plane, lanekeeper) = cluster().await;
    hold_watches_back(&mut plane, &lanekeeper).await;
    // A hot-plug, or a binding plug-in: the VMI's spec does not name the VM network.
    let mut network = like("NetworkAttachmentDefinition", "plugged");
    network["spec"] = json!({"config": r#"{"type":"bridge","bridge":"cluster-a-br","vlan":9}"#});
    plane.create(&network).await;
    let made = plane.create(&vmi("vm", &[])).await;
    let mut pod = launcher_pod(&made);
    pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"] = json!("default/plugged");
    pod["spec"]["nodeName"] = json!("host1");
    plane.create(&pod).await;
    let said = refusal(plane.try_delete(&like("VlanConfig", "network-config-b")).await);
    assert!(said.contains("vc-running-vms") && said.contains("default/vm (host1)"), "{said}");
}

/// The hosts of network-config-b, one by one.
fn only(host: &str) -> Value {
    json!({"spec": {"nodeSelector": {"kubernetes.io/hostname": host}}})
}

/// A VM on host1 that moves to another cluster, whose host2 has the name of one of ours, as
/// virt-controller writes its objects there.
pub async fn a_move_to_another_cluster_protects_the_source_alone() {
    let (plane, lanekeeper) = cluster().await;
    let config = like("VlanConfig", "network-config-b");
    let mut migration = like("VirtualMachineInstanceMigration", "leaves");
    migration["spec"] = json!({
        "vmiName": "vm",
        "sendTo": {"connectURL": "10.0.0.9:9185", "migrationID": "leave-1"},
    });
    let migration = plane.create(&migration).await;
    let migration_state = json!({
        "migrationUid": migration["metadata"]["uid"],
        "sourceNode": "host1", "targetNode": "host2", "targetPod": "virt-launcher-vm-far",
        "sourceState": {
            "node": "host1", "pod": "virt-launcher-vm", "migrationUID": migration["metadata"]["uid"],
        },
        "targetState": {
            "node": "host2", "pod": "virt-launcher-vm-far", "syncAddress": "10.0.0.9:9185",
            "migrationUID": "of-the-other-cluster",
        },
    });
    let mut running = vmi("vm", &["vm-network-a"]);
    running["status"] = json!({
        "phase": "Running", "nodeName": "host1", "migrationState": migration_state,
    });
    let running = plane.create(&running).await;
    let mut pod = launcher_pod(&running);
    pod["spec"]["nodeName"] = json!("host1");
    plane.create(&pod).await;
    let status = json!({"status": {"phase": "Running", "migrationState": migration_state}});
    plane.merge_status(&migration, &status).await;
    until("the migration to be known", async || {
        let kind = ["\"VirtualMachineInstanceMigration\""];
        (lanekeeper.metric("lanekeeper_objects", &kind).await == 1).then_some(())
    })
    .await;

    let said = refusal(plane.try_merge(&config, only("host2")).await);
    assert!(said.contains("default/vm (host1)") && !said.contains("(host2)"), "{said}");
    let said = refusal(plane.try_delete(&config).await);
    assert!(said.contains("default/vm (host1)") && !said.contains("(host2)"), "{said}");
    // Nothing of it runs on our host2.
    plane.merge(&config, only("host1")).await;
}

/// The update that only adds and drops a finalizer, as Harvester's controllers send it.
async fn touch(plane: &ControlPlane, object: &Value) {
    for finalizers in [json!(["wrangler.cattle.io/test"]), Value::Null] {
        let change = json!({"metadata": {"finalizers": finalizers}});
        plane.merge(object, change).await;
    }
}

pub async fn a_finalizer_is_set_whatever_else_is_wrong_and_nothing_is_read() {
    let plane = ControlPlane::start().await;
    plane.install().await;
    plane.install_foreign_kinds().await;
    plane.apply_examples().await;
    // Faults that no definition knows, from before the webhooks were there.
    let label = "network.harvesterhci.io/clusternetwork";
    let mut cluster_network = like("ClusterNetwork", "cluster-a");
    cluster_network["metadata"]["annotations"] =
        json!({"network.harvesterhci.io/uplink-mtu": "9000"});
    plane.apply(&cluster_network).await;
    let mut config = like("VlanConfig", "faulty");
    config["metadata"]["labels"] = json!({label: "cluster-b"});
    // It overlaps, takes a NIC that another config has, and differs in the MTU.
    config["spec"] = json!({
        "clusterNetwork": "cluster-a", "nodeSelector": {"example.com/rack": "r1"},
        "uplink": {"nics": ["enp7s3"], "linkAttributes": {"mtu": 4000}},
    });
    plane.create(&config).await;
    let mut network = like("NetworkAttachmentDefinition", "faulty");
    network["metadata"]["labels"] = json!({label: "cluster-a"});
    network["spec"] =
        json!({"config": r#"{"type":"bridge","bridge":"cluster-b-br","vlan":5000,"mtu":100}"#});
    plane.create(&network).await;
    let mut unread = like("NetworkAttachmentDefinition", "unread");
    unread["metadata"]["labels"] = json!({label: "cluster-a"});
    unread["spec"] = json!({"config": "{"});
    plane.create(&unread).await;
    let interface = |name: &str| json!({"name": name, "macAddress": "02:00:00:00:00:01"});
    let mut vm = like("VirtualMachine", "faulty");
    vm["spec"] = json!({"runStrategy": "Always", "template": {"spec": {
        "domain": {"devices": {"interfaces": [interface("a"), interface("b")]}},
        "networks": [
            {"name": "a", "multus": {"networkName": "default/vm-network-a"}},
            {"name": "b", "multus": {"networkName": "default/vm-network-b"}},
        ],
    }}});
    plane.create(&vm).await;
    let mut running = vmi("faulty", &["vm-network-a"]);
    running["status"] = json!({"phase": "Running", "nodeName": "host3"});
    plane.create(&running).await;
    let lanekeeper = plane.lanekeeper().await.ready().await;
    enforce(&plane).await;

    let count = async || {
        (
            lanekeeper.metric("lanekeeper_admission_requests_total", &["\"update\""]).await,
            lanekeeper.metric("lanekeeper_fresh_read_duration_seconds_count", &[]).await,
        )
    };
    let (asked, read) = count().await;
    let host = like("Node", "host1");
    for object in [&cluster_network, &config, &network, &unread, &vm, &host] {
        touch(&plane, object).await;
    }
    let (asked_then, read_then) = count().await;
    assert!(asked_then >= asked + 8, "we were asked: {asked}, {asked_then}");
    assert_eq!(read_then, read, "and read nothing");
}
