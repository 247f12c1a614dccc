//! Objects of the kinds that the page shows.

use serde_json::{Map, Value, json};

const HARVESTER: &str = "network.harvesterhci.io/v1beta1";
/// The label that names the cluster network of an object.
const CLUSTER_NETWORK: &str = "network.harvesterhci.io/clusternetwork";

pub fn host(name: &str, labels: &Map<String, Value>) -> Value {
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": labels } })
}

pub fn cluster_network(name: &str) -> Value {
    json!({ "apiVersion": HARVESTER, "kind": "ClusterNetwork", "metadata": { "name": name } })
}

/// A network config of the hosts with a label, with NICs and a description.
pub fn network_config(
    name: &str,
    cluster_network: &str,
    (key, value): (&str, &str),
    nics: &[&str],
    description: &str,
) -> Value {
    json!({
        "apiVersion": HARVESTER, "kind": "VlanConfig",
        "metadata": { "name": name, "labels": { CLUSTER_NETWORK: cluster_network } },
        "spec": {
            "clusterNetwork": cluster_network,
            "description": description,
            "nodeSelector": { key: value },
            "uplink": { "nics": nics },
        },
    })
}

/// What a host reports about an uplink that is not ready.
pub fn uplink_fault(name: &str, config: &str, network: &str, host: &str, message: &str) -> Value {
    json!({
        "apiVersion": HARVESTER, "kind": "VlanStatus", "metadata": { "name": name },
        "status": {
            "clusterNetwork": network, "vlanConfig": config, "node": host, "linkMonitor": "nic",
            "conditions": [{ "type": "ready", "status": "False", "message": message }],
        },
    })
}

/// The NICs of a host.
pub fn links(host: &str, nics: &[&str]) -> Value {
    let links = nics.iter().zip(2..).map(|(nic, index)| {
        json!({ "name": nic, "index": index, "type": "device", "mac": "52:54:00:00:00:01", "state": "up" })
    });
    json!({
        "apiVersion": HARVESTER, "kind": "LinkMonitor", "metadata": { "name": "nic" },
        "spec": { "targetLinkRule": { "typeRule": "^device$" } },
        "status": { "linkStatus": { host: links.collect::<Vec<_>>() } },
    })
}

pub fn host_network(name: &str, cluster_network: &str) -> Value {
    json!({
        "apiVersion": HARVESTER, "kind": "HostNetworkConfig", "metadata": { "name": name },
        "spec": { "clusterNetwork": cluster_network, "vlanID": 7, "mode": "dhcp" },
    })
}

pub fn vm_network(namespace: &str, name: &str, cluster_network: &str) -> Value {
    let config = json!({
        "cniVersion": "0.3.1", "name": name, "type": "bridge",
        "bridge": format!("{cluster_network}-br"), "vlan": 100, "ipam": {},
    });
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {
            "name": name, "namespace": namespace, "labels": { CLUSTER_NETWORK: cluster_network },
        },
        "spec": { "config": config.to_string() },
    })
}

/// A VM on some VM networks, each as NAMESPACE/NAME.
pub fn vm(namespace: &str, name: &str, vm_networks: &[&str]) -> Value {
    let interfaces = vm_networks.iter().zip(0..);
    let interfaces = interfaces.map(|(_, at)| json!({ "name": format!("n{at}"), "bridge": {} }));
    let networks = vm_networks.iter().zip(0..).map(
        |(network, at)| json!({ "name": format!("n{at}"), "multus": { "networkName": network } }),
    );
    json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "runStrategy": "Halted", "template": { "spec": {
            "domain": { "devices": { "interfaces": interfaces.collect::<Vec<_>>() } },
            "networks": networks.collect::<Vec<_>>(),
        } } },
    })
}
