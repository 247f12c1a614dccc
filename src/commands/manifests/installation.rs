//! What an installation is: its parameters, and what all its objects share.

use serde_json::{Value, json};

pub(super) use crate::installed::{NAME, SECRET};

/// The Secret in which cert-manager keeps the serving certificate.
pub(super) const CERT_MANAGER_SECRET: &str = "lanekeeper-cert";

/// The port of the Service, for webhooks and scheduler.
pub(super) const SERVICE_PORT: u16 = 443;

/// The parameters of an installation.
#[derive(Clone, Debug)]
pub struct Installation {
    /// What the cluster is.
    pub overlay: Overlay,
    /// The namespace of Lanekeeper.
    pub namespace: String,
    /// Where the server runs.
    pub server: Server,
    /// Who issues the serving certificate.
    pub certificate: Issuer,
    /// The CA certificates that verify the serving certificate, in PEM. Without any, the leader or
    /// cert-manager writes them into the webhook configurations.
    pub ca: Option<Vec<u8>>,
    /// The trusted users, whose writes of the records of `mgmt` are not sent.
    pub trusted_users: Vec<String>,
}

/// What a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlay {
    /// A cluster with KubeVirt and Multus.
    KubeVirt,
    /// A Harvester cluster. It has the definitions of cluster networks, and programs that label
    /// hosts and keep statuses.
    Harvester,
}

/// Where the server runs.
#[derive(Clone, Debug)]
pub enum Server {
    /// In the cluster, behind a Service.
    InCluster {
        /// The container image.
        image: String,
        /// The number of replicas.
        replicas: u16,
    },
    /// Outside the cluster, at this base URL.
    At(String),
}

/// Who issues the serving certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// The leader, which keeps it in the Secret `lanekeeper-tls`.
    Leader,
    /// cert-manager, which keeps it in the Secret `lanekeeper-cert`.
    CertManager,
}

impl Installation {
    /// An object of the installation in its namespace, without its content.
    pub(super) fn object(&self, api_version: &str, kind: &str, name: &str) -> Value {
        let mut object = cluster_object(api_version, kind, name);
        set(&mut object, &["metadata", "namespace"], json!(self.namespace));
        object
    }

    /// The DNS names of the Service, the one that the API server calls first.
    pub(super) fn service_names(&self) -> [String; 3] {
        let name = service_name(&self.namespace);
        [name.clone(), format!("{name}.cluster.local"), format!("{NAME}.{}", self.namespace)]
    }
}

/// The DNS name of the Service, as the API server calls it.
pub(super) fn service_name(namespace: &str) -> String {
    format!("{NAME}.{namespace}.svc")
}

/// A cluster-scoped object of an installation, without its content.
pub(super) fn cluster_object(api_version: &str, kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": { "name": name, "labels": { "app.kubernetes.io/name": NAME } },
    })
}

/// Adds members to an object.
pub(super) fn with(mut object: Value, members: Value) -> Value {
    if let (Some(object), Value::Object(members)) = (object.as_object_mut(), members) {
        object.extend(members);
    }
    object
}

/// Sets a member, and makes the objects on the way to it.
pub(super) fn set(value: &mut Value, path: &[&str], to: Value) {
    match path {
        [] => *value = to,
        [first, rest @ ..] => {
            if !value.is_object() {
                *value = json!({});
            }
            if let Some(members) = value.as_object_mut() {
                set(members.entry(*first).or_insert(Value::Null), rest, to);
            }
        }
    }
}
