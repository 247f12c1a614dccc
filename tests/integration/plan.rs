//! `lanekeeper plan`: the webhooks' own rules, over files (docs/reference.md, "Commands").

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::examples;
use crate::serve::program;

fn plan(cluster: &Path, file: &str, more: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("change.yaml");
    fs::write(&path, file).unwrap();
    Command::new(program())
        .args(["plan", "-f"])
        .arg(path)
        .arg("--cluster")
        .arg(cluster)
        .args(more)
        .output()
        .unwrap()
}

fn json_of(file: &str, more: &[&str]) -> (Value, Option<i32>) {
    json_over(&examples(), file, more)
}

fn json_over(cluster: &Path, file: &str, more: &[&str]) -> (Value, Option<i32>) {
    let output = plan(cluster, file, &[&["-o", "json"], more].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{said}")), output.status.code())
}

/// The codes of each object's violations, `None` for one that is not judged.
fn codes(answer: &Value) -> Vec<Option<Vec<&str>>> {
    let objects = answer["objects"].as_array().unwrap();
    let of = |object: &'_ Value| object["violations"].as_array().unwrap().clone();
    objects
        .iter()
        .map(|object| {
            let count = of(object).len();
            object["judged"].as_bool().unwrap().then(|| {
                (0..count).map(|it| object["violations"][it]["code"].as_str().unwrap()).collect()
            })
        })
        .collect()
}

const MOVE_B: &str = "
apiVersion: network.harvesterhci.io/v1beta1
kind: VlanConfig
metadata: {name: network-config-b}
spec:
  clusterNetwork: cluster-a
  nodeSelector: {example.com/rack: r2}
  uplink: {nics: [enp7s1, enp7s2], bondOptions: {miimon: 100}}
";

#[test]
fn a_refused_change_is_status_1_and_says_what_it_would_do() {
    let (answer, status) = json_of(MOVE_B, &[]);
    assert_eq!(status, Some(1));
    let object = &answer["objects"][0];
    assert_eq!(
        (&object["kind"], &object["name"], &object["operation"]),
        (&json!("VlanConfig"), &json!("network-config-b"), &json!("update"))
    );
    // The label that the manifest lacks is put there by the mutation, so it is no violation.
    assert_eq!(codes(&answer), [Some(vec!["vc-running-vms"])]);
    let message = object["violations"][0]["message"].as_str().unwrap();
    assert!(message.contains("default/vm0 (host1), default/vm1 (host2)"), "{message}");
    assert_eq!(
        answer["clusterNetworks"],
        json!([{ "name": "cluster-a", "gained": ["host3", "host4", "host5"], "lost": ["host1", "host2"], "hosts": 4 }])
    );
    let vms = answer["vms"].as_array().unwrap();
    assert_eq!(vms.len(), 2, "vm2 has no network on cluster-a: {vms:?}");
    assert_eq!(vms[1]["name"], "default/vm1");
    assert_eq!(vms[1]["gained"], json!(["host4", "host5"]));
    let table = String::from_utf8(plan(&examples(), MOVE_B, &[]).stdout).unwrap();
    let rows = [
        "update     VlanConfig  network-config-b  refused  vc-running-vms: ",
        "cluster-a        4           host3, host4, host5  host1, host2",
    ];
    for row in rows {
        assert!(table.lines().any(|line| line.starts_with(row)), "{table}");
    }
}

const NEW: [&str; 3] = [
    "{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: new, namespace: default}, spec: {config: '{\"bridge\":\"new-br\"}'}}",
    "{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, metadata: {name: new}, spec: {clusterNetwork: new, nodeSelector: {example.com/rack: r0}, uplink: {nics: [enp9s1], linkAttributes: {mtu: 9000}}}}",
    "{apiVersion: network.harvesterhci.io/v1beta1, kind: ClusterNetwork, metadata: {name: new}}",
];

#[test]
fn a_file_is_one_change_or_in_order_several() {
    let file = NEW.join("\n---\n");
    let (answer, status) = json_of(&file, &[]);
    assert_eq!((status, codes(&answer)), (Some(0), vec![Some(vec![]); 3]), "{answer}");
    let in_order = json_of(&file, &["--in-order"]);
    assert_eq!(in_order.1, Some(1));
    assert_eq!(
        codes(&in_order.0),
        [Some(vec![]), Some(vec!["vc-cluster-network"]), Some(vec![])],
        "a config before its cluster network"
    );
    let mut sorted = NEW;
    sorted.reverse();
    let (answer, status) = json_of(&sorted.join("\n---\n"), &["--in-order"]);
    assert_eq!((status, codes(&answer)), (Some(0), vec![Some(vec![]); 3]), "{answer}");
}

#[test]
fn a_deletion_is_judged_without_what_goes_with_it() {
    let cluster_network = "{apiVersion: network.harvesterhci.io/v1beta1, kind: ClusterNetwork, metadata: {name: cluster-b}}";
    let (answer, status) = json_of(cluster_network, &["--delete"]);
    assert_eq!((status, codes(&answer)), (Some(1), vec![Some(vec!["cn-in-use"])]));
    assert_eq!(answer["objects"][0]["operation"], "delete");
    let file = fs::read_to_string(examples().join("network-configs.yaml")).unwrap();
    let (answer, status) = json_of(&file, &["--delete"]);
    assert_eq!(status, Some(1));
    let refused = codes(&answer);
    assert_eq!(refused[0], Some(vec![]), "nothing runs on host0");
    assert_eq!(refused[1], Some(vec!["vc-running-vms"]));
    let vms = answer["vms"].as_array().unwrap();
    assert!(vms.iter().all(|vm| vm["hosts"] == 0), "left with none: {vms:?}");
}

#[test]
fn warnings_alone_are_status_0_and_a_kind_without_rules_is_listed() {
    let file = "
{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {name: lost, namespace: default}, spec: {template: {spec: {networks: [{multus: {networkName: gone}}]}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: default}}
";
    let (answer, status) = json_of(file, &[]);
    assert_eq!(status, Some(0));
    assert_eq!(codes(&answer), [Some(vec![]), None]);
    assert!(answer["objects"][0]["warnings"][0].as_str().unwrap().contains("default/gone"));
    assert_eq!(answer["objects"][1]["name"], "default/d");
    let (answer, status) = json_of(file, &["--unschedulable-vm", "deny"]);
    assert_eq!((status, codes(&answer)[0].clone()), (Some(1), Some(vec!["vm-network-missing"])));
}

#[test]
fn what_cant_be_read_is_status_2() {
    for (file, why) in [
        ("a: [\n", "change.yaml: line 1: "),
        ("just: text", "change.yaml: object 1: not a Kubernetes object"),
        (
            "{apiVersion: v1, kind: Node, metadata: {}}",
            "object 1: Node has no usable metadata.name",
        ),
        ("---\n# nothing\n", "change.yaml holds no object"),
        (
            "{apiVersion: network.harvesterhci.io/v1beta1, kind: LinkMonitor, metadata: {name: m}, \
             status: 5}",
            "object 1: LinkMonitor m can't be read: status: ",
        ),
    ] {
        let output = plan(&examples(), file, &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with("lanekeeper: ") && said.contains(why), "{said}");
    }
    let output = plan(Path::new("nowhere"), MOVE_B, &[]);
    assert_eq!(output.status.code(), Some(2));
}

/// Cluster network `a` on host h, and a VM that runs there on a VM network that its bridge alone
/// puts under `a`.
const BY_BRIDGE: &str = r#"
{apiVersion: v1, kind: Node, metadata: {name: h}}
---
{apiVersion: v1, kind: Node, metadata: {name: other}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: ClusterNetwork, metadata: {name: a}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, metadata: {name: a1}, spec: {clusterNetwork: a, nodeSelector: {rack: r}, uplink: {nics: [e1]}}}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: net, namespace: default}, spec: {config: '{"type":"bridge","bridge":"a-br"}'}}
---
{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {name: vm, namespace: other}, spec: {template: {spec: {networks: [{name: nic, multus: {networkName: default/net}}]}}}}
---
{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: vm, namespace: other}, spec: {networks: [{name: nic, multus: {networkName: default/net}}]}, status: {phase: Running, nodeName: h}}
"#;

fn by_bridge() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let cluster = folder.path().join("cluster.yaml");
    fs::write(&cluster, BY_BRIDGE.replace("{name: h}", "{name: h, labels: {rack: r}}")).unwrap();
    (folder, cluster)
}

/// The documents of `BY_BRIDGE` with these numbers, as a file.
fn of_by_bridge(numbers: &[usize]) -> String {
    let all: Vec<_> = BY_BRIDGE.split("---\n").collect();
    numbers.iter().map(|number| all[*number]).collect::<Vec<_>>().join("---\n")
}

#[test]
fn an_object_is_judged_without_its_own_change_but_with_all_the_others() {
    let (_folder, cluster) = by_bridge();
    // Without its cluster network, the VM network is under none: with its own deletion applied,
    // nothing would use the cluster network.
    let (answer, status) = json_over(&cluster, &of_by_bridge(&[2, 3]), &["--delete"]);
    assert_eq!(status, Some(1));
    assert_eq!(codes(&answer), [Some(vec!["cn-in-use"]), Some(vec![])], "{answer}");
    let message = answer["objects"][0]["violations"][0]["message"].as_str().unwrap();
    assert!(message.contains("VM networks: default/net"), "{message}");
    assert!(!message.contains("a1"), "its network config goes with it: {message}");
    // In order, nothing goes with it.
    let (answer, _) = json_over(&cluster, &of_by_bridge(&[3, 2]), &["--delete", "--in-order"]);
    assert_eq!(codes(&answer), [Some(vec!["vc-running-vms"]), Some(vec!["cn-in-use"])]);
    let (answer, status) = json_over(&cluster, &of_by_bridge(&[2, 3, 4, 5, 6]), &["--delete"]);
    assert_eq!(status, Some(0), "{answer}");
}

#[test]
fn vms_lose_their_hosts_with_the_vm_network_or_the_cluster_network_under_it() {
    let (_folder, cluster) = by_bridge();
    let lost = json!([{ "name": "other/vm", "gained": [], "lost": ["h"], "hosts": 0 }]);
    for (what, file) in
        [("by its bridge", of_by_bridge(&[2, 3])), ("the VM network itself", of_by_bridge(&[4]))]
    {
        let (answer, _) = json_over(&cluster, &file, &["--delete"]);
        assert_eq!(answer["vms"], lost, "{what}");
    }
    let label = "namespace: default, labels: {network.harvesterhci.io/clusternetwork: a}}, spec";
    let text = fs::read_to_string(&cluster).unwrap().replace("namespace: default}, spec", label);
    assert!(text.contains(label));
    fs::write(&cluster, text).unwrap();
    let (answer, _) = json_over(&cluster, &of_by_bridge(&[2, 3]), &["--delete"]);
    assert_eq!(answer["vms"], lost, "by its label");
}

#[test]
fn a_message_names_vms_of_every_namespace() {
    let (_folder, cluster) = by_bridge();
    let (answer, _) = json_over(&cluster, &of_by_bridge(&[4]), &["--delete"]);
    assert_eq!(codes(&answer), [Some(vec!["nad-in-use"])]);
    let message = answer["objects"][0]["violations"][0]["message"].as_str().unwrap();
    assert!(message.contains("other/vm"), "{message}");
}

#[test]
fn of_an_object_twice_in_the_file_the_later_counts_unless_in_order() {
    let config = |name: &str, rack: &str| {
        format!(
            "{{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, metadata: \
             {{name: {name}}}, spec: {{clusterNetwork: cluster-b, nodeSelector: \
             {{example.com/rack: {rack}}}, uplink: {{nics: [enp9s1]}}}}}}\n"
        )
    };
    // Only the first copy of `new` overlaps `rack0`.
    let file = [config("new", "r0"), config("rack0", "r0"), config("new", "r9")].join("---\n");
    let (answer, _) = json_of(&file, &[]);
    assert_eq!(
        codes(&answer),
        [Some(vec!["vc-overlap"]), Some(vec![]), Some(vec![])],
        "the state has the later copy, and each copy is judged: {answer}"
    );
    let warnings = answer["objects"][0]["warnings"].to_string();
    assert!(warnings.contains("the later copy counts"), "{warnings}");
    let operations = |answer: &Value| {
        let objects = answer["objects"].as_array().unwrap().clone();
        objects.iter().map(|it| it["operation"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(operations(&answer), ["create", "create", "create"]);
    let (answer, _) = json_of(&file, &["--in-order"]);
    assert_eq!(operations(&answer), ["create", "create", "update"]);
    assert!(!answer.to_string().contains("the later copy counts"));
}

#[test]
fn a_deletion_of_what_does_not_exist_is_told() {
    let file = MOVE_B.replace("network-config-b", "network-config-z");
    let (answer, status) = json_of(&file, &["--delete"]);
    assert_eq!((status, codes(&answer)), (Some(0), vec![Some(vec![])]));
    let warnings = answer["objects"][0]["warnings"].to_string();
    assert!(warnings.contains("there is no such object"), "{warnings}");
    assert_eq!((&answer["clusterNetworks"], &answer["vms"]), (&json!([]), &json!([])));
    let twice = format!("{MOVE_B}---{MOVE_B}");
    let (answer, _) = json_of(&twice, &["--delete", "--in-order"]);
    assert!(answer["objects"][1]["warnings"].to_string().contains("there is no such object"));
}

#[test]
fn a_kind_of_another_group_is_not_judged() {
    let file = "{apiVersion: example.com/v1, kind: VlanConfig, metadata: {name: network-config-b}}";
    let (answer, status) = json_of(file, &["--delete"]);
    assert_eq!((status, codes(&answer)), (Some(0), vec![None]));
}

#[test]
fn an_update_cant_take_back_a_deletion_that_has_begun() {
    let (_folder, cluster) = by_bridge();
    let file = of_by_bridge(&[4]).replace("\"a-br\"", "\"a-br\",\"vlan\":5000");
    let refused = Some(vec!["nad-config", "nad-change"]);
    assert_eq!(codes(&json_over(&cluster, &file, &[]).0), [refused]);
    let deleting = "{name: net, deletionTimestamp: \"2026-01-01T00:00:00Z\", ";
    let text = fs::read_to_string(&cluster).unwrap().replace("{name: net, ", deleting);
    fs::write(&cluster, text).unwrap();
    assert_eq!(codes(&json_over(&cluster, &file, &[]).0), [Some(vec![])]);
}

#[test]
fn an_object_of_the_source_that_cant_be_read_is_reported() {
    let (_folder, cluster) = by_bridge();
    let text = fs::read_to_string(&cluster).unwrap().replace("phase: Running", "phase: [Running]");
    fs::write(&cluster, text).unwrap();
    let output = plan(&cluster, &of_by_bridge(&[3]), &["--delete"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("lanekeeper: VirtualMachineInstance other/vm can't be read"),
        "{said}"
    );
}

#[test]
fn without_a_host_nothing_is_said_of_hosts_and_that_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["cluster-networks.yaml", "network-configs.yaml", "vm-networks.yaml", "vms.yaml"] {
        fs::copy(examples().join(file), folder.path().join(file)).unwrap();
    }
    let said = |cluster: &Path| String::from_utf8(plan(cluster, MOVE_B, &[]).stderr).unwrap();
    assert!(said(folder.path()).contains("no host is known"), "{}", said(folder.path()));
    assert_eq!(said(&examples()), "");
}

#[test]
fn a_typed_list_is_a_change_of_its_items() {
    let file = "
apiVersion: network.harvesterhci.io/v1beta1
kind: VlanConfigList
items:
- metadata: {name: network-config-b}
  spec: {clusterNetwork: cluster-a, nodeSelector: {example.com/rack: r2}, uplink: {nics: [enp7s1]}}
";
    let (answer, status) = json_of(file, &[]);
    assert_eq!((status, codes(&answer)), (Some(1), vec![Some(vec!["vc-running-vms"])]));
    assert_eq!(answer["objects"][0]["operation"], "update");
}

#[test]
fn a_vms_own_node_selector_counts_among_the_hosts_that_it_loses() {
    let cluster = "
{apiVersion: v1, kind: Node, metadata: {name: h1, labels: {zone: a}}}
---
{apiVersion: v1, kind: Node, metadata: {name: h2}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: ClusterNetwork, metadata: {name: a}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, metadata: {name: a1}, spec: {clusterNetwork: a, uplink: {}}}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: net, namespace: default, labels: {network.harvesterhci.io/clusternetwork: a}}}
---
{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {name: vm, namespace: default}, spec: {template: {spec: {nodeSelector: {zone: a}, networks: [{name: nic, multus: {networkName: net}}]}}}}
";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.yaml");
    fs::write(&path, cluster).unwrap();
    let file = "{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, \
                metadata: {name: a1}, spec: {clusterNetwork: a, uplink: {}, nodeSelector: {zone: b}}}";
    let (answer, _) = json_over(&path, file, &[]);
    let expected = json!([{ "name": "default/vm", "gained": [], "lost": ["h1"], "hosts": 0 }]);
    assert_eq!(answer["vms"], expected, "h2 it never had");
}
