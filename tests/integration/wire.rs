//! What Lanekeeper reads of CNI configurations and Multus's annotations, against what Go reads: the
//! answers were written by `tests/wire/cni`, and `tests/wire/check` brings many more.

use std::fs;

use lanekeeper::cluster::{Cni, CniConfig, Fact, Now, is_dns_subdomain};
use lanekeeper::k8s::Decoder;
use serde_json::{Value, json};

use crate::harness::project;

fn fact(object: &Value) -> Fact {
    match Decoder::default().change(object).unwrap().unwrap().now {
        Now::Is(fact) => fact,
        other => panic!("{object}: {other:?}"),
    }
}

fn config(text: &str) -> CniConfig {
    let object = json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": { "name": "net", "namespace": "default" },
        "spec": { "config": text },
    });
    let Fact::VmNetwork(facts) = fact(&object) else { panic!("{object}") };
    facts.config
}

/// The VM networks that an annotation asks for, `None` if it can't be read.
fn networks(text: &str) -> Option<Vec<String>> {
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "pod", "namespace": "default",
            "labels": { "kubevirt.io": "virt-launcher" },
            "annotations": { "k8s.v1.cni.cncf.io/networks": text },
            "ownerReferences": [{ "kind": "VirtualMachineInstance", "name": "vm", "uid": "u" }],
        },
    });
    let Fact::LauncherPod(pod) = fact(&object) else { panic!("{object}") };
    let found = pod.networks.vm_networks.iter().map(ToString::to_string).collect();
    pod.networks.unreadable.is_empty().then_some(found)
}

fn in_go(cni: &Cni) -> Value {
    let mut value = json!({
        "type": &*cni.kind, "bridge": "", "vlan": 0, "mtu": 0, "trunk": null,
    });
    if cni.is_bridge() {
        value["bridge"] = cni.bridge.as_deref().unwrap_or_default().into();
        value["vlan"] = cni.vlan.into();
        value["mtu"] = cni.mtu.into();
        let trunk = cni.trunk.iter().map(|it| json!([it.id, it.min, it.max]));
        value["trunk"] = if cni.trunk.is_empty() { Value::Null } else { trunk.collect() };
    }
    value
}

/// Returns whether a configuration is read as in Go. Where a key that is read occurs twice, the
/// values may differ, since libcni sorts the keys before the plug-in reads them, and Multus does not:
/// that is why `nad-config` refuses it.
fn same_config(text: &str, go: &Value) -> bool {
    let ours = config(text);
    let mut go = go.clone();
    let twice = go.as_object_mut().unwrap().remove("twice");
    match &ours {
        CniConfig::Is(cni) if !cni.repeated.is_empty() => {
            let paths: Vec<_> = cni.repeated.iter().map(|key| json!(&*key.path)).collect();
            let twice = twice.as_ref().and_then(Value::as_array);
            // Of two plug-in lists, types, bridges or trunks, we may read the one that has more to
            // report: a bridge of a cluster network must not hide behind another value.
            let keys = ["plugins", "type", "bridge", "vlanTrunk"];
            let other = |key: &Value| keys.iter().any(|other| key == other);
            let read_another = paths.iter().chain(twice.into_iter().flatten()).any(other);
            go["error"] == true || read_another || twice == Some(&paths)
        }
        CniConfig::Is(cni) => {
            if go["bridge"].as_str().is_some_and(|bridge| bridge.trim().is_empty()) {
                go["bridge"] = "".into(); // We take a blank bridge for none.
            }
            twice.is_none() && in_go(cni) == go
        }
        // With two types in one plug-in, Go may read another plug-in, which is readable.
        CniConfig::Unreadable(cni) => {
            let types = text.to_lowercase().matches("ype\"").count();
            let differs = cni.plugin.as_ref().is_none_or(|plugin| {
                let bridge = plugin.bridge.as_deref().unwrap_or_default();
                *bridge != go["bridge"] || *plugin.kind != go["type"]
            });
            twice.is_some() || go["error"] == true || types > 1 && differs
        }
        CniConfig::None => go["error"] == true,
    }
}

/// Returns whether an annotation is read as in Go. There are two differences: Multus accepts dots in
/// the names of its JSON form alone, we in the short form too; and a name that no object can have is
/// an error to us, where Multus finds out when it looks for the object.
fn same_networks(text: &str, go: &Value) -> bool {
    let ours = networks(text);
    let go: Option<Vec<String>> = serde_json::from_value(go.clone()).ok();
    match (ours, go) {
        (Some(ours), Some(mut go)) => {
            go.sort_unstable();
            go.dedup();
            ours == go
        }
        (Some(ours), None) => ours.iter().any(|name| name.contains('.')),
        (None, Some(go)) => {
            let can_exist = |key: &String| {
                let parts = key.split_once('/');
                parts.is_some_and(|(one, two)| is_dns_subdomain(one) && is_dns_subdomain(two))
            };
            !go.iter().all(can_exist)
        }
        (None, None) => true,
    }
}

#[test]
fn configurations_and_annotations_are_read_as_in_go() {
    let mut files = vec![project().join("tests/wire/cni/odd.jsonl")];
    files.extend(std::env::var_os("WIRE_ANSWERS").map(Into::into));
    let mut different = Vec::new();
    for file in files {
        for line in fs::read_to_string(file).unwrap().lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            let same = match (value["config"].as_str(), value["networks"].as_str()) {
                (Some(text), _) => same_config(text, &value["go"]),
                (_, Some(text)) => same_networks(text, &value["go"]),
                _ => panic!("{line}"),
            };
            if !same {
                different.push(line.to_owned());
            }
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}
