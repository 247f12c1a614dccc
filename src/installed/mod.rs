//! The objects of our own installation that hold certificates: the Secret, and the webhook
//! configurations with the CAs that the API server trusts.

mod secret;
mod webhooks;

pub use secret::{SECRET, Secret, SecretError, data_of};
pub use webhooks::{Configuration, WebhookError, Webhooks};

/// The name of all our objects but the Secret. The API server calls mutating webhooks in the order of
/// their configurations' names, so ours come after Harvester's `harvester-…`, which rewrite the
/// affinity of a VM on every write.
pub const NAME: &str = "lanekeeper";
