//! Launcher pods, and pods as the scheduler sends them.

use serde::Deserialize;

use crate::cluster::{Key, Kind, LauncherPod, Name, Selection, Uid, Waiting};

use super::affinity::{Affinity, host_choice};
use super::decode::{Decoder, Malformed};
use super::fold::{Folded, folded};
use super::kubevirt::{has_ended, non_empty};
use super::meta::{Annotations, Meta, NETWORK_STATUS, Object, StringMap, nullable};
use super::multus::{pod_networks, unattached};
use super::scan::Scan;

#[derive(Default, Deserialize)]
pub(crate) struct Pod {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Meta,
    #[serde(default, deserialize_with = "nullable")]
    spec: PodSpec,
    #[serde(default, deserialize_with = "nullable")]
    status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    node_name: Option<Name>,
    #[serde(default, deserialize_with = "nullable")]
    node_selector: StringMap,
    affinity: Option<Affinity>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStatus {
    #[serde(default, deserialize_with = "nullable")]
    phase: String,
    #[serde(default, deserialize_with = "nullable")]
    conditions: Vec<PodCondition>,
    nominated_node_name: Option<Name>,
}

#[derive(Deserialize)]
struct PodCondition {
    #[serde(default, rename = "type", deserialize_with = "nullable")]
    kind: String,
    #[serde(default, deserialize_with = "nullable")]
    status: String,
    #[serde(default, deserialize_with = "nullable")]
    reason: String,
}

impl PodStatus {
    /// Returns whether the scheduler found no host.
    fn is_unschedulable(&self) -> bool {
        self.conditions.iter().any(|condition| {
            condition.kind == "PodScheduled"
                && condition.status == "False"
                && condition.reason == "Unschedulable"
        })
    }
}

impl Pod {
    fn waiting(&self, host: Option<&Name>) -> Option<Box<Waiting>> {
        let Self { metadata, spec, status } = self;
        let waits = host.is_none()
            && !metadata.deleting()
            && !has_ended(&status.phase)
            && status.is_unschedulable();
        waits.then(|| {
            Box::new(Waiting {
                uid: Uid::from(&*metadata.uid),
                hosts: host_choice(&spec.node_selector, spec.affinity.as_ref()),
                nominated: non_empty(status.nominated_node_name.clone()),
            })
        })
    }
}

impl Object for Pod {
    const KIND: Kind = Kind::LauncherPod;
    type Facts = Option<LauncherPod>;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    /// The facts of a launcher pod, or `None` for any other pod.
    fn facts(self, decoder: &Decoder) -> Option<LauncherPod> {
        let meta = &self.metadata;
        if meta.label("kubevirt.io") != Some("virt-launcher") {
            return None;
        }
        let owner = meta.vmi.as_ref().map(|owner| (&*owner.name, &*owner.uid));
        let labelled = || {
            let uid = meta.label("kubevirt.io/created-by").unwrap_or_default();
            Some((meta.label("vm.kubevirt.io/name")?, uid))
        };
        let (vmi, vmi_uid) = owner.or_else(labelled)?;
        let networks = pod_networks(|key| meta.annotation(key), decoder.namespace(meta), decoder);
        let status = meta.annotation(NETWORK_STATUS);
        let host = non_empty(self.spec.node_name.clone());
        Some(LauncherPod {
            vmi: Key::in_namespace(decoder.namespace(meta), vmi),
            vmi_uid: Uid::from(vmi_uid),
            ended: has_ended(&self.status.phase),
            unattached: status
                .map(|status| unattached(&networks, status, decoder.namespace(meta)))
                .unwrap_or_default(),
            networks: networks.into(),
            waiting: self.waiting(host.as_ref()),
            host,
        })
    }
}

/// A pod as the scheduler sends it, reduced to what an extender's answer depends on.
#[derive(Debug)]
pub struct ScheduledPod {
    /// Its name.
    pub name: Name,
    /// Its namespace.
    pub namespace: Name,
    /// The host that it is bound to, if any.
    pub host: Option<Name>,
    /// The VM networks that it asks for.
    pub networks: Selection,
}

/// The members of a pod that `ScheduledPod` is read from.
#[derive(Default)]
struct PodHead {
    metadata: Option<Folded<PodHeadMeta>>,
    spec: Option<Folded<PodHeadSpec>>,
}

#[derive(Default)]
pub(super) struct PodHeadMeta {
    name: Option<Name>,
    namespace: Option<Name>,
    annotations: Option<Annotations>,
}

#[derive(Default)]
struct PodHeadSpec {
    node_name: Option<Name>,
}

impl PodHeadMeta {
    /// The members that Go writes before the annotations and behind them. A name that is none of these
    /// may be one of ours in other letters, as Go reads names.
    const OTHERS: [&str; 12] = [
        "generateName",
        "selfLink",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "labels",
        "ownerReferences",
        "finalizers",
        "managedFields",
    ];

    /// Reads the metadata that a pod begins with, if it is as Go writes it. The rest is not looked into.
    pub fn in_layout(pod: &str) -> Option<Self> {
        let text = |scan: &mut Scan<'_>| scan.string()?.plain().map(Name::from);
        let mut metadata = Self::default();
        Scan::of(pod.strip_prefix(r#"{"metadata":"#)?).members(|scan, name| {
            match name.plain()? {
                "name" => metadata.name = Some(text(scan)?),
                "namespace" => metadata.namespace = Some(text(scan)?),
                "annotations" => metadata.annotations = Some(Annotations::in_layout(scan)?),
                name if Self::OTHERS.contains(&name) => scan.skip()?,
                _ => return None,
            }
            Some(())
        })?;
        Some(metadata)
    }
}

folded!(PodHead { "metadata" => metadata, "spec" => spec });
folded!(PodHeadMeta { "name" => name, "namespace" => namespace, "annotations" => annotations });
folded!(PodHeadSpec { "nodeName" => node_name });

impl Decoder {
    /// Reads a pod of a scheduler's request.
    ///
    /// # Errors
    /// If it is not a pod, or its annotations exceed Kubernetes' limit.
    pub fn scheduled_pod(&self, pod: &str) -> Result<ScheduledPod, Malformed> {
        let Folded(head) = serde_json::from_str::<Folded<PodHead>>(pod)?;
        let Folded(metadata) = head.metadata.unwrap_or_default();
        let Folded(spec) = head.spec.unwrap_or_default();
        Ok(self.scheduled(&metadata, spec))
    }

    /// The pod with this metadata, if it is not bound.
    pub(super) fn unbound_pod(&self, metadata: &PodHeadMeta) -> ScheduledPod {
        self.scheduled(metadata, PodHeadSpec::default())
    }

    fn scheduled(&self, metadata: &PodHeadMeta, spec: PodHeadSpec) -> ScheduledPod {
        let namespace = metadata.namespace.as_ref().filter(|it| !it.is_empty());
        let namespace = namespace.unwrap_or(&self.default_namespace).clone();
        let annotation = |key: &str| metadata.annotations.as_ref()?.get(key);
        ScheduledPod {
            name: metadata.name.clone().unwrap_or_default(),
            networks: pod_networks(annotation, &namespace, self),
            namespace,
            host: non_empty(spec.node_name),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A launcher pod that waits, with this put into it.
    fn facts(change: impl FnOnce(&mut Value)) -> LauncherPod {
        let mut pod = json!({
            "metadata": {
                "name": "p", "namespace": "ns", "uid": "u",
                "labels": { "kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": "vm" },
                "annotations": { "k8s.v1.cni.cncf.io/networks": "a, other/b" },
            },
            "spec": {},
            "status": { "phase": "Pending", "conditions": [
                { "type": "PodScheduled", "status": "False", "reason": "Unschedulable" }] },
        });
        change(&mut pod);
        let pod: Pod = serde_json::from_value(pod).unwrap();
        pod.facts(&Decoder::default()).unwrap()
    }

    #[test]
    fn a_pod_waits_if_the_scheduler_found_no_host_for_it() {
        let condition = |kind: &str, status: &str, reason: Value| {
            let condition = json!({ "type": kind, "status": status, "reason": reason });
            move |pod: &mut Value| pod["status"]["conditions"] = json!([condition])
        };
        let waits = |change: &dyn Fn(&mut Value)| facts(change).waiting.is_some();
        assert!(waits(&|_| {}));
        assert!(!waits(&condition("PodScheduled", "False", json!("SchedulingGated"))));
        assert!(!waits(&condition("PodScheduled", "False", json!("SchedulerError"))));
        assert!(!waits(&condition("PodScheduled", "False", Value::Null)));
        assert!(!waits(&condition("PodScheduled", "True", json!("Unschedulable"))));
        assert!(!waits(&condition("Ready", "False", json!("Unschedulable"))));
        for none in [Value::Null, json!([]), json!([{}]), json!([{ "type": null }])] {
            assert!(!waits(&|pod| pod["status"]["conditions"] = none.clone()), "{none}");
        }
        assert!(!waits(&|pod| pod["spec"]["nodeName"] = json!("h")), "it is bound");
        assert!(waits(&|pod| pod["spec"]["nodeName"] = json!("")));
        let deleted = json!("2026-01-01T00:00:00Z");
        assert!(!waits(&|pod| pod["metadata"]["deletionTimestamp"] = deleted.clone()));
        for (phase, waiting) in [("Succeeded", false), ("Failed", false), ("", true)] {
            assert_eq!(waits(&|pod| pod["status"]["phase"] = json!(phase)), waiting, "{phase}");
        }
    }

    #[test]
    fn what_a_waiting_pod_says_is_read() {
        let waiting = |change: &dyn Fn(&mut Value)| *facts(change).waiting.unwrap();
        let plain = waiting(&|_| {});
        assert_eq!((plain.uid.clone(), plain.nominated.as_deref()), ("u".into(), None));
        assert!(plain.hosts.is_any());
        let nominated = |host: Value| {
            waiting(&|pod| pod["status"]["nominatedNodeName"] = host.clone()).nominated
        };
        assert_eq!(nominated(json!("h")).as_deref(), Some("h"));
        assert_eq!(nominated(json!("")), None);
        assert_eq!(nominated(Value::Null), None);
        let selecting = waiting(&|pod| pod["spec"]["nodeSelector"] = json!({ "zone": "1" }));
        let zone = |value: &str| [("zone", value)].into_iter().collect();
        assert!(
            selecting.hosts.allows("h", &zone("1")) && !selecting.hosts.allows("h", &zone("2"))
        );
    }

    #[test]
    fn a_network_that_the_status_lacks_is_not_attached() {
        let unattached = |status: Value| {
            let pod = facts(|pod| {
                pod["metadata"]["annotations"][NETWORK_STATUS] = status.clone();
            });
            pod.unattached.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let both = ["ns/a", "other/b"];
        for (status, expected) in [
            // No status, and one that can't be read, say nothing.
            (json!(null), &[][..]),
            (json!(""), &[]),
            (json!("not JSON"), &[]),
            (json!(r#"{"name":"ns/a"}"#), &[]),
            (json!(r#"[{"name":7}]"#), &[]),
            (json!(r#"["ns/a"]"#), &[]),
            // Multus lists the cluster's own network first, under a name of its plug-in's choice.
            (json!(r#"[{"name":"cbr0","interface":"eth0","default":true}]"#), &both),
            (
                json!(r#"[{"name":"k8s-pod-network"},{"name":"ns/a","interface":"net1"}]"#),
                &both[1..],
            ),
            (json!(r#"[{"name":"a"}]"#), &both[1..]),
            (json!(r#"[{"name":"b"}]"#), &both),
            (json!(r#"[{"name":"other/b"}]"#), &both[..1]),
            (json!(r#"[{"name":"other/b"},{"name":"ns/a"}]"#), &[]),
            (json!(r#"[{"name":"other/a"}]"#), &both),
            (json!(r#"[{"name":"Odd Name"},{"name":""},{}]"#), &both),
            (json!("[]"), &both),
        ] {
            assert_eq!(unattached(status.clone()), expected, "{status}");
        }
        // The default network counts as any other that is asked for.
        let default = facts(|pod| {
            pod["metadata"]["annotations"] = json!({
                "v1.multus-cni.io/default-network": "d",
                NETWORK_STATUS: r#"[{"name":"kube-system/d","default":true}]"#,
            });
        });
        assert_eq!((default.networks.vm_networks.len(), default.unattached.len()), (1, 0));
    }
}
