//! The definitions that we publish, in a real API server.

use serde_json::{Value, json};

use crate::admission::{enforce, refusal};
use crate::fixture::{ControlPlane, until};
use crate::objects::like;

/// A network config with these bond options.
fn bond(name: &str, options: Value) -> Value {
    let mut config = like("VlanConfig", name);
    config["spec"] = json!({"clusterNetwork": "vlan", "uplink": {"bondOptions": options}});
    config
}

fn host_network(name: &str, spec: Value) -> Value {
    let mut config = like("HostNetworkConfig", name);
    config["spec"] = json!({"clusterNetwork": "vlan", "vlanID": 7});
    for (field, value) in spec.as_object().unwrap() {
        config["spec"][field] = value.clone();
    }
    config
}

pub async fn bond_options_are_kept_and_wrong_ones_refused() {
    let plane = ControlPlane::start().await;
    plane.install().await;
    for (name, options) in [
        ("old", json!({"mode": "802.3ad", "miimon": 100})),
        (
            "lacp",
            json!({
                "mode": "802.3ad", "miimon": -1, "xmitHashPolicy": "layer2+3", "lacpRate": "fast",
                "adSelect": "bandwidth",
            }),
        ),
        (
            "arp",
            json!({
                "mode": "active-backup", "miimon": -1, "arpInterval": 100,
                "arpIpTargets": ["10.0.0.1", "10.0.0.2"], "arpValidate": "filter_active",
                "arpAllTargets": "all",
            }),
        ),
    ] {
        let made = plane.create(&bond(name, options.clone())).await;
        assert_eq!(made["spec"]["uplink"]["bondOptions"], options, "nothing pruned nor added");
    }
    let targets: Vec<String> = (0..17).map(|number| format!("10.0.0.{number}")).collect();
    for (options, why) in [
        (json!({"xmitHashPolicy": "layer4"}), "Unsupported value"),
        (json!({"lacpRate": "slower"}), "Unsupported value"),
        (json!({"adSelect": "speed"}), "Unsupported value"),
        (json!({"arpValidate": "filter-active"}), "Unsupported value"),
        (json!({"arpAllTargets": "some"}), "Unsupported value"),
        (json!({"arpInterval": -2}), "greater than or equal to -1"),
        (json!({"arpIpTargets": targets}), "must have at most 16 items"),
        (json!({"arpIpTargets": ["10.0.0"]}), "of type ipv4"),
        (json!({"arpIpTargets": ["fe80::1"]}), "of type ipv4"),
    ] {
        let said = plane.try_apply(&bond("wrong", options.clone())).await.unwrap_err().to_string();
        assert!(said.contains(why), "{options}: {said}");
    }
}

pub async fn host_networks_are_kept_and_wrong_ones_refused() {
    let plane = ControlPlane::start().await;
    plane.install().await;
    let full = host_network(
        "full",
        json!({
            "description": "tunnels", "underlay": true, "mode": "static",
            "ips": {"host1": "10.0.0.1/24"}, "nodeSelector": {
                "matchLabels": {"rack": "r1"},
                "matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}],
            },
        }),
    );
    let least = host_network("least", json!({"mode": "dhcp"}));
    for config in [&full, &least] {
        let made = plane.create(config).await;
        assert_eq!(made["spec"], config["spec"], "nothing pruned nor added");
    }
    // The status is a subresource, so that a write of the object leaves it alone.
    let status = json!({"status": {"nodeStatus": {"host1": {
        "clusterNetwork": "vlan", "vlanID": 7, "mode": "static",
        "conditions": [{"type": "ready", "status": "True"}],
    }}}});
    plane.merge(&full, status.clone()).await;
    assert_eq!(plane.get(&full).await.unwrap()["status"], Value::Null);
    plane.merge_status(&full, &status).await;
    assert_eq!(plane.get(&full).await.unwrap()["status"], status["status"]);

    let many: Value = (0..501).map(|host| (format!("h{host}"), json!("10.0.0.1/24"))).collect();
    for (spec, why) in [
        (json!({"mode": "bootp"}), "Unsupported value"),
        (json!({"mode": "static"}), "ips must have an address for each host"),
        (json!({"mode": "static", "ips": {}}), "ips must have an address for each host"),
        (json!({"mode": "static", "ips": many}), "must have at most 500 items"),
        (json!({"mode": "static", "ips": {"h": "1".repeat(51)}}), "may not be more than 50 bytes"),
        (json!({"mode": "dhcp", "vlanID": 0}), "greater than or equal to 1"),
        (json!({"mode": "dhcp", "vlanID": 4095}), "less than or equal to 4094"),
        (json!({"mode": "dhcp", "clusterNetwork": ""}), "at least 1 chars long"),
    ] {
        let wrong = host_network("wrong", spec.clone());
        let said = plane.try_apply(&wrong).await.unwrap_err().to_string();
        assert!(said.contains(why), "{spec:.60}: {said}");
    }
}

pub async fn a_host_network_counts_once_its_kind_is_served() {
    let plane = ControlPlane::start().await;
    let is_it = |document: &Value| {
        document["metadata"]["name"] == "hostnetworkconfigs.network.harvesterhci.io"
    };
    for document in plane.manifests() {
        if !is_it(&document) && !document["kind"].as_str().unwrap().ends_with("Configuration") {
            plane.apply(&document).await;
        }
    }
    plane.install_foreign_kinds().await;
    plane.apply_examples().await;
    let lanekeeper = plane.lanekeeper().await.ready().await;
    let (_, text) = lanekeeper.readiness().await;
    assert!(text.contains("counted as empty: HostNetworkConfig"), "{text}");
    enforce(&plane).await;
    // What can't be listed because it is not served has no objects.
    plane.create(&like("ClusterNetwork", "free")).await;
    plane.delete(&like("ClusterNetwork", "free")).await;

    plane.install().await;
    plane.create(&like("ClusterNetwork", "vlan")).await;
    let vtep = host_network("vtep", json!({"mode": "dhcp"}));
    plane.create(&vtep).await;
    until("it to be known", async || {
        let kind = ["\"HostNetworkConfig\""];
        (lanekeeper.metric("lanekeeper_objects", &kind).await == 1).then_some(())
    })
    .await;
    let said = refusal(plane.try_delete(&like("ClusterNetwork", "vlan")).await);
    assert!(said.contains("cn-in-use") && said.contains("host network configs: vtep"), "{said}");
    plane.delete(&vtep).await;
    plane.delete(&like("ClusterNetwork", "vlan")).await;
}
