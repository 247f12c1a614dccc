//! The account and its rights. docs/reference.md, "Access rights", says what each is for.

use serde_json::{Value, json};

use crate::cluster::Kind;
use crate::k8s::objects::group_and_version;

use super::installation::{Installation, Issuer, NAME, Overlay, SECRET, cluster_object, with};

/// The API group of roles.
pub(super) const RBAC: &str = "rbac.authorization.k8s.io";

/// The account, its roles, and the objects that it may change and not create.
pub(super) fn documents(installation: &Installation) -> Vec<Value> {
    let issues_certificates = installation.certificate == Issuer::Leader;
    let mut documents = vec![
        installation.object("v1", "ServiceAccount", NAME),
        with(
            cluster_object(&format!("{RBAC}/v1"), "ClusterRole", NAME),
            json!({ "rules": cluster_rules(installation) }),
        ),
        with(
            cluster_object(&format!("{RBAC}/v1"), "ClusterRoleBinding", NAME),
            binding("ClusterRole", NAME, NAME, &installation.namespace),
        ),
        with(
            installation.object(&format!("{RBAC}/v1"), "Role", NAME),
            json!({ "rules": rules(installation) }),
        ),
        with(
            installation.object(&format!("{RBAC}/v1"), "RoleBinding", NAME),
            binding("Role", NAME, NAME, &installation.namespace),
        ),
        // A right to create can't be limited to a name, so these are made empty.
        with(installation.object("coordination.k8s.io/v1", "Lease", NAME), json!({ "spec": {} })),
    ];
    if issues_certificates {
        let secret = installation.object("v1", "Secret", SECRET);
        documents.push(with(secret, json!({ "type": "Opaque" })));
    }
    documents
}

/// What gives an account of a namespace the rights of a role.
pub(super) fn binding(kind: &str, role: &str, account: &str, namespace: &str) -> Value {
    json!({
        "roleRef": { "apiGroup": RBAC, "kind": kind, "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": namespace }],
    })
}

/// The rights in the whole cluster.
fn cluster_rules(installation: &Installation) -> Vec<Value> {
    let mut rules = Vec::new();
    // What only some installations have comes first, where kustomize's patches take it away by its
    // number (manifests/components/cert-manager and manifests/overlays/harvester).
    if installation.certificate == Issuer::Leader {
        let group = "admissionregistration.k8s.io";
        let kinds = ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"];
        rules
            .push(with(rule(group, &kinds, &["get", "patch"]), json!({ "resourceNames": [NAME] })));
    }
    if installation.overlay == Overlay::KubeVirt {
        rules.push(writing(Kind::ClusterNetwork, &["create", "patch"]));
        rules.push(writing(Kind::VmNetwork, &["patch"]));
    }
    rules.extend(Kind::ALL.into_iter().map(reading));
    rules.push(rule("", &["nodes"], &["patch"]));
    rules.push(rule("", &["pods/status"], &["patch"]));
    rules.push(rule("", &["events"], &["create"]));
    rules
}

/// Every kind is listed and watched. Single objects are read of the kinds that reviews look up, and
/// of hosts, which the leader looks at before it nominates one.
fn reading(kind: Kind) -> Value {
    let single = matches!(
        kind,
        Kind::ClusterNetwork | Kind::VmNetwork | Kind::Vmi | Kind::LauncherPod | Kind::Host
    );
    writing(kind, if single { &["get", "list", "watch"] } else { &["list", "watch"] })
}

fn writing(kind: Kind, verbs: &[&str]) -> Value {
    let (group, _) = group_and_version(kind);
    rule(group, &[kind.plural()], verbs)
}

/// The rights in the installation's namespace.
fn rules(installation: &Installation) -> Vec<Value> {
    let named = |group: &str, resource: &str, verbs: &[&str], name: &str| {
        with(rule(group, &[resource], verbs), json!({ "resourceNames": [name] }))
    };
    let mut rules = Vec::new();
    if installation.certificate == Issuer::Leader {
        // manifests/components/cert-manager takes these two away by their numbers.
        rules.push(named("", "secrets", &["get", "update"], SECRET));
        // The Service's address is a name in the serving certificate.
        rules.push(named("", "services", &["get"], NAME));
    }
    rules.push(named("coordination.k8s.io", "leases", &["get", "update"], NAME));
    rules
}

/// A rule of a role.
pub(super) fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({ "apiGroups": [group], "resources": resources, "verbs": verbs })
}
