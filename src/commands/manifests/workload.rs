//! What runs in the cluster: the Deployment and what stands before it.

use serde_json::{Value, json};

use crate::k8s::{TRUSTED_USERS, WITNESS_LABEL};

use super::installation::{
    CERT_MANAGER_SECRET, Installation, Issuer, NAME, Overlay, SERVICE_PORT, set, with,
};

/// The ports of the container, which are those that `serve` listens on by default.
const HTTPS_PORT: u16 = 8443;
const HTTP_PORT: u16 = 8080;

/// The user of our containers, one without rights that has no entry in any image's `/etc/passwd`
/// but that of distroless images.
pub(super) const USER: u32 = 65532;

/// Where the Secret of cert-manager is mounted.
const TLS_FOLDER: &str = "/etc/lanekeeper/tls";

/// How long a pod may take to end. `serve` goes on for 3 s after SIGTERM, gives requests in flight
/// 20 s, writes in flight 5 s, and has another 5 s to give up the Lease.
const GRACE_PERIOD_SECONDS: u16 = 40;

/// The documents, without those that have no use for a single replica.
pub(super) fn documents(installation: &Installation, image: &str, replicas: u16) -> Vec<Value> {
    let mut documents = vec![service(installation)];
    // With a single replica, a budget would forbid every drain of its host, or allow all.
    if replicas > 1 {
        documents.push(disruption_budget(installation));
    }
    documents.push(network_policy(installation));
    documents.push(deployment(installation, image, replicas));
    documents
}

fn selector() -> Value {
    json!({ "app.kubernetes.io/name": NAME })
}

fn service(installation: &Installation) -> Value {
    with(
        installation.object("v1", "Service", NAME),
        json!({ "spec": {
            "selector": selector(),
            "ports": [{ "name": "https", "port": SERVICE_PORT, "targetPort": "https" }],
        } }),
    )
}

/// A drain takes one replica after the other. One that is not ready anyway never blocks a drain.
fn disruption_budget(installation: &Installation) -> Value {
    with(
        installation.object("policy/v1", "PodDisruptionBudget", NAME),
        json!({ "spec": {
            "maxUnavailable": 1,
            "selector": { "matchLabels": selector() },
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        } }),
    )
}

/// Only the two ports can be reached, from anywhere: API server, kube-scheduler and kubelet use the
/// network of their host, which no selector matches. What leaves the pod is not restricted, since
/// the API server's address and port differ from cluster to cluster, and a rule that misses it would
/// stop Lanekeeper.
fn network_policy(installation: &Installation) -> Value {
    let port = |number: u16| json!({ "protocol": "TCP", "port": number });
    with(
        installation.object("networking.k8s.io/v1", "NetworkPolicy", NAME),
        json!({ "spec": {
            "podSelector": { "matchLabels": selector() },
            "policyTypes": ["Ingress"],
            "ingress": [{ "ports": [port(HTTPS_PORT), port(HTTP_PORT)] }],
        } }),
    )
}

fn deployment(installation: &Installation, image: &str, replicas: u16) -> Value {
    with(
        installation.object("apps/v1", "Deployment", NAME),
        json!({ "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 3,
            "selector": { "matchLabels": selector() },
            // A new replica is ready before an old one goes.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 },
            },
            "template": {
                "metadata": { "labels": selector() },
                "spec": pod(installation, image),
            },
        } }),
    )
}

fn pod(installation: &Installation, image: &str) -> Value {
    let mut pod = json!({
        "serviceAccountName": NAME,
        "automountServiceAccountToken": true,
        "enableServiceLinks": false,
        // VM pods wait for us, so that nothing that they may preempt is to preempt us.
        "priorityClassName": "system-cluster-critical",
        "terminationGracePeriodSeconds": GRACE_PERIOD_SECONDS,
        "securityContext": pod_security(),
        "affinity": { "nodeAffinity": node_affinity() },
        "tolerations": tolerations(),
        "topologySpreadConstraints": spread(NAME),
        "containers": [container(installation, image)],
    });
    if installation.certificate == Issuer::CertManager {
        set(&mut pod, &["securityContext", "fsGroup"], json!(USER));
        let volume = json!([{
            "name": "tls",
            "secret": { "secretName": CERT_MANAGER_SECRET, "defaultMode": 0o440 },
        }]);
        set(&mut pod, &["volumes"], volume);
    }
    pod
}

/// The security context of a pod that passes the Pod Security Standard `restricted`.
pub fn pod_security() -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": USER,
        "runAsGroup": USER,
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

/// The security context of a container of such a pod.
pub fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    })
}

/// Control-plane hosts are preferred, since they are the last to be drained, and never required. A
/// witness host has no room for more than etcd.
pub(super) fn node_affinity() -> Value {
    let expression = |key: &str, operator: &str| json!({ "matchExpressions": [{ "key": key, "operator": operator }] });
    let mut not_a_witness = expression(WITNESS_LABEL, "NotIn");
    if let Some(expression) = not_a_witness.pointer_mut("/matchExpressions/0") {
        set(expression, &["values"], json!(["true"]));
    }
    json!({
        "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [not_a_witness] },
        "preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 100,
            "preference": expression("node-role.kubernetes.io/control-plane", "Exists"),
        }],
    })
}

/// The taints of control-plane hosts: kubeadm's, and those that RKE2 and Harvester add.
pub(super) fn tolerations() -> Value {
    let keys = [
        "node-role.kubernetes.io/control-plane",
        "node-role.kubernetes.io/etcd",
        "CriticalAddonsOnly",
    ];
    keys.map(|key| json!({ "key": key, "operator": "Exists" })).into()
}

/// Replicas are on different hosts, unless only one host can take them. Hosts with taints that
/// are not tolerated do not count, so that a lone or cordoned-off host does not hold up a replica,
/// and neither do the replicas of an older version, so that an update ends spread out too.
pub(super) fn spread(name: &str) -> Value {
    json!([{
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "nodeTaintsPolicy": "Honor",
        "matchLabelKeys": ["pod-template-hash"],
        "labelSelector": { "matchLabels": { "app.kubernetes.io/name": name } },
    }])
}

fn container(installation: &Installation, image: &str) -> Value {
    let from_pod = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let probe = |path: &str, period: u16, failures: u16| {
        json!({
            "httpGet": { "path": path, "port": "http" },
            "periodSeconds": period,
            "timeoutSeconds": 5,
            "failureThreshold": failures,
        })
    };
    let mut container = json!({
        "name": NAME,
        "image": image,
        "args": arguments(installation),
        "env": [
            from_pod("POD_NAME", "metadata.name"),
            from_pod("POD_NAMESPACE", "metadata.namespace"),
        ],
        "ports": [
            { "name": "https", "containerPort": HTTPS_PORT },
            { "name": "http", "containerPort": HTTP_PORT },
        ],
        "startupProbe": probe("/livez", 1, 60),
        "livenessProbe": probe("/livez", 10, 3),
        "readinessProbe": probe("/readyz", 2, 2),
        // There is no limit of CPU: a throttled extender would hold up the scheduler for every pod.
        // The limit of memory leaves room for the index beside `--max-body-memory` (256 MiB).
        "resources": {
            "requests": { "cpu": "100m", "memory": "128Mi" },
            "limits": { "memory": "768Mi" },
        },
        "securityContext": container_security(),
    });
    if installation.certificate == Issuer::CertManager {
        let mount = json!([{ "name": "tls", "mountPath": TLS_FOLDER, "readOnly": true }]);
        set(&mut container, &["volumeMounts"], mount);
    }
    container
}

fn arguments(installation: &Installation) -> Vec<String> {
    // Pods have addresses of IPv4, IPv6 or both.
    let mut arguments =
        ["serve", "--listen=[::]:8443", "--admin-listen=[::]:8080"].map(str::to_owned).to_vec();
    if installation.overlay == Overlay::Harvester {
        // Its agent reports each uplink, and it keeps labels and statuses itself.
        let flags = ["--node-labels=external", "--activation=reported", "--strict-vm-networks"];
        arguments.extend(flags.map(str::to_owned));
    }
    if installation.certificate == Issuer::CertManager {
        arguments.push(format!("--tls-cert={TLS_FOLDER}/tls.crt"));
        arguments.push(format!("--tls-key={TLS_FOLDER}/tls.key"));
    }
    if installation.trusted_users != TRUSTED_USERS {
        let users = installation.trusted_users.iter();
        arguments.extend(users.map(|user| format!("--trusted-user={user}")));
    }
    arguments
}
