//! A second kube-scheduler, for a cluster whose control plane can't be edited.

use serde_json::{Value, json};

use crate::view::{WriteError, to_yaml};

use super::access::{RBAC, binding, rule};
use super::configuration::{Trust, configuration};
use super::installation::{
    CERT_MANAGER_SECRET, Issuer, SECRET, SERVICE_PORT, cluster_object, service_name, set, with,
};
use super::workload::{container_security, node_affinity, pod_security, spread, tolerations};

/// The name of its objects, and what VMs name as their scheduler.
const NAME: &str = "lanekeeper-scheduler";
/// The secure port of kube-scheduler.
const PORT: u16 = 10259;
/// Where its configuration and the CA are mounted.
const CONFIGURATION_FOLDER: &str = "/etc/lanekeeper/scheduler";
const CA_FOLDER: &str = "/etc/lanekeeper/ca";

/// What is to be done with the documents.
pub(super) fn steps() -> String {
    format!(
        "\
A second kube-scheduler, which asks Lanekeeper. Apply this with `kubectl apply --server-side -f -`.

VMs that it is to place name it:

    spec:
      template:
        spec:
          schedulerName: {NAME}

Its image is to be of the version of the cluster: see --scheduler-image. It reads the CA only when it
starts. After a change of the CA, run `kubectl rollout restart deployment {NAME}` in
the namespace."
    )
}

/// The documents, in an order that can be applied.
pub(super) fn documents(
    namespace: &str,
    image: &str,
    outside: Option<(&str, &[u8])>,
    certificate: Issuer,
) -> Result<Vec<Value>, WriteError> {
    let in_cluster = |api_version: &str, kind: &str, name: &str, content: Value| {
        let mut object = cluster_object(api_version, kind, name);
        set(&mut object, &["metadata", "labels"], labels());
        with(object, content)
    };
    let object = |namespace: &str, api_version: &str, kind: &str, content: Value| {
        let mut object = in_cluster(api_version, kind, NAME, content);
        set(&mut object, &["metadata", "namespace"], json!(namespace));
        object
    };
    let rbac = format!("{RBAC}/v1");
    let bound = |kind: &str, role: &str| binding(kind, role, NAME, namespace);
    let lease = rule("coordination.k8s.io", &["leases"], &["get", "update"]);
    let lease = with(lease, json!({ "resourceNames": [NAME] }));
    let configuration = to_yaml(&scheduler(namespace, outside)?)?;
    let secret = outside.is_none().then_some(match certificate {
        Issuer::Leader => (SECRET, "bundle.crt"),
        Issuer::CertManager => (CERT_MANAGER_SECRET, "ca.crt"),
    });
    Ok(vec![
        object(namespace, "v1", "ServiceAccount", json!({})),
        in_cluster(
            &rbac,
            "ClusterRoleBinding",
            NAME,
            bound("ClusterRole", "system:kube-scheduler"),
        ),
        in_cluster(
            &rbac,
            "ClusterRoleBinding",
            &format!("{NAME}-volumes"),
            bound("ClusterRole", "system:volume-scheduler"),
        ),
        object(
            "kube-system",
            &rbac,
            "RoleBinding",
            bound("Role", "extension-apiserver-authentication-reader"),
        ),
        object(namespace, &rbac, "Role", json!({ "rules": [lease] })),
        object(namespace, &rbac, "RoleBinding", bound("Role", NAME)),
        object(namespace, "coordination.k8s.io/v1", "Lease", json!({ "spec": {} })),
        object(
            namespace,
            "v1",
            "ConfigMap",
            json!({ "data": { "scheduler.yaml": configuration } }),
        ),
        object(
            namespace,
            "policy/v1",
            "PodDisruptionBudget",
            json!({ "spec": {
                "maxUnavailable": 1,
                "selector": { "matchLabels": labels() },
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            } }),
        ),
        object(
            namespace,
            "apps/v1",
            "Deployment",
            json!({ "spec": {
                "replicas": 2,
                "revisionHistoryLimit": 3,
                "selector": { "matchLabels": labels() },
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 },
                },
                "template": { "metadata": { "labels": labels() }, "spec": pod(image, secret) },
            } }),
        ),
    ])
}

fn labels() -> Value {
    json!({ "app.kubernetes.io/name": NAME })
}

/// The configuration of the scheduler, which has a name and a Lease of its own.
fn scheduler(namespace: &str, outside: Option<(&str, &[u8])>) -> Result<Value, WriteError> {
    let mut configuration = if let Some((url, ca)) = outside {
        configuration(url, &Trust::Certificates { ca, server_name: None }, None)?
    } else {
        let url = format!("https://{}:{SERVICE_PORT}", service_name(namespace));
        configuration(&url, &Trust::File(&format!("{CA_FOLDER}/ca.crt")), None)?
    };
    let election = json!({
        "leaderElect": true, "resourceName": NAME, "resourceNamespace": namespace,
    });
    set(&mut configuration, &["leaderElection"], election);
    set(&mut configuration, &["profiles"], json!([{ "schedulerName": NAME }]));
    Ok(configuration)
}

/// A pod of the scheduler, with the CA of this Secret and key. The kubelet starts it once the Secret
/// has the key.
fn pod(image: &str, secret: Option<(&str, &str)>) -> Value {
    let probe = |period: u16, failures: u16| {
        json!({
            "httpGet": { "path": "/healthz", "port": PORT, "scheme": "HTTPS" },
            "periodSeconds": period,
            "timeoutSeconds": 15,
            "failureThreshold": failures,
        })
    };
    let mut volumes = vec![json!({ "name": "scheduler", "configMap": { "name": NAME } })];
    let mut mounts = vec![json!({
        "name": "scheduler", "mountPath": CONFIGURATION_FOLDER, "readOnly": true,
    })];
    if let Some((secret, key)) = secret {
        volumes.push(json!({
            "name": "ca",
            "secret": { "secretName": secret, "items": [{ "key": key, "path": "ca.crt" }] },
        }));
        mounts.push(json!({ "name": "ca", "mountPath": CA_FOLDER, "readOnly": true }));
    }
    json!({
        "serviceAccountName": NAME,
        "automountServiceAccountToken": true,
        "enableServiceLinks": false,
        "priorityClassName": "system-cluster-critical",
        "securityContext": pod_security(),
        "affinity": { "nodeAffinity": node_affinity() },
        "tolerations": tolerations(),
        "topologySpreadConstraints": spread(NAME),
        "containers": [{
            "name": "kube-scheduler",
            "image": image,
            "command": [
                "kube-scheduler",
                format!("--config={CONFIGURATION_FOLDER}/scheduler.yaml"),
                "--profiling=false",
            ],
            "ports": [{ "name": "https", "containerPort": PORT }],
            "startupProbe": probe(5, 24),
            "livenessProbe": probe(10, 8),
            "readinessProbe": probe(5, 3),
            "resources": { "requests": { "cpu": "100m", "memory": "128Mi" } },
            "securityContext": container_security(),
            "volumeMounts": mounts,
        }],
        "volumes": volumes,
    })
}
