//! Writes one update to the API server. Each write changes only what is ours, and by a patch, so that
//! nobody else's change is lost.

use std::fmt::Write as _;
use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::api::{Api, Error, FIELD_MANAGER, collection_of, path_of};
use crate::cluster::{Inactive, Key, Kind, MGMT, Name, ObjectRef};
use crate::decide::causes::Cause;
use crate::decide::placement::LABEL_PREFIX;
use crate::decide::upkeep::{ClusterNetworkUpdate, CutOff, Nomination, Update};
use crate::k8s::{READY_LABEL, UPLINK_MTU};

/// The annotation of a Node that is changed to make the scheduler try waiting pods again.
pub const TOUCHED: &str = "network.harvesterhci.io/lanekeeper-touched";
/// The condition of a cluster network.
const READY: &str = "ready";
/// The taints of a host that takes no new pod.
const CLOSED: [&str; 3] = [
    "node.kubernetes.io/unschedulable",
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
];

fn cluster_scoped(kind: Kind, name: &str) -> String {
    path_of(&ObjectRef { kind, key: Key::cluster_scoped(name.to_owned()) })
}

/// Writes an update. An object that is gone, or an Event that exists, is no error.
///
/// # Errors
/// If the API server does not take the write.
pub(super) async fn write(api: &Api, update: &Update) -> Result<(), Error> {
    let written = match update {
        Update::CreateMgmt => create_mgmt(api).await,
        Update::ClusterNetwork(update) => cluster_network(api, update).await,
        Update::HostLabels { host, labels } => {
            let labels: Map<String, Value> = labels
                .iter()
                .map(|(name, active)| {
                    let value = if *active { json!("true") } else { Value::Null };
                    ([LABEL_PREFIX, name].concat(), value)
                })
                .collect();
            let change = json!({ "metadata": { "labels": labels } });
            api.merge(&cluster_scoped(Kind::Host, host), &change).await.map(drop)
        }
        Update::VmNetworkReady { vm_network, ready } => {
            let change = json!({ "metadata": { "labels": { READY_LABEL: ready.to_string() } } });
            let object = ObjectRef { kind: Kind::VmNetwork, key: vm_network.clone() };
            api.merge(&path_of(&object), &change).await.map(drop)
        }
        Update::CutOff(cut_off) => create_event(api, cut_off).await,
    };
    match written {
        Err(Error::NotFound) => Ok(()),
        written => written,
    }
}

async fn create_mgmt(api: &Api) -> Result<(), Error> {
    let mgmt = json!({
        "apiVersion": "network.harvesterhci.io/v1beta1",
        "kind": "ClusterNetwork",
        "metadata": { "name": MGMT },
    });
    match api.create(&collection_of(Kind::ClusterNetwork, None), &mgmt).await {
        // It exists already.
        Ok(_) | Err(Error::Conflict(_)) => Ok(()),
        // It is tried again until the kind is served, which nothing else would tell.
        Err(Error::NotFound) => {
            let message = "the API server does not serve ClusterNetworks".to_owned();
            Err(Error::Other { code: 404, message })
        }
        Err(error) => Err(error),
    }
}

/// Sets the condition `ready` and the annotation `uplink-mtu`. A merge patch replaces the whole list
/// of conditions, so the others are read first, and the resource version keeps them from being lost.
async fn cluster_network(api: &Api, update: &ClusterNetworkUpdate) -> Result<(), Error> {
    let ClusterNetworkUpdate { name, ready, uplink_mtu } = update;
    let path = cluster_scoped(Kind::ClusterNetwork, name);
    let mut metadata = Map::new();
    let mut change = Map::new();
    if let Some(mtu) = uplink_mtu {
        metadata.insert("annotations".to_owned(), json!({ UPLINK_MTU: mtu.to_string() }));
    }
    if let Some(ready) = ready {
        let present = api.get_value(&path).await?.ok_or(Error::NotFound)?;
        let version = present.pointer("/metadata/resourceVersion").cloned();
        let conditions = present.pointer("/status/conditions").and_then(Value::as_array);
        let conditions = conditions.cloned().unwrap_or_default();
        let has_it = |it: &Value| {
            it.get("type") == Some(&json!(READY))
                && it.get("status") == Some(&json!(status_of(*ready)))
        };
        // What we wrote a moment ago may not be in the snapshot yet.
        if uplink_mtu.is_none() && conditions.iter().any(has_it) {
            return Ok(());
        }
        let conditions = with_ready(conditions, *ready);
        metadata.insert("resourceVersion".to_owned(), version.unwrap_or_default());
        change.insert("status".to_owned(), json!({ "conditions": conditions }));
    }
    change.insert("metadata".to_owned(), metadata.into());
    api.merge(&path, &change.into()).await.map(drop)
}

fn status_of(ready: bool) -> &'static str {
    if ready { "True" } else { "False" }
}

/// The conditions with this condition `ready` in place of another.
fn with_ready(mut conditions: Vec<Value>, ready: bool) -> Vec<Value> {
    let message = if ready { "" } else { "the cluster network is not active on any host" };
    let now = format!("{:.0}", Timestamp::now());
    conditions.retain(|condition| condition.get("type") != Some(&json!(READY)));
    conditions.push(json!({
        "type": READY,
        "status": status_of(ready),
        "lastUpdateTime": now,
        "lastTransitionTime": now,
        "reason": "",
        "message": message,
    }));
    conditions
}

/// Creates the Event of a running VM that is cut off. Its name follows from what it says, so that each
/// is made once, whoever leads.
async fn create_event(api: &Api, cut_off: &CutOff) -> Result<(), Error> {
    let CutOff { vmi, uid, from } = cut_off;
    let Some(namespace) = vmi.namespace() else { return Ok(()) };
    let uid = uid.to_string();
    let number = FixedState::default().hash_one((&*uid, from));
    let now = format!("{:.0}", Timestamp::now());
    // The names of Events have the limit of any name.
    let name: String = vmi.name().chars().take(200).collect();
    let event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "name": format!("{name}.{number:016x}"), "namespace": namespace },
        "involvedObject": {
            "apiVersion": "kubevirt.io/v1",
            "kind": Kind::Vmi.kubernetes(),
            "namespace": namespace,
            "name": vmi.name(),
            "uid": uid,
        },
        "type": "Warning",
        "reason": "ClusterNetworkInactive",
        "message": message(vmi, from),
        "source": { "component": FIELD_MANAGER },
        "reportingComponent": FIELD_MANAGER,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    });
    match api.create(&format!("/api/v1/namespaces/{namespace}/events"), &event).await {
        Ok(_) | Err(Error::Conflict(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The most bytes of an Event's message, by Kubernetes' limit of 1,024.
const MAX_MESSAGE: usize = 1000;

fn message<'a>(vmi: &Key, from: impl IntoIterator<Item = &'a (Name, Name, Inactive)>) -> String {
    let mut text = "the VM runs where cluster networks that it uses are not active: ".to_owned();
    for (number, (host, network, why)) in from.into_iter().enumerate() {
        let cause = Cause::Inactive { cluster_network: network.clone(), why: *why };
        let separator = if number == 0 { "" } else { "; " };
        let _ = write!(text, "{separator}{host}: {}", cause.reason());
    }
    if text.len() > MAX_MESSAGE {
        text.truncate(text.floor_char_boundary(MAX_MESSAGE));
        text.push('…');
    }
    let hint = format!(". `lanekeeper explain vm {vmi}` says where it can run");
    if text.len() + hint.len() <= MAX_MESSAGE {
        text.push_str(&hint);
    }
    text
}

/// Nominates the first of the hosts that takes new pods, and returns it.
///
/// # Errors
/// If a host can't be read, or the API server does not take the write.
pub(super) async fn nominate(api: &Api, nomination: &Nomination) -> Result<Option<Name>, Error> {
    let Nomination { pod, uid, hosts } = nomination;
    for host in hosts {
        let node = api.get_value(&cluster_scoped(Kind::Host, host)).await?;
        if !node.is_some_and(|node| takes_pods(&node)) {
            continue;
        }
        let path = path_of(&ObjectRef { kind: Kind::LauncherPod, key: pod.clone() });
        let change = json!({
            "metadata": { "uid": uid.to_string() },
            "status": { "nominatedNodeName": &**host },
        });
        return match api.merge(&format!("{path}/status"), &change).await {
            Ok(_) => Ok(Some(host.clone())),
            // The pod is gone, or another one of its name came.
            Err(Error::NotFound | Error::Conflict(_)) => Ok(None),
            Err(error) => Err(error),
        };
    }
    Ok(None)
}

/// Returns whether a Node is neither cordoned nor away.
fn takes_pods(node: &Value) -> bool {
    let is_cordoned = node.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
    let taints = node.pointer("/spec/taints").and_then(Value::as_array);
    let mut taints = taints.into_iter().flatten().filter_map(|taint| taint.get("key")?.as_str());
    !is_cordoned && !taints.any(|key| CLOSED.contains(&key))
}

/// Changes an annotation of a Node, so that the scheduler tries waiting pods again.
///
/// # Errors
/// If the API server does not take the write.
pub(super) async fn touch(api: &Api, host: &Name) -> Result<(), Error> {
    let now = format!("{:.3}", Timestamp::now());
    let change = json!({ "metadata": { "annotations": { TOUCHED: now } } });
    match api.merge(&cluster_scoped(Kind::Host, host), &change).await {
        Ok(_) | Err(Error::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}
