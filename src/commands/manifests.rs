//! `lanekeeper manifests`: prints everything that an installation applies, in an order that can be
//! applied (docs/reference.md, "Commands").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::cluster::{Kind, MGMT};
use crate::k8s::RECORD_PREFIX;
use crate::k8s::crds;
use crate::k8s::objects::group_and_version;

use super::{NAME, WriteError, to_yaml};

/// The parameters of an installation.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The namespace of Lanekeeper.
    pub namespace: String,
    /// The base URL of the webhooks.
    pub url: String,
    /// The CA certificate that verifies the server's certificate, in PEM.
    pub ca: Vec<u8>,
    /// The trusted users, whose writes of the records of `mgmt` are not sent.
    pub trusted_users: Vec<String>,
}

/// Writes all documents as one stream of YAML.
///
/// # Errors
/// If a document can't be written.
pub fn manifests(installation: &Installation) -> Result<String, WriteError> {
    let mut text = String::new();
    for document in documents(installation)? {
        let yaml = to_yaml(&document)?;
        text.push_str("---\n");
        text.push_str(&yaml);
    }
    Ok(text)
}

fn documents(installation: &Installation) -> Result<Vec<Value>, WriteError> {
    let Installation { namespace, .. } = installation;
    let mut documents = Vec::new();
    for definition in crds::definitions() {
        documents.push(serde_json::to_value(definition)?);
    }
    let labels = json!({ "app.kubernetes.io/name": NAME });
    documents.extend([
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": namespace,
                "labels": {
                    "app.kubernetes.io/name": NAME,
                    "pod-security.kubernetes.io/enforce": "restricted",
                },
            },
        }),
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": { "name": NAME, "namespace": namespace, "labels": labels },
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": { "name": NAME, "labels": labels },
            "rules": access(),
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": NAME, "labels": labels },
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME,
            },
            "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": namespace }],
        }),
        webhooks("ValidatingWebhookConfiguration", &labels, &validating(installation)),
        webhooks("MutatingWebhookConfiguration", &labels, &mutating(installation)),
    ]);
    Ok(documents)
}

/// Our access rights: list and watch every kind, and get single objects of the kinds that reviews
/// read one by one. We write nothing.
fn access() -> Vec<Value> {
    let single = [Kind::ClusterNetwork, Kind::VmNetwork, Kind::Vmi, Kind::LauncherPod];
    let rule = |kind: Kind| {
        let verbs: &[&str] =
            if single.contains(&kind) { &["get", "list", "watch"] } else { &["list", "watch"] };
        let (group, _) = group_and_version(kind);
        json!({ "apiGroups": [group], "resources": [kind.plural()], "verbs": verbs })
    };
    Kind::ALL.into_iter().map(rule).collect()
}

fn webhooks(kind: &str, labels: &Value, webhooks: &[Value]) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": { "name": NAME, "labels": labels },
        "webhooks": webhooks,
    })
}

/// One webhook: which requests it receives, and what happens to them while we are unavailable.
struct Webhook<'a> {
    kind: Kind,
    operations: &'a [&'a str],
    /// Whether requests are refused while we are unavailable.
    fails_closed: bool,
    /// CEL expressions by name. Only requests for which all of them are true are sent.
    conditions: Vec<(&'a str, String)>,
}

impl Webhook<'_> {
    fn at(self, path: &str, installation: &Installation) -> Value {
        let Self { kind, operations, fails_closed, conditions } = self;
        let (group, version) = group_and_version(kind);
        let conditions: Vec<Value> = conditions
            .into_iter()
            .map(|(name, expression)| json!({ "name": name, "expression": expression }))
            .collect();
        let mut webhook = json!({
            "name": format!("{}.{path}.{NAME}", kind.plural()),
            "clientConfig": {
                "url": format!("{}/{path}", installation.url.trim_end_matches('/')),
                "caBundle": STANDARD.encode(&installation.ca),
            },
            "rules": [{
                "apiGroups": [group],
                "apiVersions": [version],
                "operations": operations,
                "resources": [kind.plural()],
                "scope": if kind.namespaced() { "Namespaced" } else { "Cluster" },
            }],
            "admissionReviewVersions": ["v1"],
            "failurePolicy": if fails_closed { "Fail" } else { "Ignore" },
            "matchPolicy": "Equivalent",
            "sideEffects": "None",
            "timeoutSeconds": 10,
        });
        // The API server drops an empty list, so writing one would make each apply a change.
        if let Some(webhook) = webhook.as_object_mut().filter(|_| !conditions.is_empty()) {
            webhook.insert("matchConditions".to_owned(), conditions.into());
        }
        webhook
    }
}

const EVERY_WRITE: &[&str] = &["CREATE", "UPDATE", "DELETE"];

/// While we are unavailable, changes that could cut off VMs are refused. VMs and Nodes can be
/// edited.
fn validating(installation: &Installation) -> Vec<Value> {
    [
        Webhook {
            kind: Kind::ClusterNetwork,
            operations: EVERY_WRITE,
            fails_closed: true,
            conditions: Vec::new(),
        },
        Webhook {
            kind: Kind::NetworkConfig,
            operations: EVERY_WRITE,
            fails_closed: true,
            conditions: vec![("not-the-agents-record", not_a_trusted_record(installation))],
        },
        Webhook {
            kind: Kind::VmNetwork,
            operations: EVERY_WRITE,
            fails_closed: true,
            conditions: vec![("ours", either(may_have_cluster_network))],
        },
        Webhook {
            kind: Kind::Vm,
            operations: &["CREATE", "UPDATE"],
            fails_closed: false,
            conditions: vec![(
                "networks-interfaces-or-run-strategy",
                changes(&[
                    "?spec.?template.?spec.?networks",
                    "?spec.?template.?spec.?domain.?devices.?interfaces",
                    "?spec.?runStrategy",
                    // The older form of `runStrategy`.
                    "?spec.?running",
                ]),
            )],
        },
        Webhook {
            kind: Kind::Host,
            operations: &["UPDATE"],
            fails_closed: false,
            conditions: vec![("labels", changes(&["?metadata.?labels"]))],
        },
    ]
    .map(|webhook| webhook.at("validate", installation))
    .into()
}

/// The mutating webhooks. Safety never depends on them, so they fail open.
fn mutating(installation: &Installation) -> Vec<Value> {
    [
        (Kind::NetworkConfig, &["CREATE", "UPDATE"][..]),
        (Kind::VmNetwork, &["CREATE", "UPDATE"]),
        (Kind::Vm, &["CREATE", "UPDATE"]),
        (Kind::Vmi, &["CREATE"]),
    ]
    .map(|(kind, operations)| {
        let mut webhook = Webhook { kind, operations, fails_closed: false, conditions: Vec::new() }
            .at("mutate", installation);
        // What another webhook changes after ours may call for another patch.
        if let Some(webhook) = webhook.as_object_mut() {
            webhook.insert("reinvocationPolicy".to_owned(), "IfNeeded".into());
        }
        webhook
    })
    .into()
}

/// An expression that is true if `holds` is true of the new or the old object. On a delete there is
/// no new object, on a create no old one.
fn either(holds: impl Fn(&str) -> String) -> String {
    let one = |object: &str| format!("{object} != null && ({})", holds(object));
    format!("{} || {}", one("object"), one("oldObject"))
}

/// An expression that is true if a VM network may belong to a cluster network: by its label, or by
/// a bridge whose name contains `-br`.
fn may_have_cluster_network(object: &str) -> String {
    let label = "'network.harvesterhci.io/clusternetwork'";
    format!(
        "has({object}.metadata.labels) && {label} in {object}.metadata.labels || \
         has({object}.spec) && has({object}.spec.config) && {object}.spec.config.contains('-br')"
    )
}

/// An expression that is false only for a trusted user's write of a network config that is a record
/// of `mgmt` before and after. The node agent makes a record without a cluster network where the
/// host has no bond for `mgmt`; its name tells what it is.
fn not_a_trusted_record(installation: &Installation) -> String {
    let users: Vec<String> =
        installation.trusted_users.iter().map(|user| format!("'{}'", escaped(user))).collect();
    let is_no_record = |object: &str| {
        format!(
            "!(has({object}.spec) && has({object}.spec.clusterNetwork) && \
             {object}.spec.clusterNetwork != '' ? {object}.spec.clusterNetwork == '{MGMT}' : \
             has({object}.metadata.name) && {object}.metadata.name.startsWith('{RECORD_PREFIX}'))"
        )
    };
    format!("!(request.userInfo.username in [{}]) || {}", users.join(", "), either(is_no_record))
}

/// Escapes a text for use within single quotes in CEL.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('\'', r"\'")
}

/// An expression that is true if the object is new or one of these fields changed. If `a` is
/// absent, `object.?a.?b` is absent too, and not an error.
fn changes(fields: &[&str]) -> String {
    let differs = |field: &&str| format!("object.{field} != oldObject.{field}");
    let differs: Vec<String> = fields.iter().map(differs).collect();
    format!("request.operation == 'CREATE' || {}", differs.join(" || "))
}
