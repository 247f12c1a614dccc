//! `lanekeeper check`: each code fires, does not fire, and where it begins; and the command as a whole
//! (docs/reference.md, "Commands").

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use lanekeeper::cluster::{Activation, Options, Snapshot};
use lanekeeper::decide::check::{Code, findings};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::harness::{documents, examples, snapshot_from};
use crate::properties::{histories, options, outcome, synced};
use crate::serve::program;

/// A cluster without any fault: cluster networks `a` and `b` are active on h1 and h2, which report
/// their links. h3 has neither, and `w` is a witness host. There is no object `mgmt`.
const SOUND: &str = "
{apiVersion: v1, kind: Node, metadata: {name: h1, labels: {rack: '1', name: h1}}}
---
{apiVersion: v1, kind: Node, metadata: {name: h2, labels: {rack: '1', name: h2}}}
---
{apiVersion: v1, kind: Node, metadata: {name: h3, labels: {rack: '2', name: h3}}}
---
{apiVersion: v1, kind: Node, metadata: {name: w, labels: {rack: '1', node-role.harvesterhci.io/witness: 'true'}}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: ClusterNetwork, metadata: {name: a}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: ClusterNetwork, metadata: {name: b}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, metadata: {name: a1}, spec: {clusterNetwork: a, nodeSelector: {rack: '1'}, uplink: {nics: [e1, e2]}}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, metadata: {name: b1}, spec: {clusterNetwork: b, nodeSelector: {rack: '1'}, uplink: {nics: [e3]}}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, metadata: {name: mgmt-vlanconfig-h1}, spec: {clusterNetwork: mgmt, uplink: {nics: [m1, m2]}}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: LinkMonitor, metadata: {name: nic}, status: {linkStatus: {h1: [{name: e1, state: up, index: 1, masterIndex: 9}, {name: e2, state: up, index: 2}, {name: e3, state: up, index: 3}, {name: m1, state: up, index: 4}, {name: m2, state: unknown, index: 5}], h2: [{name: e1, state: up}, {name: e2, state: up}, {name: e3, state: up}]}}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanStatus, metadata: {name: s1}, status: {clusterNetwork: a, vlanConfig: a1, node: h1, conditions: [{type: ready, status: 'True'}]}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanStatus, metadata: {name: s2}, status: {clusterNetwork: a, vlanConfig: a1, node: h2, conditions: [{type: ready, status: 'True'}]}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: HostNetworkConfig, metadata: {name: hn}, spec: {clusterNetwork: a, nodeSelector: {matchLabels: {rack: '1'}}, mode: dhcp}}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: net-a, namespace: ns, labels: {network.harvesterhci.io/clusternetwork: a}}, spec: {config: '{\"type\":\"bridge\",\"bridge\":\"a-br\",\"vlan\":7}'}}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: net-b, namespace: ns}, spec: {config: '{\"type\":\"bridge\",\"bridge\":\"b-br\"}'}}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: net-m, namespace: ns}, spec: {config: '{\"type\":\"bridge\",\"bridge\":\"mgmt-br\"}'}}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: other, namespace: ns}, spec: {config: '{\"type\":\"bridge\",\"bridge\":\"br0\"}'}}
---
{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {name: vm, namespace: ns}, spec: {runStrategy: Always, template: {spec: {domain: {devices: {interfaces: [{name: n0, macAddress: '52:54:00:00:00:01'}]}}, networks: [{name: n0, multus: {networkName: net-a}}]}}}}
---
{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: vm, namespace: ns, uid: u}, spec: {networks: [{name: n0, multus: {networkName: net-a}}]}, status: {phase: Running, nodeName: h1}}
";

/// The sound cluster with these objects added or replaced.
fn with(objects: &str, options: Options) -> Snapshot {
    snapshot_from(documents(SOUND).into_iter().chain(documents(objects)), options)
}

/// What is found with these objects: the code, the object, and the hosts.
fn found_with(objects: &str, options: Options) -> Vec<String> {
    let findings = findings(&with(objects, options));
    let short = findings.into_iter().map(|it| {
        let object = it.object.map(|object| object.to_string());
        let hosts: Vec<String> = it.hosts.iter().map(ToString::to_string).collect();
        format!("{} {} [{}]", it.code.as_str(), object.as_deref().unwrap_or("-"), hosts.join(" "))
    });
    short.collect()
}

fn check(cases: &[(&str, &str, &[&str])]) {
    for (what, objects, expected) in cases {
        assert_eq!(found_with(objects, Options::default()), *expected, "{what}");
    }
}

/// The messages with these objects.
fn messages(objects: &str) -> Vec<String> {
    let findings = findings(&with(objects, Options::default())).into_iter();
    findings.map(|finding| finding.message).collect()
}

const LONGHAND: [(&str, &str); 7] = [
    ("Node ", "{apiVersion: v1, kind: Node, metadata: "),
    ("CN ", "{apiVersion: network.harvesterhci.io/v1beta1, kind: ClusterNetwork, metadata: "),
    ("VC ", "{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, metadata: "),
    ("VS ", "{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanStatus, metadata: "),
    ("LM ", "{apiVersion: network.harvesterhci.io/v1beta1, kind: LinkMonitor, metadata: "),
    ("HN ", "{apiVersion: network.harvesterhci.io/v1beta1, kind: HostNetworkConfig, metadata: "),
    ("NAD ", "{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: "),
];

/// Manifests in short: one object on a line, `VC {name: x}, spec: {...}`.
fn yaml(short: &str) -> String {
    let long = |line: &str| {
        let of = LONGHAND.iter().find_map(|(word, long)| Some((line.strip_prefix(word)?, long)));
        of.map_or_else(|| line.to_owned(), |(rest, long)| format!("{long}{rest}}}"))
    };
    let lines = short.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(long).collect::<Vec<_>>().join("\n---\n")
}

/// The cases, in short.
fn check_short(cases: &[(&str, &str, &[&str])]) {
    for (what, objects, expected) in cases {
        check(&[(what, &yaml(objects), expected)]);
    }
}

/// A VM `ns/NAME` on VM networks, with a run strategy and more of its template.
fn vm(name: &str, networks: &[&str], run: &str, more: &Value) -> String {
    let names = networks.iter().enumerate();
    let networks: Vec<Value> = names
        .map(|(at, name)| json!({ "name": format!("n{at}"), "multus": { "networkName": name } }))
        .collect();
    let mut spec = json!({ "networks": networks });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let spec = json!({ "runStrategy": run, "template": { "spec": spec } });
    json!({ "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
            "metadata": { "name": name, "namespace": "ns" }, "spec": spec })
    .to_string()
}

/// The interfaces n0, n1, ... with these addresses.
fn macs(addresses: &[&str]) -> Value {
    let addresses = addresses.iter().enumerate();
    let interfaces: Vec<Value> =
        addresses.map(|(at, mac)| json!({ "name": format!("n{at}"), "macAddress": mac })).collect();
    json!({ "domain": { "devices": { "interfaces": interfaces } } })
}

#[test]
fn nothing_is_found_in_a_sound_cluster() {
    check(&[("sound", "", &[])]);
}

#[test]
fn objects_that_cant_be_read_and_a_source_without_hosts() {
    check_short(&[
        (
            "malformed",
            "VC {name: odd}, spec: {clusterNetwork: [a]}",
            &["unreadable VlanConfig odd []"],
        ),
        (
            "a configuration that is no JSON",
            "NAD {name: odd, namespace: ns}, spec: {config: '{'}",
            &["nad-config NetworkAttachmentDefinition ns/odd []"],
        ),
        (
            "a label on top of it",
            "NAD {name: odd, namespace: ns, labels: {network.harvesterhci.io/clusternetwork: a}}, spec: {config: '{'}",
            &["nad-config NetworkAttachmentDefinition ns/odd []"],
        ),
    ]);
    let alone = "
        CN {name: a}
        VC {name: a1}, spec: {clusterNetwork: a, uplink: {nics: [e1]}}
        NAD {name: net, namespace: ns}, spec: {config: '{\"type\":\"bridge\",\"bridge\":\"a-br\"}'}
    ";
    let objects = documents(&yaml(alone)).into_iter();
    let vm = documents(&vm("v", &["net"], "Always", &json!({})));
    let snapshot = snapshot_from(objects.chain(vm), Options::default());
    let codes: Vec<_> = findings(&snapshot).iter().map(|it| it.code.as_str()).collect();
    assert_eq!(codes, ["no-hosts"], "nothing else can be told");
}

#[test]
fn references_to_what_does_not_exist() {
    check_short(&[
        (
            "a network config's cluster network",
            "VC {name: x1}, spec: {clusterNetwork: x, nodeSelector: {name: h3}, uplink: {nics: [e1]}}",
            &["vc-cluster-network VlanConfig x1 []"],
        ),
        (
            "none",
            "VC {name: x1}, spec: {clusterNetwork: '', nodeSelector: {name: h3}, uplink: {nics: [e1]}}",
            &["vc-cluster-network VlanConfig x1 []"],
        ),
        (
            "a record of mgmt without a cluster network",
            "VC {name: mgmt-vlanconfig-h3}, spec: {clusterNetwork: '', uplink: {nics: []}}",
            &[],
        ),
        (
            "a config that is being deleted",
            "VC {name: x1, deletionTimestamp: '2026-01-01T00:00:00Z'}, spec: {clusterNetwork: x}",
            &[],
        ),
        (
            "a VM network's label",
            "NAD {name: x, namespace: ns, labels: {network.harvesterhci.io/clusternetwork: x}}",
            &["nad-cluster-network NetworkAttachmentDefinition ns/x []"],
        ),
        (
            "a VM network's bridge",
            "NAD {name: x, namespace: ns}, spec: {config: '{\"type\":\"bridge\",\"bridge\":\"x-br\"}'}",
            &["bridge-without-cluster-network NetworkAttachmentDefinition ns/x []"],
        ),
        (
            "a label against a bridge",
            "NAD {name: x, namespace: ns, labels: {network.harvesterhci.io/clusternetwork: a}}, spec: {config: '{\"type\":\"bridge\",\"bridge\":\"b-br\"}'}",
            &["nad-cluster-network NetworkAttachmentDefinition ns/x []"],
        ),
        (
            "a host network config's cluster network",
            "HN {name: x}, spec: {clusterNetwork: x, nodeSelector: {matchLabels: {name: h1}}}",
            &["host-network-cluster-network HostNetworkConfig x []"],
        ),
    ]);
    let strict = Options { strict_vm_networks: true, ..Options::default() };
    let bridge =
        "NAD {name: x, namespace: ns}, spec: {config: '{\"type\":\"bridge\",\"bridge\":\"x-br\"}'}";
    assert_eq!(
        found_with(&yaml(bridge), strict),
        [
            "nad-config NetworkAttachmentDefinition ns/other []",
            "nad-cluster-network NetworkAttachmentDefinition ns/x []",
        ],
        "no bridge is without a cluster network there"
    );
}

#[test]
fn a_report_on_a_network_config_that_is_gone() {
    let status = |of: &str| {
        yaml(&format!(
            "VS {{name: old}}, status: {{{of}, conditions: [{{type: ready, status: 'True'}}]}}"
        ))
    };
    check(&[
        (
            "gone",
            &status("clusterNetwork: a, vlanConfig: gone, node: h3"),
            &["orphaned-uplink-status ClusterNetwork a [h3]"],
        ),
        (
            "of a host that is gone too",
            &status("clusterNetwork: a, vlanConfig: gone, node: h9"),
            &[],
        ),
        ("of no config", &status("clusterNetwork: a, vlanConfig: '', node: h3"), &[]),
        ("of mgmt", &status("clusterNetwork: mgmt, vlanConfig: gone, node: h3"), &[]),
        (
            "of a host that is covered no more",
            &status("clusterNetwork: a, vlanConfig: a1, node: h3"),
            &[],
        ),
    ]);
    assert_eq!(
        messages(&status("clusterNetwork: a, vlanConfig: gone, node: h3")),
        ["a VlanStatus still reports an uplink of network config gone, which does not exist any \
          more, on hosts: h3; so no other network config of cluster network a may cover them: \
          delete VlanStatus old"]
    );
}

#[test]
fn two_network_configs_on_one_host() {
    let config = |name: &str, network: &str, selector: &str, nics: &str| {
        format!(
            "VC {{name: {name}}}, spec: {{clusterNetwork: {network}, nodeSelector: {{{selector}}}, \
             uplink: {{nics: [{nics}]}}}}\n"
        )
    };
    check_short(&[
        (
            "of one cluster network",
            &config("a2", "a", "name: h2", "e1"),
            &["vc-overlap VlanConfig a1 [h2]"],
        ),
        ("on another host", &config("a2", "a", "name: h3", "e1"), &[]),
        (
            "three of them: each pair once",
            &[config("a2", "a", "name: h2", "e1"), config("a3", "a", "name: h1", "e1")].concat(),
            &["vc-overlap VlanConfig a1 [h1 h2]"],
        ),
        (
            "of two cluster networks with one NIC",
            &config("b1", "b", "name: h2", "e2"),
            &["vc-nic-conflict VlanConfig a1 [h2]"],
        ),
        ("on another host with one NIC", &config("b1", "b", "name: h3", "e2"), &[]),
        (
            "a NIC of mgmt",
            &[config("b1", "b", "rack: '1'", "m2"), LINKS.to_owned()].concat(),
            &["vc-nic-conflict VlanConfig b1 [h1]"],
        ),
        (
            "which another host may use",
            &[config("b1", "b", "name: h2", "m2"), LINKS.to_owned()].concat(),
            &[],
        ),
    ]);
    assert_eq!(
        messages(&yaml(&config("b1", "b", "name: h2", "e2"))),
        [
            "network config a1 of cluster network a and network config b1 of cluster network b use the \
          same NICs: e2 on hosts: h2; choose other NICs or other hosts"
        ]
    );
}

/// No host reports its links.
const LINKS: &str = "LM {name: nic}, status: {}";

#[test]
fn faults_of_single_network_configs_and_cluster_networks() {
    let a1 = |rest: &str| {
        let spec = "clusterNetwork: a, nodeSelector: {rack: '1'}";
        yaml(&format!("VC {{name: a1}}, spec: {{{spec}, uplink: {{{rest}}}}}\n{LINKS}"))
    };
    let mtu = |mtu: &str| {
        yaml(&format!(
            "CN {{name: a, annotations: {{network.harvesterhci.io/uplink-mtu: '{mtu}'}}}}"
        ))
    };
    check(&[
        ("no NIC", &a1("nics: []"), &["config-without-nics VlanConfig a1 []"]),
        ("a NIC twice", &a1("nics: [e1, e1]"), &["vc-nic-conflict VlanConfig a1 []"]),
        ("a bridge for a NIC", &a1("nics: [b-br]"), &["vc-nic-conflict VlanConfig a1 []"]),
        (
            "bond options",
            &a1("nics: [e1], bondOptions: {mode: active-backup, lacpRate: fast}"),
            &["vc-bond VlanConfig a1 []"],
        ),
        (
            "an MTU out of range",
            &a1("nics: [e1], linkAttributes: {mtu: 9001}"),
            &["vc-mtu VlanConfig a1 []"],
        ),
        ("the highest MTU", &a1("nics: [e1], linkAttributes: {mtu: 9000}"), &[]),
        ("an uplink-mtu that is no number", &mtu("odd"), &["cn-mtu ClusterNetwork a []"]),
        ("an uplink-mtu out of range", &mtu("9001"), &["cn-mtu ClusterNetwork a []"]),
        ("an uplink-mtu that differs", &mtu("9000"), &["cn-mtu ClusterNetwork a []"]),
        ("one that does not", &mtu("0"), &[]),
        (
            "a long name",
            &yaml("CN {name: a-long-name-13}"),
            &["cn-name ClusterNetwork a-long-name-13 []"],
        ),
    ]);
    check_short(&[
        (
            "MTUs that differ",
            "VC {name: a2}, spec: {clusterNetwork: a, nodeSelector: {rack: '2'}, uplink: {nics: [e1], linkAttributes: {mtu: 9000}}}",
            &["vc-mtu ClusterNetwork a []"],
        ),
        (
            "MTUs that do not",
            "VC {name: a2}, spec: {clusterNetwork: a, nodeSelector: {rack: '2'}, uplink: {nics: [e1], linkAttributes: {mtu: 1500}}}",
            &[],
        ),
        (
            "a config that covers no host",
            "VC {name: a2}, spec: {clusterNetwork: a, nodeSelector: {rack: '3'}, uplink: {nics: [e1]}}",
            &["config-covers-no-host VlanConfig a2 []"],
        ),
        (
            "one that covers a witness host alone",
            "VC {name: a2}, spec: {clusterNetwork: a, nodeSelector: {node-role.harvesterhci.io/witness: 'true'}, uplink: {nics: [e1]}}",
            &["config-covers-no-host VlanConfig a2 []"],
        ),
    ]);
}

#[test]
fn nics_that_are_down_or_missing_or_in_another_bond() {
    let links = |h1: &str, h2: &str| {
        yaml(&format!("LM {{name: nic}}, status: {{linkStatus: {{h1: [{h1}], h2: [{h2}]}}}}"))
    };
    let link = |name: &str, state: &str| format!("{{name: {name}, state: {state}}}");
    let up = "{name: e1, state: up}, {name: e2, state: up}, {name: e3, state: up}";
    let h1 = |e1: &str, e3: &str| {
        [
            &link("e1", e1),
            "{name: e2, state: up}",
            &link("e3", e3),
            "{name: m1, state: up}",
            "{name: m2, state: up}",
        ]
        .join(", ")
    };
    check(&[
        ("one down", &links(&h1("down", "up"), up), &["nic-down VlanConfig a1 [h1]"]),
        ("unknown counts as up", &links(&h1("unknown", "unknown"), up), &[]),
        (
            "one missing",
            &links(&h1("up", "up"), "{name: e2, state: up}, {name: e3, state: up}"),
            &["nic-down VlanConfig a1 [h2]"],
        ),
        ("a host without links may have it", &links(&h1("up", "up"), ""), &[]),
        ("the only one", &links(&h1("up", "down"), up), &["all-nics-down VlanConfig b1 [h1]"]),
        (
            "both, one of them missing, and one on the other host",
            &links(
                "{name: e2, state: down}, {name: e3, state: up}, {name: m1, state: up}, {name: m2, state: up}",
                "{name: e1, state: up}, {name: e2, state: down}, {name: e3, state: up}",
            ),
            &["all-nics-down VlanConfig a1 [h1]", "nic-down VlanConfig a1 [h2]"],
        ),
        (
            "one of mgmt",
            &links(&[up, "{name: m1, state: up}"].join(", "), up),
            &["nic-down VlanConfig mgmt-vlanconfig-h1 [h1]"],
        ),
    ]);
    let enslaved = |bond: &str| {
        let h2 = format!(
            "{{name: e1, state: up, index: 1, masterIndex: 9}}, {{name: e2, state: up}}, {{name: e3, state: up}}, {{name: {bond}, state: up, index: 9}}"
        );
        links(&h1("up", "up"), &h2)
    };
    check(&[
        ("the bond of another", &enslaved("b-bo"), &["nic-enslaved VlanConfig a1 [h2]"]),
        ("the bond of mgmt", &enslaved("mgmt-bo"), &["nic-enslaved VlanConfig a1 [h2]"]),
        ("its own bond", &enslaved("a-bo"), &[]),
        ("a bond of somebody's own", &enslaved("bond0"), &[]),
    ]);
    assert_eq!(
        messages(&links(&h1("up", "down"), up)),
        [
            "every NIC of network config b1 (e3) is down or missing on 1 of 2 covered hosts, where the \
          uplink carries no traffic: h1; check cables, switch ports and the NICs' names"
        ]
    );
}

#[test]
fn uplinks_that_are_reported_as_not_ready_or_not_at_all() {
    let status = |node: &str, ready: &str| {
        yaml(&format!(
            "VS {{name: s9}}, status: {{clusterNetwork: b, vlanConfig: b1, node: {node}, \
             conditions: [{{type: ready, status: '{ready}', message: no carrier}}]}}"
        ))
    };
    check(&[
        ("not ready", &status("h2", "False"), &["uplink-not-ready VlanConfig b1 [h2]"]),
        ("ready", &status("h2", "True"), &[]),
        ("of a host that is not covered", &status("h3", "False"), &[]),
    ]);
    let said = &messages(&status("h2", "False"))[0];
    assert!(said.contains("h2 (no carrier)"), "{said}");
    let reported = Options { activation: Activation::Reported, ..Options::default() };
    assert_eq!(
        found_with(&status("h2", "True"), reported),
        ["uplink-not-reported VlanConfig b1 [h1]"]
    );
    assert_eq!(
        found_with(&status("h2", "False"), reported),
        [
            "cluster-network-inactive ClusterNetwork b []",
            "uplink-not-ready VlanConfig b1 [h2]",
            "uplink-not-reported VlanConfig b1 [h1]",
        ],
    );
}

#[test]
fn a_cluster_network_with_vm_networks_that_is_active_nowhere() {
    let nad = "NAD {name: x, namespace: ns}, spec: {config: '{\"type\":\"bridge\",\"bridge\":\"x-br\"}'}\n";
    let x1 = "VC {name: x1}, spec: {clusterNetwork: x, nodeSelector: {rack: '3'}, uplink: {nics: [e1]}}\n";
    check_short(&[
        (
            "without network configs",
            &[nad, "CN {name: x}"].concat(),
            &["cluster-network-inactive ClusterNetwork x []"],
        ),
        ("without VM networks", "CN {name: x}", &[]),
        (
            "whose network configs cover no host",
            &[nad, x1, "CN {name: x}"].concat(),
            &[
                "cluster-network-inactive ClusterNetwork x []",
                "config-covers-no-host VlanConfig x1 []",
            ],
        ),
    ]);
    let said = messages(&yaml(&[nad, x1, "CN {name: x}"].concat()));
    assert!(said[0].contains("network configs that cover no host: x1"), "{said:?}");
}

#[test]
fn host_networks_where_their_cluster_network_is_not_active() {
    let host_network = |network: &str, selector: &str| {
        format!(
            "HN {{name: x}}, spec: {{clusterNetwork: {network}, underlay: true, nodeSelector: {{{selector}}}}}"
        )
    };
    check_short(&[
        (
            "every host, of which the witness host does not count",
            &host_network("a", ""),
            &["host-network-inactive HostNetworkConfig x [h3]"],
        ),
        ("hosts that have it", &host_network("a", "matchLabels: {name: h2}"), &[]),
        ("mgmt is everywhere", &host_network("mgmt", ""), &[]),
    ]);
    let said = &messages(&yaml(&host_network("a", "")))[0];
    assert!(said.contains("the pods' network between hosts runs over it: h3"), "{said}");
}

#[test]
fn vm_networks_that_break_rules() {
    let nad = |name: &str, labels: &str, config: &Value| {
        let config = config.to_string();
        yaml(&format!(
            "NAD {{name: {name}, namespace: harvester-system, labels: {{{labels}}}}}, spec: {{config: '{config}'}}"
        ))
    };
    let reserving = "storage-network.settings.harvesterhci.io/exclusivevlan: 'true'";
    check(&[
        (
            "a VLAN out of range",
            &nad("x", "", &json!({ "type": "bridge", "bridge": "a-br", "vlan": 4095 })),
            &["nad-config NetworkAttachmentDefinition harvester-system/x []"],
        ),
        (
            "the last one",
            &nad("x", "", &json!({ "type": "bridge", "bridge": "a-br", "vlan": 4094 })),
            &[],
        ),
        (
            "an MTU above the cluster network's",
            &nad("x", "", &json!({ "type": "bridge", "bridge": "a-br", "mtu": 1501 })),
            &["nad-mtu NetworkAttachmentDefinition harvester-system/x []"],
        ),
        (
            "its MTU",
            &nad("x", "", &json!({ "type": "bridge", "bridge": "a-br", "mtu": 1500 })),
            &[],
        ),
        (
            "a reserved VLAN",
            &nad(
                "storagenetwork-x",
                reserving,
                &json!({ "type": "bridge", "bridge": "a-br", "vlan": 7 }),
            ),
            &["nad-exclusive-vlan NetworkAttachmentDefinition ns/net-a []"],
        ),
        (
            "on another cluster network",
            &nad(
                "storagenetwork-x",
                reserving,
                &json!({ "type": "bridge", "bridge": "b-br", "vlan": 7 }),
            ),
            &[],
        ),
    ]);
    // The cluster network's own MTU is at fault, and told once.
    let odd = "CN {name: a, annotations: {network.harvesterhci.io/uplink-mtu: odd}}";
    check(&[("odd", &yaml(odd), &["cn-mtu ClusterNetwork a []"])]);
}

#[test]
fn vms_with_nowhere_to_go_and_why() {
    let none = json!({});
    let here = |name: &str| json!({ "nodeSelector": { "name": name } });
    let x = "CN {name: x}\nVC {name: x1}, spec: {clusterNetwork: x, nodeSelector: {rack: '2'}, uplink: {nics: [e1]}}\nNAD {name: net-x, namespace: ns}, spec: {config: '{\"type\":\"bridge\",\"bridge\":\"x-br\"}'}";
    let x = yaml(x);
    let with_x = |vm: String| [x.clone(), vm].join("\n---\n");
    for (what, objects, expected, says) in [
        (
            "no such VM network",
            vm("v", &["net-a", "gone"], "Always", &none),
            "vm-network-missing VirtualMachine ns/v []",
            "do not exist: ns/gone",
        ),
        (
            "of a VM that is stopped too",
            vm("v", &["gone"], "Halted", &none),
            "vm-network-missing VirtualMachine ns/v []",
            "do not exist: ns/gone",
        ),
        (
            "a name that can't be read",
            vm("v", &["a/b/c"], "Always", &none),
            "vm-network-missing VirtualMachine ns/v []",
            "can't be read",
        ),
        (
            "no host has both",
            with_x(vm("v", &["net-a", "net-x"], "Always", &none)),
            "vm-no-host VirtualMachine ns/v []",
            "none has all the cluster networks that it needs: a, x;",
        ),
        (
            "its own selector",
            vm("v", &["net-a"], "Always", &here("h3")),
            "vm-no-host VirtualMachine ns/v []",
            "allow none of the hosts that have the cluster networks it needs: a;",
        ),
        (
            "its own selector alone",
            vm("v", &[], "Always", &here("h4")),
            "vm-no-host VirtualMachine ns/v []",
            "node affinity allow none;",
        ),
    ] {
        assert_eq!(found_with(&objects, Options::default()), [expected], "{what}");
        let said = &messages(&objects)[0];
        assert!(said.contains(says), "{what}: {said}");
    }
    for (what, objects) in [
        ("one host has both", vm("v", &["net-a", "net-b"], "Always", &none)),
        ("it allows a host that has it", vm("v", &["net-a"], "Always", &here("h2"))),
        ("it is stopped", vm("v", &["net-a"], "Halted", &here("h3"))),
        ("it waits for another cluster's", vm("v", &["net-a"], "WaitAsReceiver", &here("h3"))),
        ("it needs mgmt alone", vm("v", &["net-m"], "Always", &here("h3"))),
    ] {
        assert_eq!(found_with(&objects, Options::default()), [""; 0], "{what}");
    }
    // What waits is the VMI, whatever its VM has become.
    let old = yaml(
        "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: v, namespace: ns}, spec: {networks: [{multus: {networkName: gone}}]}, status: {phase: Pending}}",
    );
    let changed = [vm("v", &["net-a"], "Always", &none), old].join("\n---\n");
    assert_eq!(
        found_with(&changed, Options::default()),
        ["vm-network-missing VirtualMachineInstance ns/v []"]
    );
    let same = yaml(
        "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: v, namespace: ns}, spec: {networks: [{multus: {networkName: gone}}]}, status: {phase: Pending}}",
    );
    let same = [vm("v", &["gone"], "Always", &none), same].join("\n---\n");
    assert_eq!(
        found_with(&same, Options::default()),
        ["vm-network-missing VirtualMachine ns/v []"],
        "the VM is to be corrected first"
    );
    // The cluster network is at fault as well, and the VM says which.
    let nad =
        "NAD {name: net-q, namespace: ns, labels: {network.harvesterhci.io/clusternetwork: q}}";
    let gone = [yaml(nad), vm("v", &["net-q", "net-a"], "Always", &none)].join("\n---\n");
    let said = messages(&gone);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[1].contains("cluster networks that do not exist: q;"), "{said:?}");
    let nowhere =
        [&yaml(&["CN {name: q}\n", nad].concat()), &vm("v", &["net-q", "net-a"], "Always", &none)];
    let said = messages(&nowhere.map(String::as_str).join("\n---\n"));
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[1].contains("active on no host: q;"), "{said:?}");
}

#[test]
fn running_vms_that_are_cut_off() {
    let vmi = |name: &str, host: &str, phase: &str| {
        json!({ "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
                "metadata": { "name": name, "namespace": "ns", "uid": "u" },
                "spec": { "networks": [{ "name": "n", "multus": { "networkName": "net-a" } }] },
                "status": { "phase": phase, "nodeName": host } })
        .to_string()
    };
    check(&[
        ("a VM", &vmi("vm", "h3", "Running"), &["vm-on-inactive-host VirtualMachine ns/vm [h3]"]),
        (
            "a VMI without a VM",
            &vmi("vmi", "h3", "Running"),
            &["vm-on-inactive-host VirtualMachineInstance ns/vmi [h3]"],
        ),
        ("on a host that has it", &vmi("vmi", "h2", "Running"), &[]),
        ("ended", &vmi("vmi", "h3", "Failed"), &[]),
    ]);
    assert_eq!(
        messages(&vmi("vm", "h3", "Running")),
        [
            "this VM runs where it is cut off from cluster networks that it uses: h3 (cluster network a \
          inactive: no network config); migrate it, or bring the cluster networks up there"
        ]
    );
}

#[test]
fn two_interfaces_with_one_address() {
    let (mac, other) = ("52-54-00-00-00-01", "52-54-00-00-00-02");
    // A VMI of the VM `v`, which runs whatever the VM is asked.
    let runs = |vm: String| {
        let vmi = json!({ "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
                          "metadata": { "name": "v", "namespace": "ns" }, "spec": {},
                          "status": { "phase": "Running", "nodeName": "h2" } });
        [vm, vmi.to_string()].join("\n---\n")
    };
    check(&[
        (
            "two VMs",
            &vm("v", &["net-a"], "Always", &macs(&[mac])),
            &["vm-mac VirtualMachine ns/v []"],
        ),
        ("of which one is stopped", &vm("v", &["net-a"], "Halted", &macs(&[mac])), &[]),
        ("or receives another", &vm("v", &["net-a"], "WaitAsReceiver", &macs(&[mac])), &[]),
        (
            "of which one is to stop",
            &runs(vm("v", &["net-a"], "Halted", &macs(&[mac]))),
            &["vm-mac VirtualMachine ns/v []"],
        ),
        (
            "or is receiving another",
            &runs(vm("v", &["net-a"], "WaitAsReceiver", &macs(&[mac]))),
            &[],
        ),
        ("on two cluster networks", &vm("v", &["net-b"], "Always", &macs(&[mac])), &[]),
        (
            "twice in one VM",
            &vm("v", &["net-b", "net-b"], "Always", &macs(&[other, other])),
            &["vm-mac VirtualMachine ns/v []"],
        ),
        (
            "of which each is on its own",
            &vm("v", &["net-m", "net-b"], "Always", &macs(&[mac, mac])),
            &[],
        ),
        (
            "twice in one that is stopped",
            &vm("v", &["net-b", "net-b"], "Halted", &macs(&[mac, mac])),
            &[],
        ),
        (
            "twice in one that is to stop",
            &runs(vm("v", &["net-b", "net-b"], "Halted", &macs(&[other, other]))),
            &[],
        ),
    ]);
}

#[test]
fn names_are_bounded_and_hosts_are_not() {
    let hosts = (10..35).map(|number| format!("Node {{name: x{number}, labels: {{rack: '1'}}}}\n"));
    let objects = hosts.chain([
        "VC {name: a2}, spec: {clusterNetwork: a, nodeSelector: {rack: '1'}, uplink: {nics: [e1]}}"
            .to_owned(),
    ]);
    let found = findings(&with(&yaml(&objects.collect::<String>()), Options::default()));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].hosts.len(), 27);
    assert!(found[0].message.contains("x27 and 7 more;"), "{}", found[0].message);
    let long = "x".repeat(20_000);
    let status = yaml(&format!(
        "VS {{name: s9}}, status: {{clusterNetwork: b, vlanConfig: b1, node: h2, conditions: [{{type: ready, status: 'False', message: \"a\\nb{long}\"}}]}}"
    ));
    let said = messages(&status).remove(0);
    assert!(said.contains("(a\\nbxxx") && said.ends_with('…'), "{said:.100}");
}

/// How the program ends, and what it prints.
fn run(cluster: &Path, more: &[&str]) -> Output {
    Command::new(program()).args(["check", "--cluster"]).arg(cluster).args(more).output().unwrap()
}

fn text(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).unwrap()
}

#[test]
fn the_reference_cluster_has_no_fault() {
    let output = run(&examples(), &[]);
    assert_eq!(
        text(&output.stdout),
        "Nothing is wrong: 6 hosts, 3 cluster networks, 3 network configs, 3 VM networks, 3 VMs, 3 \
         VMIs\n"
    );
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let output = run(&examples(), &["-o", "json"]);
    assert_eq!(text(&output.stdout), "{\"problems\":[]}\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_fault_is_status_1_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let overlap =
        "VC {name: a2}, spec: {clusterNetwork: a, nodeSelector: {name: h2}, uplink: {nics: [e1]}}";
    fs::write(folder.path().join("sound.yaml"), SOUND).unwrap();
    fs::write(folder.path().join("wrong.yaml"), yaml(overlap)).unwrap();
    let message = "network configs a1, a2 of cluster network a cover the same hosts: h2; change a \
                   nodeSelector, so that one network config covers each host";
    let output = run(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stdout),
        format!(
            "CODE        OBJECT         MESSAGE\nvc-overlap  VlanConfig a1  {message}\n\n1 problem \
             found: 4 hosts, 2 cluster networks, 4 network configs, 4 VM networks, 1 VM, 1 VMI\n"
        )
    );
    let expected = json!({ "problems": [{ "code": "vc-overlap", "kind": "VlanConfig",
        "object": "a1", "message": message, "hosts": ["h2"] }] });
    let output = run(folder.path(), &["-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), expected);
    let output = run(folder.path(), &["-o", "yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(serde_saphyr::from_slice::<Value>(&output.stdout).unwrap(), expected);
}

#[test]
fn a_complaint_about_the_source_is_found_and_has_no_object() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("sound.yaml"), SOUND).unwrap();
    fs::write(folder.path().join("twice.yaml"), yaml("CN {name: a}")).unwrap();
    let output = run(folder.path(), &["-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let first = &found["problems"][0];
    assert_eq!(found["problems"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!((&first["code"], &first["kind"]), (&json!("source-problem"), &Value::Null));
    assert_eq!(first["object"], Value::Null);
}

#[test]
fn a_source_that_cant_be_read_is_status_2() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent");
    let output = run(&absent, &[]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()));
    assert!(text(&output.stderr).starts_with("lanekeeper: "), "{}", text(&output.stderr));
    fs::write(folder.path().join("broken.yaml"), "a: [").unwrap();
    assert_eq!(run(folder.path(), &[]).status.code(), Some(2));
}

#[test]
fn a_code_of_checks_own_is_neither_a_rules_nor_a_causes() {
    let own = Code::OWN.map(Code::as_str);
    let rules = lanekeeper::decide::review::Code::ALL.map(lanekeeper::decide::review::Code::as_str);
    let others = rules.into_iter().chain(lanekeeper::decide::causes::CODES);
    assert!(others.into_iter().all(|code| !own.contains(&code)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn findings_are_those_of_an_index_built_afresh(histories in histories(), options in options()) {
        let mut kept = synced(options);
        for change in histories.concat() {
            kept.apply(change);
        }
        let mut afresh = synced(options);
        for (object, now) in outcome(&histories).into_iter().rev() {
            afresh.apply(lanekeeper::cluster::Change { object, now });
        }
        let (kept, afresh) = (kept.snapshot().unwrap(), afresh.snapshot().unwrap());
        let found = findings(&kept);
        prop_assert_eq!(&found, &findings(&afresh));
        for finding in &found {
            prop_assert!(finding.hosts.is_sorted() && !finding.message.is_empty());
        }
    }
}
