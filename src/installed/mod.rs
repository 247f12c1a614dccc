//! The objects of our own installation: their names and paths, and those that hold certificates: the
//! Secret, and the webhook configurations with the CAs that the API server trusts.

mod secret;
mod webhooks;

use std::time::Duration;

pub use secret::{SECRET, Secret, SecretError, repair};
pub use webhooks::{Configuration, WebhookError, Webhooks};

/// The name of all our objects but the Secret. The API server calls mutating webhooks in the order of
/// their configurations' names, so ours come after Harvester's `harvester-…`, which rewrite the
/// affinity of a VM on every write.
pub const NAME: &str = "lanekeeper";

/// How long a Lease is held without a renewal, at least. A shorter time in it was written by hand, and
/// its holder may still lead. Kubernetes' own components use this value.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);

/// The path of the leader's Lease.
#[must_use]
pub fn lease_path(namespace: &str) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{NAME}")
}

/// The path of the Deployment.
#[must_use]
pub fn deployment_path(namespace: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/deployments/{NAME}")
}
