//! Where the real scheduler puts pods.

use serde_json::json;

use crate::fixture::{ControlPlane, Lanekeeper, until};
use crate::objects::{launcher_pod, plain_pod, vmi};

/// The reference cluster, our program and the scheduler.
async fn cluster() -> (ControlPlane, Lanekeeper) {
    let mut plane = ControlPlane::start().await;
    plane.install().await;
    plane.install_foreign_kinds().await;
    plane.apply_examples().await;
    let lanekeeper = plane.lanekeeper().await.ready().await;
    plane.start_scheduler();
    (plane, lanekeeper)
}

pub async fn pods_land_where_their_networks_are() {
    let (plane, lanekeeper) = cluster().await;

    for (name, vm_networks, hosts) in [
        ("vm0", &["vm-network-a"][..], &["host0", "host1", "host2"][..]),
        ("vm1", &["vm-network-b", "vm-network-c"], &["host2"]),
        ("vm2", &["vm-network-c"], &["host2", "host4", "host5"]),
    ] {
        // Several of each: one could land right by luck.
        for number in 0..4 {
            let vmi = plane.create(&vmi(&format!("{name}-{number}"), vm_networks)).await;
            let pod = plane.create(&launcher_pod(&vmi)).await;
            let host = until("a pod to be bound", async || plane.host_of(&pod).await).await;
            assert!(hosts.contains(&&*host), "{name} on {host}");
        }
    }

    // A pod that is no VM's never reaches us.
    let before = lanekeeper.metric("lanekeeper_filter_requests_total", &[]).await;
    assert!(before >= 12);
    let plain = plane.create(&plain_pod("plain")).await;
    until("a plain pod to be bound", async || plane.host_of(&plain).await).await;
    assert_eq!(lanekeeper.metric("lanekeeper_filter_requests_total", &[]).await, before);

    // With vm1's only host cordoned, its event quotes our reasons, grouped.
    let host2 = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "host2"}});
    plane.cordon("host2").await;
    let vmi = plane.create(&vmi("vm1-late", &["vm-network-b", "vm-network-c"])).await;
    let pod = plane.create(&launcher_pod(&vmi)).await;
    let event = until("an event that quotes us", async || {
        let events = plane.events_of("virt-launcher-vm1-late").await;
        events.into_iter().find(|it| it.contains("cluster network"))
    })
    .await;
    for part in [
        "0/6 nodes are available",
        "1 node(s) were unschedulable",
        "2 cluster network cluster-a inactive: no network config",
        "2 cluster network cluster-b inactive: no network config",
        "1 cluster network cluster-a inactive: no network config; cluster network cluster-b",
    ] {
        assert!(event.contains(part), "{part}: {event}");
    }
    assert_eq!(plane.host_of(&pod).await, None);

    // Its host comes back, and so does the pod.
    plane.merge(&host2, json!({"spec": {"unschedulable": null}})).await;
    let host = until("vm1 to be bound", async || plane.host_of(&pod).await).await;
    assert_eq!(host, "host2");
}

pub async fn nobody_is_evicted_in_vain() {
    let (plane, lanekeeper) = cluster().await;
    let class = |name: &str, value: i64| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": name}, "value": value,
        })
    };
    plane.create(&class("high", 1000)).await;
    // Every host is full: host2, the only one where vm1 could run, of pods that are as important,
    // the others of less important ones.
    let hosts = ["host0", "host1", "host2", "host3", "host4", "host5"];
    let mut fillers = Vec::new();
    for host in hosts {
        let mut filler = plain_pod(&format!("filler-{host}"));
        filler["spec"]["nodeName"] = json!(host);
        filler["spec"]["containers"][0]["resources"] =
            json!({"requests": {"cpu": "3900m"}, "limits": {"devices.kubevirt.io/tun": "1"}});
        if host == "host2" {
            filler["spec"]["priorityClassName"] = json!("high");
        }
        fillers.push(plane.create(&filler).await);
    }
    let vmi = plane.create(&vmi("vm1-high", &["vm-network-b", "vm-network-c"])).await;
    let mut pod = launcher_pod(&vmi);
    pod["spec"]["priorityClassName"] = json!("high");
    pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("1");
    let pod = plane.create(&pod).await;
    let event = until("an event", async || {
        plane.events_of("virt-launcher-vm1-high").await.into_iter().find(|it| it.contains("0/6"))
    })
    .await;
    assert!(event.contains("Insufficient cpu"), "{event}");
    let preempted = plane.events_of("filler-host0").await;
    assert!(preempted.is_empty(), "{preempted:?}");
    for filler in &fillers {
        let filler = plane.get(filler).await.expect("nobody was evicted");
        assert!(filler["metadata"]["deletionTimestamp"].is_null());
    }
    assert_eq!(plane.host_of(&pod).await, None);
    // The scheduler did ask: without us it would have evicted somebody on the hosts where the pods
    // are less important.
    let asked = "\"message\":\"preemption\",\"candidates\":5,\"kept\":0";
    until("the preempt verb to be called", async || lanekeeper.process.said(asked).then_some(()))
        .await;

    // Where a network is active, who is less important does make room.
    plane.delete(&fillers[2]).await;
    let host = until("vm1 to be bound", async || plane.host_of(&pod).await).await;
    assert_eq!(host, "host2");
}
