//! The webhook configurations: which requests are sent to Lanekeeper, and what happens to them while
//! it is unavailable (docs/reference.md, "While Lanekeeper is unavailable").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::cluster::{Kind, MGMT};
use crate::k8s::RECORD_PREFIX;
use crate::k8s::objects::group_and_version;

use super::installation::{
    Installation, Issuer, NAME, SERVICE_PORT, Server, cluster_object, set, with,
};

/// The annotation that makes cert-manager write its CA into a webhook configuration.
const INJECT_CA: &str = "cert-manager.io/inject-ca-from";

/// Both configurations.
pub(super) fn documents(installation: &Installation) -> Vec<Value> {
    [
        ("ValidatingWebhookConfiguration", validating(installation)),
        ("MutatingWebhookConfiguration", mutating(installation)),
    ]
    .map(|(kind, webhooks)| {
        let mut document = cluster_object("admissionregistration.k8s.io/v1", kind, NAME);
        if installation.certificate == Issuer::CertManager {
            let certificate = format!("{}/{NAME}", installation.namespace);
            set(&mut document, &["metadata", "annotations", INJECT_CA], json!(certificate));
        }
        with(document, json!({ "webhooks": webhooks }))
    })
    .into()
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
            "clientConfig": client_config(path, installation),
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

/// How the API server reaches a webhook.
fn client_config(path: &str, installation: &Installation) -> Value {
    let mut config = match &installation.server {
        Server::At(url) => json!({ "url": format!("{url}/{path}") }),
        Server::InCluster { .. } => json!({ "service": {
            "namespace": installation.namespace,
            "name": NAME,
            "path": format!("/{path}"),
            "port": SERVICE_PORT,
        } }),
    };
    if let Some(ca) = &installation.ca {
        set(&mut config, &["caBundle"], json!(STANDARD.encode(ca)));
    }
    config
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
