//! `lanekeeper explain`: what it prints, and how it ends (docs/reference.md, "Commands").

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use lanekeeper::cluster::{Inactive, Key};
use lanekeeper::decide::causes::{CODES, Cause};
use serde_json::{Value, json};

use crate::harness::examples;
use crate::serve::program;

fn explain(cluster: &Path, vm: &str, more: &[&str]) -> Output {
    Command::new(program())
        .args(["explain", "vm", vm, "--cluster"])
        .arg(cluster)
        .args(more)
        .output()
        .unwrap()
}

fn json_of(cluster: &Path, vm: &str) -> (Value, Option<i32>) {
    let output = explain(cluster, vm, &["-o", "json"]);
    (serde_json::from_slice(&output.stdout).unwrap(), output.status.code())
}

fn feasible(answer: &Value) -> Vec<&str> {
    let hosts = answer["hosts"].as_array().unwrap();
    hosts
        .iter()
        .filter(|it| it["feasible"] == true)
        .map(|it| it["name"].as_str().unwrap())
        .collect()
}

#[test]
fn the_reference_vms_may_run_where_they_should() {
    for (vm, hosts) in [
        ("default/vm0", &["host0", "host1", "host2"][..]),
        ("default/vm1", &["host2"]),
        ("default/vm2", &["host2", "host4", "host5"]),
    ] {
        let (answer, status) = json_of(&examples(), vm);
        assert_eq!(feasible(&answer), hosts, "{vm}");
        assert_eq!(status, Some(0));
    }
}

#[test]
fn json_has_the_fields_that_clients_rely_on() {
    let (answer, _) = json_of(&examples(), "default/vm1");
    assert_eq!(answer["vm"], "default/vm1");
    assert_eq!(answer["source"], "VirtualMachine");
    assert_eq!(
        answer["needs"],
        json!([
            { "vmNetwork": "default/vm-network-b", "clusterNetwork": "cluster-a" },
            { "vmNetwork": "default/vm-network-c", "clusterNetwork": "cluster-b" },
        ])
    );
    assert_eq!(
        answer["hosts"][0],
        json!({
            "name": "host0",
            "feasible": false,
            "causes": [{
                "code": "host-not-covered",
                "clusterNetwork": "cluster-b",
                "vmNetwork": "default/vm-network-c",
                "message": "network config network-config-c, the only one of cluster network \
                            cluster-b, does not cover host0; change its nodeSelector or the \
                            host's labels",
            }],
        })
    );
    let yaml = explain(&examples(), "default/vm1", &["-o", "yaml"]).stdout;
    let yaml: Value = serde_saphyr::from_slice(&yaml).unwrap();
    assert_eq!(yaml, answer);
}

#[test]
fn a_vm_that_fits_nowhere_is_status_1_with_every_cause() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = "
{apiVersion: v1, kind: Node, metadata: {name: silent}}
---
{apiVersion: v1, kind: Node, metadata: {name: down}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: ClusterNetwork, metadata: {name: up}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, metadata: {name: c}, spec: {clusterNetwork: up}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanStatus, metadata: {name: s}, status: {clusterNetwork: up, vlanConfig: c, node: down, conditions: [{type: ready, status: 'False', message: no bridge}]}}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: up, namespace: ns, labels: {network.harvesterhci.io/clusternetwork: up}}}
---
{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: vmi, namespace: ns}, spec: {networks: [{multus: {networkName: up}}, {multus: {networkName: gone}}, {multus: {networkName: a/b/c}}]}, status: {phase: Pending}}
";
    fs::write(folder.path().join("all.yaml"), yaml).unwrap();
    let output = explain(folder.path(), "ns/vmi", &["-o", "json", "--activation", "reported"]);
    assert_eq!(output.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["source"], "VirtualMachineInstance");
    let hosts = answer["hosts"].as_array().unwrap();
    let of = |host: usize, field: &str| -> Vec<String> {
        let causes = hosts[host]["causes"].as_array().unwrap();
        causes.iter().map(|it| it[field].as_str().unwrap_or("-").to_owned()).collect()
    };
    let everywhere = ["vm-network-not-found", "invalid-network-selection"];
    assert_eq!(of(0, "code"), [&everywhere[..], &["uplink-not-ready"]].concat());
    assert_eq!(of(1, "code"), [&everywhere[..], &["uplink-not-reported"]].concat());
    assert_eq!(of(0, "vmNetwork"), ["ns/gone", "-", "ns/up"]);
    let said = &of(0, "message")[2];
    assert!(said.contains("(network config c: no bridge)"), "the report is quoted: {said}");
    let table = String::from_utf8(explain(folder.path(), "ns/vmi", &[]).stdout).unwrap();
    assert!(table.contains("\n0 of 2 hosts can run it"), "{table}");
}

#[test]
fn a_vmi_that_was_made_before_its_vm_was_changed_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let explained = |networks: &str, status: &str| {
        let yaml = format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: h}}}}
---
{{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {{name: net, namespace: ns}}}}
---
{{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {{name: vm, namespace: ns}}, spec: {{runStrategy: Always, template: {{spec: {{networks: [{{multus: {{networkName: net}}}}]}}}}}}}}
---
{{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {{name: vm, namespace: ns}}, spec: {{networks: [{networks}]}}, status: {status}}}
"
        );
        fs::write(folder.path().join("all.yaml"), yaml).unwrap();
        let table = String::from_utf8(explain(folder.path(), "ns/vm", &[]).stdout).unwrap();
        let (answer, status) = json_of(folder.path(), "ns/vm");
        assert_eq!(
            (feasible(&answer), status),
            (vec!["h"], Some(0)),
            "the VM is what is asked for"
        );
        let told = table.contains("0 of 1 hosts can run the VMI as it is. Restart the VM");
        assert_eq!(told, !answer["vmi"].is_null(), "{table}");
        answer["vmi"].clone()
    };
    let (old, same) = ("{multus: {networkName: gone}}", "{multus: {networkName: net}}");
    assert_eq!(explained(old, "{phase: Scheduling}"), json!({ "hosts": 0 }));
    assert_eq!(explained(old, "{phase: Running, nodeName: h}"), json!({ "hosts": 0 }));
    assert_eq!(explained(old, "{phase: Failed}"), Value::Null, "it has finished");
    assert_eq!(explained(same, "{phase: Scheduling}"), Value::Null);
}

#[test]
fn what_cant_be_read_is_told_beside_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = "
{apiVersion: v1, kind: Node, metadata: {name: h}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, metadata: {name: odd}, spec: {clusterNetwork: a, nodeSelector: [x]}}
---
{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {name: vm, namespace: ns}, spec: {template: {spec: {}}}}
";
    fs::write(folder.path().join("all.yaml"), yaml).unwrap();
    let output = explain(folder.path(), "ns/vm", &[]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("lanekeeper: VlanConfig odd can't be read: spec.nodeSelector"),
        "{said}"
    );
}

#[test]
fn a_vms_default_network_is_looked_for_in_multus_namespace() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = "
{apiVersion: v1, kind: Node, metadata: {name: h}}
---
{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {name: vm, namespace: ns}, spec: {template: {spec: {networks: [{multus: {networkName: net, default: true}}, {multus: {networkName: other/net, default: true}}, {multus: {networkName: net}}, {pod: {}}]}}}}
";
    fs::write(folder.path().join("all.yaml"), yaml).unwrap();
    for (more, multus) in [(&[][..], "kube-system"), (&["--multus-namespace", "multus"], "multus")]
    {
        let output = explain(folder.path(), "ns/vm", &[&["-o", "json"], more].concat());
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let needs = answer["needs"].as_array().unwrap();
        let names: Vec<_> = needs.iter().map(|it| it["vmNetwork"].as_str().unwrap()).collect();
        let mut expected = [format!("{multus}/net"), "ns/net".to_owned(), "other/net".to_owned()];
        expected.sort();
        assert_eq!(names, expected);
    }
}

#[test]
fn what_is_not_found_or_not_readable_is_status_2_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("odd.yaml"), "a: 1\nb: c: d\n").unwrap();
    for (cluster, vm, why) in [
        (
            &*examples(),
            "default/gone",
            "there is no VirtualMachine or VirtualMachineInstance default/gone",
        ),
        (&examples(), "vm1", "not NAMESPACE/NAME"),
        (&examples(), "a/b/c", "not NAMESPACE/NAME"),
        (folder.path(), "default/vm1", "odd.yaml: line 2"),
        (&folder.path().join("none"), "default/vm1", "No such file"),
    ] {
        let output = explain(cluster, vm, &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with("lanekeeper: ") && said.contains(why), "{said}");
        assert!(output.stdout.is_empty());
    }
    fs::write(
        folder.path().join("odd.yaml"),
        "{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {name: vm}, spec: 7}",
    )
    .unwrap();
    let said = String::from_utf8(explain(folder.path(), "default/vm", &[]).stderr).unwrap();
    assert!(said.contains("VirtualMachine default/vm can't be read: spec"), "{said}");
}

#[test]
fn every_cause_has_a_code_of_the_closed_set() {
    let inactive = |why| Cause::Inactive { cluster_network: "x".into(), why };
    let all = [
        inactive(Inactive::ClusterNetworkNotFound),
        inactive(Inactive::WitnessHost),
        inactive(Inactive::HostNotCovered),
        inactive(Inactive::UplinkNotReady),
        inactive(Inactive::UplinkNotReported),
        Cause::VmNetworkNotFound(Key::in_namespace("a", "b")),
        Cause::InvalidSelection("why".into()),
        Cause::ExcludedByVm,
        Cause::HostUnknown,
    ];
    assert_eq!(all.each_ref().map(Cause::code), CODES);
}

/// Two hosts; cluster network a is on h1 alone, and so is vm; pinned wants h2.
const SMALL: &str = "
{apiVersion: v1, kind: Node, metadata: {name: h1, labels: {rack: '1'}}}
---
{apiVersion: v1, kind: Node, metadata: {name: h2}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: ClusterNetwork, metadata: {name: a}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: ClusterNetwork, metadata: {name: bare}}
---
{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, metadata: {name: a1}, spec: {clusterNetwork: a, nodeSelector: {rack: '1'}}}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: net, namespace: ns, labels: {network.harvesterhci.io/clusternetwork: a}}}
---
{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {name: vm, namespace: ns}, spec: {template: {spec: {networks: [{multus: {networkName: net}}]}}}}
---
{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: vm, namespace: ns}, spec: {networks: [{multus: {networkName: net}}]}, status: {phase: Running, nodeName: h1}}
---
{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {name: pinned, namespace: ns}, spec: {template: {spec: {networks: [{multus: {networkName: net}}], affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [h2]}]}]}}}}}}}
";

/// Runs `explain` with these arguments on a cluster of these manifests.
fn explained(cluster: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("all.yaml"), cluster).unwrap();
    let mut command = Command::new(program());
    command.arg("explain").args(arguments).arg("--cluster").arg(folder.path()).output().unwrap()
}

fn small(arguments: &[&str]) -> (Value, Option<i32>) {
    let output = explained(SMALL, &[arguments, &["-o", "json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    let answer = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    (answer, output.status.code())
}

/// The name, and the codes of what is in the way, of each row.
fn rows(answer: &Value) -> Vec<(&str, Vec<&str>)> {
    let rows = answer.as_array().unwrap().iter();
    rows.map(|row| {
        let causes = row["causes"].as_array().unwrap();
        assert_eq!(row["feasible"], causes.is_empty());
        let codes = causes.iter().map(|it| it["code"].as_str().unwrap());
        (row["name"].as_str().unwrap(), codes.collect())
    })
    .collect()
}

#[test]
fn a_vms_own_node_affinity_excludes_hosts() {
    let (answer, status) = small(&["vm", "ns/pinned"]);
    assert_eq!(status, Some(1));
    assert_eq!(
        rows(&answer["hosts"]),
        [("h1", vec!["excluded-by-vm"]), ("h2", vec!["host-not-covered"])]
    );
    assert_eq!(answer["hosts"][0]["causes"][0]["vmNetwork"], Value::Null);
}

#[test]
fn a_vm_in_a_file_is_explained_before_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vm.yaml");
    let vm = |name: &str, rack: &str| {
        format!(
            "{{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {{name: {name}, namespace: ns}}, spec: {{template: {{spec: {{nodeSelector: {{rack: '{rack}'}}, networks: [{{multus: {{networkName: extra}}}}]}}}}}}}}\n---\n"
        )
    };
    let network = "{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: extra, namespace: ns, labels: {network.harvesterhci.io/clusternetwork: a}}}";
    let path = file.to_str().unwrap();

    fs::write(&file, vm("new", "1") + network).unwrap();
    let (answer, status) = small(&["vm", "-f", path]);
    assert_eq!((&answer["vm"], feasible(&answer), status), (&json!("ns/new"), vec!["h1"], Some(0)));

    // The VM of the file counts, and not the one in the cluster.
    fs::write(&file, vm("vm", "2") + &vm("new", "1") + network).unwrap();
    let (answer, status) = small(&["vm", "ns/vm", "-f", path]);
    assert_eq!((&answer["vm"], feasible(&answer), status), (&json!("ns/vm"), vec![], Some(1)));

    for (arguments, why) in [
        (&["vm", "-f", path][..], "holds 2 VirtualMachines; name the one to explain"),
        (&["vm", "ns/pinned", "-f", path], "holds no VirtualMachine ns/pinned"),
        (&["vm", "-f", "/none.yaml"], "No such file"),
        (&["vm"], "required"),
    ] {
        let output = explained(SMALL, arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(why), "{said}");
    }
    fs::write(&file, "{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {name: vm, namespace: ns}, spec: 7}").unwrap();
    let output = explained(SMALL, &["vm", "-f", path]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("VirtualMachine ns/vm can't be read: spec"), "{said}");

    let odd = "{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, metadata: {name: odd}, spec: {clusterNetwork: a, nodeSelector: {rack: 1}}}\n---\n";
    fs::write(&file, odd.to_owned() + &vm("new", "1")).unwrap();
    let output = explained(SMALL, &["vm", "-f", path]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("VlanConfig odd can't be read: spec.nodeSelector"), "{said}");
    assert_eq!(output.status.code(), Some(2), "no answer without what the file says: {said}");
}

#[test]
fn a_host_is_explained_with_its_cluster_networks_and_vms() {
    let (answer, status) = small(&["host", "h1"]);
    assert_eq!((&answer["host"], status), (&json!("h1"), Some(0)));
    assert_eq!(
        rows(&answer["clusterNetworks"]),
        [("a", vec![]), ("bare", vec!["host-not-covered"]), ("mgmt", vec![])]
    );
    assert_eq!(rows(&answer["vms"]), [("ns/pinned", vec!["excluded-by-vm"]), ("ns/vm", vec![])]);
    let (answer, status) = small(&["host", "h2"]);
    assert_eq!(rows(&answer["vms"])[1], ("ns/vm", vec!["host-not-covered"]));
    assert_eq!(status, Some(1), "no VM can run there");
}

#[test]
fn a_vm_network_is_explained_with_its_hosts_and_users() {
    let (answer, status) = small(&["network", "ns/net"]);
    assert_eq!((&answer["vmNetwork"], &answer["clusterNetwork"]), (&json!("ns/net"), &json!("a")));
    assert_eq!(
        (&answer["vms"], &answer["runningVms"]),
        (&json!(["ns/pinned", "ns/vm"]), &json!(["ns/vm"]))
    );
    assert_eq!(rows(&answer["hosts"]), [("h1", vec![]), ("h2", vec!["host-not-covered"])]);
    assert_eq!(status, Some(0));
}

#[test]
fn a_cluster_network_is_explained_with_its_hosts_configs_and_vm_networks() {
    let (answer, status) = small(&["cluster-network", "a"]);
    assert_eq!(answer["clusterNetwork"], "a");
    assert_eq!(
        (&answer["networkConfigs"], &answer["vmNetworks"]),
        (&json!(["a1"]), &json!(["ns/net"]))
    );
    assert_eq!(rows(&answer["hosts"]), [("h1", vec![]), ("h2", vec!["host-not-covered"])]);
    assert_eq!(status, Some(0));
    assert_eq!(small(&["cluster-network", "bare"]).1, Some(1), "active on no host");
    let table = explained(SMALL, &["cluster-network", "a"]).stdout;
    let table = String::from_utf8(table).unwrap();
    assert!(table.starts_with("Cluster network a\nNetwork configs: a1\nVM networks: ns/net\n\nHOST  ACTIVE  WHY NOT\nh1    yes\nh2    no      network config a1"), "{table}");
}

#[test]
fn an_unknown_object_or_no_known_host_is_status_2() {
    let hostless = SMALL.replace("kind: Node,", "kind: Other,");
    for (cluster, arguments, why) in [
        (SMALL, &["host", "h9"][..], "there is no host h9"),
        (SMALL, &["network", "ns/gone"], "there is no VM network ns/gone"),
        (SMALL, &["network", "net"], "not NAMESPACE/NAME"),
        (SMALL, &["cluster-network", "x"], "there is no cluster network x"),
        (&hostless, &["vm", "ns/vm"], "no host is known"),
        (&hostless, &["network", "ns/net"], "no host is known"),
        (&hostless, &["cluster-network", "mgmt"], "no host is known"),
    ] {
        let output = explained(cluster, arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(why) && output.stdout.is_empty(), "{arguments:?}: {said}");
    }
}
