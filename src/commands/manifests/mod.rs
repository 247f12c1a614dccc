//! `lanekeeper manifests`: prints everything that an installation applies, in an order that can be
//! applied (docs/reference.md, "Installation").

mod access;
mod certificates;
mod configuration;
mod installation;
mod second;
mod webhooks;
mod wiring;
mod workload;

use serde_json::{Value, json};

use crate::k8s::crds;

use crate::view::{WriteError, to_yaml};
use installation::{cluster_object, set};

pub use installation::{Installation, Issuer, Overlay, Server};
pub use wiring::{Address, Hosts, Scheduler, Wiring, wiring};
pub(super) use workload::{container_security, pod_security};

/// Writes all documents as one stream of YAML.
///
/// # Errors
/// If a document can't be written.
pub fn manifests(installation: &Installation) -> Result<String, WriteError> {
    stream(&documents(installation)?)
}

/// The webhook configurations of an installation, without their addresses and CA.
pub(super) fn webhook_configurations(namespace: &str) -> Vec<Value> {
    webhooks::documents(&Installation {
        overlay: Overlay::KubeVirt,
        namespace: namespace.to_owned(),
        server: Server::At(String::new()),
        certificate: Issuer::Leader,
        ca: None,
        trusted_users: Vec::new(),
    })
}

/// Writes documents as one stream of YAML.
fn stream(documents: &[Value]) -> Result<String, WriteError> {
    let mut text = String::new();
    for document in documents {
        text.push_str("---\n");
        text.push_str(&to_yaml(document)?);
    }
    Ok(text)
}

/// All documents, in an order that can be applied.
///
/// # Errors
/// If a document can't be written.
pub fn documents(installation: &Installation) -> Result<Vec<Value>, WriteError> {
    let mut documents = Vec::new();
    // Harvester has these definitions, and upgrades them with itself.
    if installation.overlay == Overlay::KubeVirt {
        for definition in crds::definitions() {
            documents.push(serde_json::to_value(definition)?);
        }
    }
    documents.push(namespace(installation));
    documents.extend(access::documents(installation));
    if installation.certificate == Issuer::CertManager {
        documents.extend(certificates::documents(installation));
    }
    if let Server::InCluster { image, replicas } = &installation.server {
        documents.extend(workload::documents(installation, image, *replicas));
    }
    documents.extend(webhooks::documents(installation));
    Ok(documents)
}

/// The namespace, whose pods must meet the strictest of the Pod Security Standards.
fn namespace(installation: &Installation) -> Value {
    let mut namespace = cluster_object("v1", "Namespace", &installation.namespace);
    let label = "pod-security.kubernetes.io/enforce";
    set(&mut namespace, &["metadata", "labels", label], json!("restricted"));
    namespace
}
