//! What we know of the API server, and when.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::fixture::{ControlPlane, Lanekeeper, until};

/// On how many hosts a cluster network is active.
pub async fn active(lanekeeper: &Lanekeeper, cluster_network: &str) -> u64 {
    let name = "lanekeeper_cluster_network_active_hosts";
    lanekeeper.metric(name, &[&format!("\"{cluster_network}\"")]).await
}

async fn objects(lanekeeper: &Lanekeeper, kind: &str) -> u64 {
    lanekeeper.metric("lanekeeper_objects", &[&format!("\"{kind}\"")]).await
}

pub async fn kinds_that_come_later_are_awaited() {
    let plane = ControlPlane::start().await;
    // Not even our own kinds are there, only the account.
    for document in plane.manifests() {
        let kind = document["kind"].as_str().unwrap();
        if kind != "CustomResourceDefinition" && !kind.ends_with("WebhookConfiguration") {
            plane.apply(&document).await;
        }
    }
    let lanekeeper = plane.lanekeeper().await.ready().await;
    let (_, text) = lanekeeper.readiness().await;
    assert!(text.contains("not served, so counted as empty: ClusterNetwork, VlanConfig"), "{text}");
    assert!(text.contains("VirtualMachineInstance, "), "{text}");

    plane.install().await;
    plane.install_foreign_kinds().await;
    plane.apply_examples().await;
    until("what came later to be known", async || {
        let known = active(&lanekeeper, "cluster-a").await == 3
            && active(&lanekeeper, "cluster-b").await == 3
            && objects(&lanekeeper, "VirtualMachine").await == 3
            && objects(&lanekeeper, "NetworkAttachmentDefinition").await == 3;
        known.then_some(())
    })
    .await;
    until("every kind to be served", async || {
        let (ready, text) = lanekeeper.readiness().await;
        (ready && !text.contains("not served")).then_some(())
    })
    .await;
}

pub async fn decisions_are_right_again_after_the_api_server_was_away() {
    let mut plane = ControlPlane::start().await;
    plane.install().await;
    plane.install_foreign_kinds().await;
    plane.apply_examples().await;
    let lanekeeper = plane.lanekeeper().await.ready().await;
    assert_eq!(active(&lanekeeper, "cluster-b").await, 3);
    let config = |name: &str| -> Value {
        json!({
            "apiVersion": "network.harvesterhci.io/v1beta1", "kind": "VlanConfig",
            "metadata": {"name": name},
        })
    };

    plane.stop_api_server();
    // Decisions go on while it is away; that we are cut off is said once it lasts.
    until("unreadiness", async || {
        let (ready, text) = lanekeeper.readiness().await;
        (!ready && text.contains("the watch of VlanConfig has been broken for ")).then_some(())
    })
    .await;
    assert_eq!(active(&lanekeeper, "cluster-b").await, 3);
    plane.start_api_server().await;

    // What is deleted, and what is made, before we are back is not in the history any more.
    plane.delete(&config("network-config-c")).await;
    let mut wider = config("network-config-d");
    wider["spec"] = json!({"clusterNetwork": "cluster-b", "uplink": {}});
    plane.create(&wider).await;
    plane.compact();
    until("what happened meanwhile to be known", async || {
        (active(&lanekeeper, "cluster-b").await == 6).then_some(())
    })
    .await;
    until("readiness", async || lanekeeper.readiness().await.0.then_some(())).await;
    plane.delete(&wider).await;
    until("a later change", async || (active(&lanekeeper, "cluster-b").await == 0).then_some(()))
        .await;
    assert_eq!(objects(&lanekeeper, "VlanConfig").await, 2);
}

pub async fn an_object_of_a_plan_is_in_the_namespace_of_the_context() {
    let plane = ControlPlane::start().await;
    plane.install().await;
    plane.install_foreign_kinds().await;
    let path = plane.folder.path();
    let kubeconfig = fs::read_to_string(path.join("admin.kubeconfig")).unwrap();
    let mut kubeconfig: Value = serde_json::from_str(&kubeconfig).unwrap();
    kubeconfig["contexts"][0]["context"]["namespace"] = json!("prod");
    fs::write(path.join("prod.kubeconfig"), kubeconfig.to_string()).unwrap();
    let network = json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": { "name": "net" }, "spec": {},
    });
    fs::write(path.join("network.yaml"), network.to_string()).unwrap();
    for (file, key) in [("admin", "default/net"), ("prod", "prod/net")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lanekeeper"));
        let kubeconfig = path.join(format!("{file}.kubeconfig"));
        command.args(["plan", "-f"]).arg(path.join("network.yaml"));
        command.arg("--kubeconfig").arg(kubeconfig);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && printed.contains(key), "{output:?}");
    }
}
