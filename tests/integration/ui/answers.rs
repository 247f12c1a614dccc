//! What the page shows of what there is.

use serde_json::{Value, json};

use super::{Page, reference};

#[tokio::test]
async fn the_matrix_has_a_state_for_each_host_and_cluster_network() {
    let page = Page::of(&reference());
    let (_, overview) = page.get("overview").await;
    assert_eq!(overview["codes"], json!(["active", "host-not-covered"]));
    let names: Vec<&Value> =
        overview["clusterNetworks"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["mgmt", "cluster-a", "cluster-b"]);
    let hosts = overview["hosts"].as_array().unwrap();
    let states: Vec<(&Value, &Value)> =
        hosts.iter().map(|host| (&host["name"], &host["states"])).collect();
    let expected = [[0, 0, 1], [0, 0, 1], [0, 0, 0], [0, 1, 1], [0, 1, 0], [0, 1, 0]];
    for (number, (name, states)) in states.into_iter().enumerate() {
        assert_eq!((name, states), (&json!(format!("host{number}")), &json!(expected[number])));
    }
    let cluster_a = &overview["clusterNetworks"][1];
    assert_eq!(cluster_a["active"], 3);
    assert_eq!(cluster_a["gaps"], json!([{ "code": "host-not-covered", "hosts": 3 }]));
    assert_eq!(hosts[4]["linksDown"], 1);
    assert_eq!(overview["counts"]["runningVms"], 3);
}

/// Every cause at once: h1 reports that its uplink is not ready, w is a witness, h2 is not covered.
const CAUSES: &str = "
{apiVersion: v1, kind: Node, metadata: {name: h0, labels: {a: b, kubernetes.io/hostname: h0}}, spec: {unschedulable: true}}
---
{apiVersion: v1, kind: Node, metadata: {name: h1, labels: {a: b}}}
---
{apiVersion: v1, kind: Node, metadata: {name: h2}}
---
{apiVersion: v1, kind: Node, metadata: {name: w, labels: {a: b, node-role.harvesterhci.io/witness: 'true'}}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: ClusterNetwork, metadata: {name: c}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, metadata: {name: v}, spec: {clusterNetwork: c, nodeSelector: {a: b}, uplink: {nics: [e1], bondOptions: {mode: 802.3ad, miimon: 100}, linkAttributes: {mtu: 9000}}}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, metadata: {name: mgmt-vlanconfig-h0}, spec: {clusterNetwork: mgmt, uplink: {nics: [e0]}}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanStatus, metadata: {name: s}, status: {clusterNetwork: c, vlanConfig: v, node: h1, conditions: [{type: ready, status: 'False', message: <b>broken</b>}]}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: HostNetworkConfig, metadata: {name: net}, spec: {clusterNetwork: c, vlanID: 7, mode: static, ips: {h0: 10.0.0.1/24}}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: LinkMonitor, metadata: {name: l}, spec: {}, status: {linkStatus: {h0: [{name: e1, index: 2, type: device, mac: '52:54:00:AB:00:01', state: down, masterIndex: 9}, {name: c-bo, index: 9, type: bond, mac: 'ff:ff', state: up}]}}}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: t, namespace: default, annotations: {network.harvesterhci.io/route: '{\"mode\":\"auto\",\"cidr\":\"10.1.0.0/16\",\"gateway\":\"10.1.0.1\",\"connectivity\":\"false\"}'}}, spec: {config: '{\"type\":\"bridge\",\"bridge\":\"c-br\",\"vlanTrunk\":[{\"minID\":1,\"maxID\":9},{\"id\":20}],\"mtu\":1400}'}}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: u, namespace: default, annotations: {network.harvesterhci.io/route: 'no'}}, spec: {config: '{\"type\":\"bridge\",\"bridge\":\"c-br\"}'}}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: o, namespace: default}, spec: {config: '{\"type\":\"kube-ovn\"}'}}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: x, namespace: default}, spec: {config: '{'}}
";

#[tokio::test]
async fn every_cause_has_its_code_and_its_message() {
    let page = Page::of(CAUSES);
    let (_, overview) = page.get("overview").await;
    let codes = overview["codes"].as_array().unwrap();
    let state = |host: usize| {
        &codes[usize::try_from(overview["hosts"][host]["states"][1].as_u64().unwrap()).unwrap()]
    };
    let states: Vec<&Value> = (0..4).map(state).collect();
    assert_eq!(states, ["active", "uplink-not-ready", "host-not-covered", "witness-host"]);
    assert_eq!(overview["clusterNetworks"][1]["mtu"], 9000);
    let (_, network) = page.get("cluster-networks/c").await;
    let message = network["hosts"][1]["causes"][0]["message"].as_str().unwrap();
    assert!(message.contains("<b>broken</b>"), "the text is passed on as it is: {message}");
    assert_eq!(network["hostNetworkConfigs"], json!(["net"]));
    assert_eq!(page.get("cluster-networks/d").await.0, 404);
}

#[tokio::test]
async fn a_host_has_its_links_addresses_and_network_configs() {
    let page = Page::of(CAUSES);
    let (_, host) = page.get("hosts/h0").await;
    assert_eq!(
        host["links"],
        json!([
            { "name": "e1", "state": "down", "type": "device", "mac": "52:54:00:ab:00:01", "master": "c-bo" },
            { "name": "c-bo", "state": "up", "type": "bond", "mac": null, "master": null },
        ])
    );
    assert_eq!((&host["cordoned"], &host["witness"]), (&json!(true), &json!(false)));
    assert_eq!(
        host["addresses"],
        json!([{ "hostNetworkConfig": "net", "clusterNetwork": "c", "vlan": 7, "mode": "static", "address": "10.0.0.1/24" }])
    );
    let configs: Vec<&Value> =
        host["networkConfigs"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(configs, ["mgmt-vlanconfig-h0", "v"]);
    let (_, other) = page.get("hosts/h1").await;
    assert_eq!((&other["cordoned"], &other["links"]), (&json!(false), &json!([])));
    let configs = other["networkConfigs"].as_array().unwrap();
    assert_eq!(configs.len(), 1, "the record is of another host: {configs:?}");
    assert_eq!(page.get("hosts/h9").await.0, 404);
}

#[tokio::test]
async fn network_configs_and_the_records_of_mgmt_are_apart() {
    let page = Page::of(CAUSES);
    let (_, configs) = page.get("network-configs").await;
    let config = &configs["networkConfigs"][0];
    assert_eq!(
        (&config["mode"], &config["miimon"], &config["mtu"], &config["hosts"]),
        (&json!("802.3ad"), &json!(100), &json!(9000), &json!(["h0", "h1"]))
    );
    let record = &configs["mgmt"][0];
    assert_eq!((&record["recordOf"], &record["miimon"]), (&json!("h0"), &Value::Null));
    let (_, networks) = page.get("host-network-configs").await;
    let network = &networks["hostNetworkConfigs"][0];
    assert_eq!(network["inactive"], json!(["h1", "h2", "w"]));
    assert_eq!(network["addresses"], json!({ "h0": "10.0.0.1/24" }));
}

#[tokio::test]
async fn vm_networks_have_type_vlans_mtu_and_route() {
    let page = Page::of(CAUSES);
    let (_, networks) = page.get("vm-networks").await;
    let networks = networks["vmNetworks"].as_array().unwrap();
    let types: Vec<(&Value, &Value)> =
        networks.iter().map(|it| (&it["name"], &it["type"])).collect();
    let expected = [
        ("default/o", "other"),
        ("default/t", "trunk"),
        ("default/u", "untagged"),
        ("default/x", "unreadable"),
    ];
    for ((name, kind), expected) in types.into_iter().zip(expected) {
        assert_eq!((name, kind), (&json!(expected.0), &json!(expected.1)));
    }
    assert_eq!(networks[1]["trunk"], json!(["1-9", "20"]));
    assert_eq!(networks[1]["mtu"], 1400);
    assert_eq!(networks[1]["hosts"], 1, "of the two covered hosts, one is not ready");
    assert_eq!(networks[1]["route"]["connectivity"], "false");
    assert!(networks[2]["route"]["connectivity"].as_str().unwrap().contains("can't be read"));
    assert_eq!(networks[0]["route"], Value::Null);
    let (_, one) = page.get("vm-networks/default/t").await;
    assert_eq!((&one["facts"], &one["clusterNetwork"]), (&networks[1], &json!("c")));
    assert_eq!(page.get("vm-networks/default/none").await.0, 404);
}

#[tokio::test]
async fn vms_come_some_at_a_time_and_can_be_searched() {
    let page = Page::of(&reference());
    let (_, all) = page.get("vms").await;
    assert_eq!(
        (&all["total"], &all["matching"], &all["next"]),
        (&json!(3), &json!(3), &Value::Null)
    );
    let vm1 = &all["vms"][1];
    assert_eq!(
        (&vm1["hosts"], &vm1["only"], &vm1["runsOn"]),
        (&json!(1), &json!(["host2"]), &json!(["host2"]))
    );
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let (_, some) = page.get(&format!("vms?limit=1&after={after}")).await;
        seen.push(some["vms"][0]["name"].as_str().unwrap().to_owned());
        match some["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    assert_eq!(seen, ["default/vm0", "default/vm1", "default/vm2"]);
    let (_, some) = page.get("vms?search=vm2").await;
    assert_eq!((&some["matching"], &some["vms"][0]["name"]), (&json!(1), &json!("default/vm2")));
    let (_, none) = page.get("vms?after=zzz").await;
    assert_eq!((&none["vms"], &none["next"]), (&json!([]), &Value::Null));
    assert_eq!(page.get("vms/default/vm9").await.0, 404);
    let (_, vm) = page.get("vms/default/vm1").await;
    assert_eq!(
        vm["needs"][0],
        json!({ "vmNetwork": "default/vm-network-b", "clusterNetwork": "cluster-a" })
    );
}

#[tokio::test]
async fn five_hosts_are_named_and_six_only_counted() {
    let hosts: Vec<String> = (0..6)
        .map(|n| format!("{{apiVersion: v1, kind: Node, metadata: {{name: h{n}}}}}"))
        .collect();
    let vm = "{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {name: v, namespace: d}, spec: {template: {spec: {}}}}";
    for (count, named) in [(5, 5), (6, 0)] {
        let yaml = format!("{}\n---\n{vm}", hosts[..count].join("\n---\n"));
        let (_, vms) = Page::of(&yaml).get("vms").await;
        let vm = &vms["vms"][0];
        assert_eq!((&vm["hosts"], vm["only"].as_array().unwrap().len()), (&json!(count), named));
    }
}

#[tokio::test]
async fn hostile_names_are_passed_on_as_they_are() {
    let name = "<script>alert(1)</script>\"'&\u{202e}";
    let label = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": "h", "labels": { "x": name } },
    });
    let page = Page::of(&label.to_string());
    let (_, host) = page.get("hosts/h").await;
    assert_eq!(host["labels"]["x"], name);
    let (status, answer) = page.get("hosts/%3Cscript%3E").await;
    assert_eq!((status, &answer["error"]), (404, &json!("there is no host <script>")));
}
