//! What only fresh reads tell of VM networks and host network configs.

use lanekeeper::api::Api;
use lanekeeper::k8s::Decoder;
use lanekeeper::present::Present;
use serde_json::{Value, json};

use super::fresh::{HARVESTER, config, known, review};
use super::{Answer, ApiServer, list, object};
use crate::harness::Server;

/// A VM that was started a moment ago on host1 and asks for these VM networks, which are as new.
/// Each is under cluster-a.
fn started(networks: &[String]) -> ApiServer {
    with_pod(networks, true)
}

/// The same, with or without the VMI.
fn with_pod(networks: &[String], has_vmi: bool) -> ApiServer {
    let networks = networks.to_vec();
    ApiServer::new(move |call| {
        let named = |name: &str| {
            let mut object = object(name, 1);
            object["metadata"]["namespace"] = json!("default");
            object
        };
        let mut pod = named("virt-launcher-new");
        pod["metadata"]["labels"] = json!({ "kubevirt.io": "virt-launcher" });
        pod["metadata"]["annotations"] =
            json!({ "k8s.v1.cni.cncf.io/networks": networks.join(",") });
        pod["metadata"]["ownerReferences"] =
            json!([{ "kind": "VirtualMachineInstance", "name": "new", "uid": "u" }]);
        pod["spec"] = json!({ "nodeName": "host1" });
        match call.last() {
            "pods" => Some(list(1, &[pod])),
            "virt-launcher-new" => Some(Answer::Json(pod)),
            "new" if !has_vmi => Some(Answer::Status(404, None, "none")),
            "new" => {
                let mut vmi = named("new");
                vmi["metadata"]["uid"] = json!("u");
                vmi["status"] = json!({ "phase": "Scheduled" });
                Some(Answer::Json(vmi))
            }
            name if networks.iter().any(|network| network == name) => {
                let mut network = named(name);
                network["metadata"]["labels"] =
                    json!({ "network.harvesterhci.io/clusternetwork": "cluster-a" });
                Some(Answer::Json(network))
            }
            _ => None,
        }
    })
}

/// The answer to a change that takes cluster-a from host1.
async fn deselected(api_server: &ApiServer) -> Value {
    let present = Present::new(Api::new(api_server.client()), Decoder::default());
    let server = Server::reading(known(), present);
    let body = review(
        HARVESTER,
        "VlanConfig",
        &config("network-config-b", "cluster-a", &json!({ "example.com/rack": "r1" })),
        &config("network-config-b", "cluster-a", &json!({ "example.com/rack": "none" })),
    );
    server.post("/validate", body).await.json()["response"]["status"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_vm_network_that_only_a_fresh_pod_names_is_looked_up() {
    let api_server = started(&["new-network".to_owned()]);
    let status = deselected(&api_server).await;
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("default/new (host1)"), "{message}");
    assert_eq!(api_server.calls(|call| call.last() == "new-network").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn more_new_vm_networks_than_may_be_read_refuse() {
    let networks = |count: usize| (0..count).map(|it| format!("new-{it}")).collect::<Vec<_>>();
    let status = deselected(&started(&networks(16))).await;
    assert_eq!(status["code"], 403, "{status}");
    let status = deselected(&started(&networks(17))).await;
    assert_eq!(status["code"], 500, "{status}");
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("ask for 17 unknown VM networks, such as"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_a_vmi_asks_for_nothing_and_refuses_nothing() {
    let networks: Vec<String> = (0..17).map(|it| format!("new-{it}")).collect();
    let api_server = with_pod(&networks, false);
    let status = deselected(&api_server).await;
    assert_eq!(status["code"], 403, "{status}");
    assert!(!status["message"].as_str().unwrap().contains("default/new"), "{status}");
    assert_eq!(api_server.calls(|call| call.last().starts_with("new-")).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn host_network_configs_are_listed_before_a_cluster_network_is_deleted() {
    let api_server = ApiServer::new(|call| {
        call.is_list("hostnetworkconfigs").then(|| {
            let mut config = object("addresses", 1);
            config["spec"] = json!({ "clusterNetwork": "unused", "vlanID": 7, "mode": "dhcp" });
            list(1, &[config])
        })
    });
    let present = Present::new(Api::new(api_server.client()), Decoder::default());
    let server = Server::reading(known(), present);
    let unused = json!({ "metadata": { "name": "unused" } });
    let body = review(HARVESTER, "ClusterNetwork", &unused, &Value::Null);
    let answer = server.post("/validate", body).await.json();
    let message = answer["response"]["status"]["message"].as_str().unwrap();
    assert!(message.contains("host network configs: addresses"), "{message}");
}
