//! `lanekeeper manifests`: all that an installation applies, in an order that applies clean
//! (docs/reference.md, "Commands").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::cluster::{Kind, MGMT};
use crate::k8s::crds;
use crate::k8s::objects::group_and_version;

use super::{WriteError, to_yaml};

/// The name of everything that is ours alone.
const NAME: &str = "lanekeeper";

/// What an installation is like.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The namespace that is ours.
    pub namespace: String,
    /// Where the webhooks are called.
    pub url: String,
    /// The certificate of the CA that the server's own is under, in PEM.
    pub ca: Vec<u8>,
    /// The users who keep the records of `mgmt`.
    pub trusted_users: Vec<String>,
}

/// All documents, as one stream of YAML.
///
/// # Errors
/// If one can't be written.
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

/// What we may do: look at every kind, and at single objects where a review asks for them. Nothing
/// is written.
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

/// One webhook: which requests, and what becomes of them while we are out.
struct Webhook<'a> {
    kind: Kind,
    operations: &'a [&'a str],
    /// Whether what we can't be asked about is refused.
    refuses: bool,
    /// What must hold of a request for us to be asked about it, in CEL.
    conditions: Vec<(&'a str, String)>,
}

impl Webhook<'_> {
    fn at(self, path: &str, installation: &Installation) -> Value {
        let Self { kind, operations, refuses, conditions } = self;
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
            "failurePolicy": if refuses { "Fail" } else { "Ignore" },
            "matchPolicy": "Equivalent",
            "sideEffects": "None",
            "timeoutSeconds": 10,
        });
        // An empty list is not kept by the API server, so that each apply would be a change.
        if let Some(webhook) = webhook.as_object_mut().filter(|_| !conditions.is_empty()) {
            webhook.insert("matchConditions".to_owned(), conditions.into());
        }
        webhook
    }
}

const EVERY_WRITE: &[&str] = &["CREATE", "UPDATE", "DELETE"];

/// What is refused while we are out is what could cut VMs off; VMs and nodes can be edited.
fn validating(installation: &Installation) -> Vec<Value> {
    [
        Webhook {
            kind: Kind::ClusterNetwork,
            operations: EVERY_WRITE,
            refuses: true,
            conditions: Vec::new(),
        },
        Webhook {
            kind: Kind::NetworkConfig,
            operations: EVERY_WRITE,
            refuses: true,
            conditions: vec![("not-the-agents-record", not_the_agents(installation))],
        },
        Webhook {
            kind: Kind::VmNetwork,
            operations: EVERY_WRITE,
            refuses: true,
            conditions: vec![("ours", either(is_ours))],
        },
        Webhook {
            kind: Kind::Vm,
            operations: &["CREATE", "UPDATE"],
            refuses: false,
            conditions: vec![(
                "networks-interfaces-or-run-strategy",
                changes(&[
                    "?spec.?template.?spec.?networks",
                    "?spec.?template.?spec.?domain.?devices.?interfaces",
                    "?spec.?runStrategy",
                ]),
            )],
        },
        Webhook {
            kind: Kind::Host,
            operations: &["UPDATE"],
            refuses: false,
            conditions: vec![("labels", changes(&["?metadata.?labels"]))],
        },
    ]
    .map(|webhook| webhook.at("validate", installation))
    .into()
}

/// Correctness never depends on these.
fn mutating(installation: &Installation) -> Vec<Value> {
    [
        (Kind::NetworkConfig, &["CREATE", "UPDATE"][..]),
        (Kind::VmNetwork, &["CREATE", "UPDATE"]),
        (Kind::Vm, &["CREATE", "UPDATE"]),
        (Kind::Vmi, &["CREATE"]),
    ]
    .map(|(kind, operations)| {
        Webhook { kind, operations, refuses: false, conditions: Vec::new() }
            .at("mutate", installation)
    })
    .into()
}

/// An expression of the new object or the old one; there is no new one on a delete, no old one on a
/// create.
fn either(holds: impl Fn(&str) -> String) -> String {
    let one = |object: &str| format!("{object} != null && ({})", holds(object));
    format!("{} || {}", one("object"), one("oldObject"))
}

/// Whether a VM network is any business of ours: it has our label, or a bridge that may be a
/// cluster network's.
fn is_ours(object: &str) -> String {
    let label = "'network.harvesterhci.io/clusternetwork'";
    format!(
        "has({object}.metadata.labels) && {label} in {object}.metadata.labels || \
         has({object}.spec) && has({object}.spec.config) && {object}.spec.config.contains('-br')"
    )
}

/// All but trusted users' writes of configs that are `mgmt`'s before and after.
fn not_the_agents(installation: &Installation) -> String {
    let users: Vec<String> =
        installation.trusted_users.iter().map(|user| format!("'{}'", quoted(user))).collect();
    let is_of_another = |object: &str| {
        format!(
            "has({object}.spec) && has({object}.spec.clusterNetwork) && \
             {object}.spec.clusterNetwork != '{MGMT}'"
        )
    };
    format!("!(request.userInfo.username in [{}]) || {}", users.join(", "), either(is_of_another))
}

/// A text within CEL's single quotes.
fn quoted(text: &str) -> String {
    text.replace('\\', r"\\").replace('\'', r"\'")
}

/// Whether the object is new, or one of these fields differs from what it was. `object.?a.?b` is
/// absent where `a` is, and no error.
fn changes(fields: &[&str]) -> String {
    let differs = |field: &&str| format!("object.{field} != oldObject.{field}");
    let differs: Vec<String> = fields.iter().map(differs).collect();
    format!("request.operation == 'CREATE' || {}", differs.join(" || "))
}
