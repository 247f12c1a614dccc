//! VMs that no host can run, as the metric counts them.

use lanekeeper::cluster::Options;
use lanekeeper::decide::feasible::unschedulable;
use serde_json::{Value, json};

use crate::harness::snapshot_from;
use crate::upkeep::{cluster_network, config, node};

/// A VM or VMI on VM network `net`, that allows the hosts with this label.
fn asks(kind: &str, name: &str, selector: &Value, rest: &Value) -> Value {
    let spec = json!({
        "nodeSelector": selector,
        "networks": [{ "name": "n", "multus": { "networkName": "net" } }],
    });
    let spec = match kind {
        "VirtualMachine" => json!({ "template": { "spec": spec } }),
        _ => spec,
    };
    let mut object = json!({
        "apiVersion": "kubevirt.io/v1", "kind": kind,
        "metadata": { "name": name, "namespace": "default" }, "spec": spec,
    });
    for (path, value) in rest.as_object().unwrap() {
        *object.pointer_mut(path).unwrap() = value.clone();
    }
    object
}

/// The number that is counted with these objects. Cluster network `a` is active on host1 alone, which
/// has the label rack=1.
fn counted(objects: &[Value]) -> usize {
    let network = json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": { "name": "net", "namespace": "default" },
        "spec": { "config": r#"{"type":"bridge","bridge":"a-br"}"# },
    });
    let cluster = [
        node("host1", &[("rack", "1")]),
        node("host2", &[("rack", "2")]),
        cluster_network("a", None, None),
        config("c", "a", &[("rack", "1")], 0),
        network,
    ];
    let objects = cluster.into_iter().chain(objects.iter().cloned());
    unschedulable(&snapshot_from(objects, Options::default()))
}

#[test]
fn vms_that_are_to_run_and_that_no_host_can_run_are_counted() {
    let (here, there) = (json!({ "rack": "1" }), json!({ "rack": "2" }));
    let (nothing, halted) = (json!({}), json!({ "/spec": { "runStrategy": "Halted" } }));
    let deleting = json!({ "/metadata": { "name": "a", "namespace": "default",
        "deletionTimestamp": "2026-01-01T00:00:00Z" } });
    let vm = |selector: &Value, rest: &Value| asks("VirtualMachine", "a", selector, rest);
    let vmi =
        |selector: &Value, name: &str| asks("VirtualMachineInstance", name, selector, &json!({}));
    assert_eq!(counted(&[]), 0);
    assert_eq!(counted(&[vm(&json!({}), &nothing)]), 0, "host1 can run it");
    assert_eq!(counted(&[vm(&here, &nothing)]), 0);
    assert_eq!(counted(&[vm(&there, &nothing)]), 1, "its network is not active on host2");
    assert_eq!(counted(&[vm(&there, &halted)]), 0, "it is not to run");
    assert_eq!(counted(&[vm(&there, &deleting)]), 0);
    assert_eq!(counted(&[vm(&there, &nothing), vmi(&there, "a")]), 1, "a VM and its VMI are one");
    assert_eq!(counted(&[vm(&there, &nothing), vmi(&there, "b")]), 2);
    let mut ended = vmi(&there, "b");
    ended["status"] = json!({ "phase": "Succeeded" });
    assert_eq!(counted(&[ended]), 0);
    let vmi_of = |selector: &Value, status: Value| {
        let mut vmi = vmi(selector, "a");
        vmi["status"] = status;
        vmi
    };
    let (waits, runs) = (json!({}), json!({ "phase": "Running", "nodeName": "host1" }));
    for (vm_asks, vmi_asks, status, count, what) in [
        (&here, &there, &waits, 1, "the VM was changed, and not restarted"),
        (&there, &here, &waits, 0, "the VMI can still start"),
        (&there, &here, &runs, 1, "the next start of the VM would fail"),
        (&here, &there, &runs, 0, "the next start of the VM will do"),
    ] {
        let objects = [vm(vm_asks, &nothing), vmi_of(vmi_asks, status.clone())];
        assert_eq!(counted(&objects), count, "{what}");
    }
    let mut absent = vm(&here, &nothing);
    absent["spec"]["template"]["spec"]["networks"][0]["multus"]["networkName"] = json!("none");
    assert_eq!(counted(&[absent]), 1, "its VM network does not exist");
}
