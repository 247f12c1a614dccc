//! Launcher pods, and pods as the scheduler sends them.

use serde::Deserialize;

use crate::cluster::{Key, Kind, LauncherPod, Name, Selection, Waiting};

use super::affinity::{Affinity, host_choice};
use super::decode::{Decoder, Malformed};
use super::fold::{Folded, folded};
use super::kubevirt::{has_ended, non_empty};
use super::meta::{Annotations, Meta, NETWORK_STATUS, Object, StringMap, nullable};
use super::multus::{pod_networks, unattached};

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
                uid: metadata.uid.clone(),
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
        let owner = meta.vmi.as_ref().map(|owner| (&*owner.name, owner.uid.clone()));
        let labelled = || {
            let uid = meta.label("kubevirt.io/created-by").unwrap_or_default();
            Some((meta.label("vm.kubevirt.io/name")?, Name::from(uid)))
        };
        let (vmi, vmi_uid) = owner.or_else(labelled)?;
        let networks = pod_networks(|key| meta.annotation(key), decoder.namespace(meta), decoder);
        let status = meta.annotation(NETWORK_STATUS);
        let host = non_empty(self.spec.node_name.clone());
        Some(LauncherPod {
            vmi: Key::in_namespace(decoder.namespace(meta), vmi),
            vmi_uid,
            ended: has_ended(&self.status.phase),
            unattached: status
                .map(|status| unattached(&networks, status, decoder.namespace(meta)))
                .unwrap_or_default(),
            networks,
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
struct PodHeadMeta {
    name: Option<Name>,
    namespace: Option<Name>,
    annotations: Option<Annotations>,
}

#[derive(Default)]
struct PodHeadSpec {
    node_name: Option<Name>,
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
        let namespace = metadata.namespace.filter(|it| !it.is_empty());
        let namespace = namespace.unwrap_or_else(|| self.default_namespace.clone());
        let annotations = metadata.annotations.unwrap_or_default();
        Ok(ScheduledPod {
            name: metadata.name.unwrap_or_default(),
            networks: pod_networks(|key| annotations.get(key), &namespace, self),
            namespace,
            host: non_empty(spec.node_name),
        })
    }
}
