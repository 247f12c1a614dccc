//! What the real API server lets through once it asks us.

use serde_json::{Value, json};

use crate::fixture::{ControlPlane, Lanekeeper, until};
use crate::objects::{documents, launcher_pod, like, plain_pod, vmi};

/// The reference cluster, with our webhooks in force.
pub async fn cluster() -> (ControlPlane, Lanekeeper) {
    let plane = ControlPlane::start().await;
    plane.install().await;
    plane.install_foreign_kinds().await;
    plane.apply_examples().await;
    let lanekeeper = plane.lanekeeper().await.ready().await;
    enforce(&plane).await;
    (plane, lanekeeper)
}

/// Applies the webhooks, and waits until the API server calls them. Nothing is changed by that.
pub async fn enforce(plane: &ControlPlane) {
    plane.install_webhooks().await;
    let mut vm = like("VirtualMachine", "probe");
    vm["spec"] = json!({"template": {"spec": {"networks": [
        {"name": "b", "multus": {"networkName": "default/vm-network-b"}},
    ]}}});
    until("the mutating webhooks to be called", async || {
        let vm = plane.would_apply(&vm).await.unwrap();
        vm["spec"]["template"]["spec"]["affinity"].is_object().then_some(())
    })
    .await;
    until("the validating webhooks to be called", async || {
        let said = plane.would_delete(&like("ClusterNetwork", "cluster-a")).await.err()?;
        said.to_string().contains("cn-in-use").then_some(())
    })
    .await;
}

/// What the API server says no with.
pub fn refusal(result: Result<(), kube::Error>) -> String {
    result.expect_err("it must be refused").to_string()
}

/// To other hosts: network-config-b leaves host1 and host2.
fn elsewhere() -> Value {
    json!({"spec": {"nodeSelector": {"example.com/rack": "nowhere"}}})
}

pub async fn changes_are_refused_while_a_vm_runs() {
    let (plane, _lanekeeper) = cluster().await;
    let config = like("VlanConfig", "network-config-b");
    let mut running = vmi("vm0", &["vm-network-a"]);
    running["status"] = json!({"phase": "Running", "nodeName": "host1"});
    // The request comes right behind it.
    let running = plane.create(&running).await;
    let pod = launcher_pod(&running);
    let mut bound = pod.clone();
    bound["spec"]["nodeName"] = json!("host1");
    let bound = plane.create(&bound).await;
    for said in [
        refusal(plane.try_merge(&config, elsewhere()).await),
        refusal(plane.try_delete(&config).await),
    ] {
        assert!(said.contains("vc-running-vms") && said.contains("default/vm0 (host1)"), "{said}");
    }
    // What harms nobody passes meanwhile.
    plane.merge(&config, json!({"spec": {"description": "text"}})).await;

    // Stopped, it holds up nothing, though its pod is still there.
    plane.merge(&running, json!({"status": {"phase": "Succeeded"}})).await;
    until("the change to pass", async || plane.try_merge(&config, elsewhere()).await.ok()).await;
    plane.delete(&running).await;
    plane.delete(&bound).await;
    until("the delete to pass", async || plane.try_delete(&config).await.ok()).await;

    let said = refusal(plane.try_delete(&like("ClusterNetwork", "mgmt")).await);
    assert!(said.contains("cn-mgmt-delete"), "{said}");
}

pub async fn what_was_made_a_moment_ago_counts() {
    let (mut plane, _lanekeeper) = cluster().await;
    plane.start_scheduler();
    // Bound by the scheduler a moment ago: its VMI names no host yet.
    for number in 0..5 {
        let made = plane.create(&vmi(&format!("new-{number}"), &["vm-network-c"])).await;
        let pod = plane.create(&launcher_pod(&made)).await;
        until("the pod to be bound", async || plane.host_of(&pod).await).await;
        let said = refusal(plane.try_delete(&like("VlanConfig", "network-config-c")).await);
        assert!(said.contains(&format!("default/new-{number} (host")), "{said}");
        let network = like("NetworkAttachmentDefinition", "vm-network-c");
        let said = refusal(plane.try_delete(&network).await);
        assert!(said.contains("nad-in-use") && said.contains(&format!("new-{number}")), "{said}");
        plane.delete(&pod).await;
        plane.delete(&made).await;
        until("it to be gone", async || {
            let said = refusal(plane.try_delete(&network).await);
            (!said.contains("new-")).then_some(())
        })
        .await;
    }
    // A VM made right before, stopped.
    let mut vm = like("VirtualMachine", "late");
    vm["spec"] = json!({"runStrategy": "Halted", "template": {"spec": {
        "domain": {}, "networks": [{"name": "n", "multus": {"networkName": "default/vm-network-a"}}],
    }}});
    plane.create(&vm).await;
    let said =
        refusal(plane.try_delete(&like("NetworkAttachmentDefinition", "vm-network-a")).await);
    assert!(said.contains("default/late"), "{said}");
    // A VM network made right before.
    plane
        .create(&json!({
            "apiVersion": "network.harvesterhci.io/v1beta1", "kind": "ClusterNetwork",
            "metadata": {"name": "young"},
        }))
        .await;
    let mut network = like("NetworkAttachmentDefinition", "young");
    network["spec"] = json!({"config": r#"{"type":"bridge","bridge":"young-br"}"#});
    plane.create(&network).await;
    let said = refusal(plane.try_delete(&like("ClusterNetwork", "young")).await);
    assert!(said.contains("cn-in-use") && said.contains("default/young"), "{said}");
}

pub async fn one_file_brings_a_whole_network() {
    let (plane, _lanekeeper) = cluster().await;
    let file = r#"
{apiVersion: network.harvesterhci.io/v1beta1, kind: ClusterNetwork, metadata: {name: NAME}}
---
apiVersion: network.harvesterhci.io/v1beta1
kind: VlanConfig
metadata: {name: NAME}
spec: {clusterNetwork: NAME, nodeSelector: {kubernetes.io/hostname: host3}, uplink: {nics: [NAME], linkAttributes: {mtu: 9000}}}
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: NAME, namespace: default}
spec: {config: '{"type":"bridge","bridge":"NAME-br","vlan":7}'}
---
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: NAME, namespace: default}
spec: {runStrategy: Always, template: {spec: {domain: {}, networks: [{name: nic, multus: {networkName: NAME}}]}}}
"#;
    // As fast as they go, again and again: whatever a watch may not have told yet.
    for number in 0..10 {
        let mut made = Vec::new();
        for object in documents(&file.replace("NAME", &format!("net{number}"))) {
            made.push(plane.create(&object).await);
        }
        let [_, config, network, vm] = &made[..] else { panic!("four objects") };
        assert_eq!(
            config["metadata"]["annotations"]["network.harvesterhci.io/matched-nodes"],
            r#"["host3"]"#
        );
        let labels = &network["metadata"]["labels"];
        assert_eq!(labels["network.harvesterhci.io/clusternetwork"], format!("net{number}"));
        assert_eq!(labels["network.harvesterhci.io/ready"], "true");
        assert!(network["spec"]["config"].as_str().unwrap().contains(r#""mtu":9000"#), "{network}");
        let term = &vm["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            ["nodeSelectorTerms"][0];
        assert_eq!(
            term["matchExpressions"][0]["key"],
            format!("network.harvesterhci.io/net{number}")
        );
    }
}

pub async fn a_vm_gets_its_affinity_and_a_host_keeps_its_labels() {
    let (plane, lanekeeper) = cluster().await;
    let mut vm = like("VirtualMachine", "two-nets");
    vm["spec"] = json!({"template": {"spec": {"domain": {}, "networks": [
        {"name": "b", "multus": {"networkName": "default/vm-network-b"}},
        {"name": "c", "multus": {"networkName": "vm-network-c"}},
    ]}}});
    let made = plane.create(&vm).await;
    let terms = &made["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        ["nodeSelectorTerms"];
    let requirement = |name: &str| json!({"key": format!("network.harvesterhci.io/{name}"), "operator": "In", "values": ["true"]});
    assert_eq!(
        *terms,
        json!([{"matchExpressions": [requirement("cluster-a"), requirement("cluster-b")]}])
    );

    let mut running = vmi("vm0", &["vm-network-a"]);
    running["status"] = json!({"phase": "Running", "nodeName": "host1"});
    plane.create(&running).await;
    let host1 = like("Node", "host1");
    let away = json!({"metadata": {"labels": {"example.com/rack": null}}});
    until("the VMI to be known", async || {
        lanekeeper
            .metric("lanekeeper_objects", &["\"VirtualMachineInstance\""])
            .await
            .eq(&1)
            .then_some(())
    })
    .await;
    let said = refusal(plane.try_merge(&host1, away.clone()).await);
    assert!(said.contains("node-running-vms") && said.contains("default/vm0"), "{said}");
    // Other labels and all else of a node are free, and where nothing runs, these too.
    plane.merge(&host1, json!({"metadata": {"labels": {"mine": "1"}}})).await;
    plane.merge(&host1, json!({"spec": {"unschedulable": true}})).await;
    plane.merge(&like("Node", "host2"), away).await;
}

pub async fn an_outage_holds_up_only_what_could_cut_vms_off() {
    let (mut plane, lanekeeper) = cluster().await;
    plane.start_scheduler();
    let made = plane.create(&vmi("vm", &["vm-network-a"])).await;
    let first = plane.create(&launcher_pod(&made)).await;
    until("the scheduler to work", async || plane.host_of(&first).await).await;
    drop(lanekeeper);

    // Pods that are no VM's are scheduled.
    let plain = plane.create(&plain_pod("plain")).await;
    until("a plain pod to be bound", async || plane.host_of(&plain).await).await;
    // A VM's waits.
    let made = plane.create(&vmi("waits", &["vm-network-a"])).await;
    let waits = plane.create(&launcher_pod(&made)).await;
    until("the scheduler to fail", async || {
        let events = plane.events_of("virt-launcher-waits").await;
        events.iter().any(|it| it.contains("/scheduler/filter")).then_some(())
    })
    .await;
    assert_eq!(plane.host_of(&waits).await, None);
    // What could cut VMs off is refused.
    for said in [
        refusal(plane.try_merge(&like("VlanConfig", "network-config-b"), elsewhere()).await),
        refusal(plane.try_delete(&like("ClusterNetwork", "cluster-b")).await),
        refusal(plane.try_delete(&like("NetworkAttachmentDefinition", "vm-network-b")).await),
    ] {
        assert!(said.contains("failed calling webhook"), "{said}");
    }
    // Harvester's agent keeps its own records, and no others.
    let agent = "system:serviceaccount:harvester-system:harvester-network-controller";
    plane
        .create(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "agent"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                        "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": agent}],
        }))
        .await;
    let record = |name: &str, cluster_network: &str| {
        let mut config = like("VlanConfig", name);
        config["spec"] = json!({"clusterNetwork": cluster_network, "uplink": {}});
        config
    };
    until("the agent to write a record", async || {
        plane.try_create_as(agent, &record("mgmt-vlanconfig-host1", "mgmt")).await.ok()
    })
    .await;
    // The agent's record of a host without a bond for `mgmt` names no cluster network.
    plane.try_create_as(agent, &record("mgmt-vlanconfig-host4", "")).await.unwrap();
    let said = plane.try_create_as(agent, &record("nameless", "")).await;
    assert!(said.unwrap_err().to_string().contains("failed calling webhook"));
    let said = plane.try_create_as(agent, &record("other", "cluster-a")).await;
    assert!(said.unwrap_err().to_string().contains("failed calling webhook"));
    let said = plane.try_create_as("admin", &record("mgmt-vlanconfig-host2", "mgmt")).await;
    assert!(said.unwrap_err().to_string().contains("failed calling webhook"));
    // VMs are edited, hosts labelled and cordoned, and a VM network that is none of ours is made.
    plane.merge(&like("VirtualMachine", "vm0"), json!({"spec": {"runStrategy": "Halted"}})).await;
    let host3 = like("Node", "host3");
    plane.merge(&host3, json!({"metadata": {"labels": {"example.com/rack": "r9"}}})).await;
    plane.merge(&host3, json!({"spec": {"unschedulable": true}})).await;
    let mut foreign = like("NetworkAttachmentDefinition", "foreign");
    foreign["spec"] = json!({"config": r#"{"type":"macvlan"}"#});
    plane.create(&foreign).await;
    plane.delete(&foreign).await;

    // Started again, everything proceeds.
    let _lanekeeper = plane.lanekeeper().await.ready().await;
    until("the VM's pod to be bound", async || plane.host_of(&waits).await).await;
    plane
        .merge(&like("VlanConfig", "network-config-b"), json!({"spec": {"description": "d"}}))
        .await;
}

/// The role without some verbs of some kind; without any kind, of all.
async fn take_away(plane: &ControlPlane, verb: &str, resource: Option<&str>) {
    let mut role = plane.manifests().into_iter().find(|it| it["kind"] == "ClusterRole").unwrap();
    for rule in role["rules"].as_array_mut().unwrap() {
        let verbs = rule["verbs"].as_array().unwrap().clone();
        // No watch: what is known stays as it was.
        let of_it = resource.is_none_or(|it| rule["resources"][0] == it);
        let kept = verbs.into_iter().filter(|it| it != "watch" && (it != verb || !of_it));
        rule["verbs"] = kept.collect();
    }
    role["rules"].as_array_mut().unwrap().retain(|rule| rule["verbs"] != json!([]));
    plane.apply(&role).await;
}

/// From here on no watch tells anything: those that there are end with the API server, and further
/// ones are forbidden.
pub async fn hold_watches_back(plane: &mut ControlPlane, lanekeeper: &Lanekeeper) {
    take_away(plane, "watch", None).await;
    plane.stop_api_server();
    plane.start_api_server().await;
    until("the watches to be forbidden", async || {
        let missed =
            ["pods", "vlanconfigs", "virtualmachineinstances", "network-attachment-definitions"];
        let said =
            |kind: &&str| lanekeeper.process.said(&format!("cannot watch resource \\\"{kind}\\\""));
        missed.iter().all(said).then_some(())
    })
    .await;
}

pub async fn what_no_watch_has_told_is_read_afresh() {
    let (mut plane, lanekeeper) = cluster().await;
    plane.create(&like("ClusterNetwork", "half-known")).await;
    until("it to be known", async || {
        let name = "lanekeeper_cluster_network_active_hosts";
        let known = lanekeeper.metric_is_there(name, "half-known").await;
        known.then_some(())
    })
    .await;
    hold_watches_back(&mut plane, &lanekeeper).await;

    let config = like("VlanConfig", "network-config-b");
    let network = like("NetworkAttachmentDefinition", "vm-network-a");
    let cluster_b = like("ClusterNetwork", "cluster-b");
    let made = plane.create(&vmi("unseen", &["vm-network-a"])).await;
    let mut pod = launcher_pod(&made);
    pod["spec"]["nodeName"] = json!("host1");
    plane.create(&pod).await;
    let mut vm = like("VirtualMachine", "unseen-vm");
    vm["spec"] = json!({"runStrategy": "Halted", "template": {"spec": {
        "domain": {}, "networks": [{"name": "nic", "multus": {"networkName": "default/vm-network-a"}}],
    }}});
    plane.create(&vm).await;
    let mut young = like("NetworkAttachmentDefinition", "unseen-net");
    young["spec"] = json!({"config": r#"{"type":"bridge","bridge":"cluster-b-br"}"#});
    plane.create(&young).await;
    // It needs the cluster network, of which no watch told.
    plane.create(&like("ClusterNetwork", "unseen-cn")).await;
    let mut named = like("VlanConfig", "unseen-config");
    named["spec"] = json!({"clusterNetwork": "unseen-cn", "uplink": {"nics": ["x"]}});
    plane.create(&named).await;
    named["metadata"]["name"] = json!("of-cluster-b");
    named["spec"] =
        json!({"clusterNetwork": "cluster-b", "nodeSelector": {"no": "host"}, "uplink": {}});
    plane.create(&named).await;

    // Of a cluster network that is known, the configs may not be yet: its MTU would be taken for
    // 1500.
    let mut half_known = like("VlanConfig", "half-known");
    half_known["spec"] =
        json!({"clusterNetwork": "half-known", "uplink": {"linkAttributes": {"mtu": 9000}}});
    plane.create(&half_known).await;
    let mut network_of_it = like("NetworkAttachmentDefinition", "half-known");
    network_of_it["spec"] = json!({"config": r#"{"type":"bridge","bridge":"half-known-br"}"#});
    let made = plane.create(&network_of_it).await;
    assert!(made["spec"]["config"].as_str().unwrap().contains(r#""mtu":9000"#), "{made}");

    let said = refusal(plane.try_delete(&config).await);
    assert!(said.contains("vc-running-vms") && said.contains("default/unseen (host1)"), "{said}");
    let said = refusal(plane.try_delete(&cluster_b).await);
    for name in ["default/unseen-net", "of-cluster-b"] {
        assert!(said.contains("cn-in-use") && said.contains(name), "{said}");
    }
    let said = refusal(plane.try_delete(&network).await);
    assert!(said.contains("nad-in-use") && said.contains("default/unseen, "), "{said}");
    assert!(said.contains("default/unseen-vm"), "{said}");
    let away = json!({"metadata": {"labels": {"example.com/rack": null}}});
    let host1 = like("Node", "host1");
    let said = refusal(plane.try_merge(&host1, away.clone()).await);
    assert!(said.contains("node-running-vms") && said.contains("default/unseen"), "{said}");

    // Each right to read is needed for it, and a read that fails refuses.
    let mut unknown = like("VlanConfig", "unknown");
    unknown["spec"] = json!({"clusterNetwork": "unknown-cn", "uplink": {}});
    for (verb, resource) in [
        ("get", "pods"),
        ("get", "virtualmachineinstances"),
        ("list", "pods"),
        ("list", "vlanconfigs"),
        ("list", "network-attachment-definitions"),
        ("list", "virtualmachines"),
        ("get", "clusternetworks"),
    ] {
        take_away(&plane, verb, Some(resource)).await;
        until(&format!("{verb} {resource} to be missed"), async || {
            let said = match (verb, resource) {
                (_, "pods" | "virtualmachineinstances") => plane.try_delete(&config).await,
                (_, "vlanconfigs" | "network-attachment-definitions") => {
                    plane.try_delete(&cluster_b).await
                }
                (_, "virtualmachines") => plane.try_delete(&network).await,
                _ => plane.try_apply(&unknown).await.map(drop),
            };
            let said = refusal(said);
            let missed = format!("cannot {verb} resource \"{resource}\"");
            (said.contains("reading the current state failed") && said.contains(&missed))
                .then_some(())
        })
        .await;
    }
    // But a VM can be made and a node be edited: that is admitted by what was known before.
    take_away(&plane, "get", Some("network-attachment-definitions")).await;
    let mut number = 0;
    until("a VM network's look-up to fail", async || {
        number += 1;
        let mut vm = like("VirtualMachine", &format!("of-nothing-{number}"));
        vm["spec"] = json!({"template": {"spec": {
            "domain": {}, "networks": [{"name": "nic", "multus": {"networkName": "default/nothing"}}],
        }}});
        plane.create(&vm).await;
        let missed = "cannot get resource \\\"network-attachment-definitions\\\"";
        lanekeeper.process.said(missed).then_some(())
    })
    .await;
    take_away(&plane, "list", Some("pods")).await;
    until("the node's edit to pass", async || plane.try_merge(&host1, away.clone()).await.ok())
        .await;
}
