//! Why cleanup did nothing, or not all.

use std::time::Duration;

use crate::api::{ConnectError, Error as ApiError};
use crate::commands::NAME;
use crate::view::WriteError;

/// Why nothing was cleaned, or not all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server can't be connected to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A request failed on which the next step depends.
    #[error("can't {what}: {why}; nothing else was done")]
    Request {
        /// What was asked for.
        what: String,
        /// Why it failed.
        why: ApiError,
    },
    /// The namespace has no Lease, but another one has: its leader would not be seen.
    #[error(
        "there is no Lease {namespace}/{NAME}, but {found}/{NAME}: run cleanup with --namespace \
         {found}; nothing was done"
    )]
    Elsewhere {
        /// The namespace that was given.
        namespace: String,
        /// The namespace of the Lease.
        found: String,
    },
    /// A leader still holds the Lease.
    #[error(
        "{holder} still holds the Lease {namespace}/{NAME} after {} s; the webhook configurations \
         are deleted, and nothing else was done. {remedy}, and run cleanup again",
        waited.as_secs()
    )]
    Leader {
        /// The leader.
        holder: String,
        /// The namespace of the Lease.
        namespace: String,
        /// How long it was waited for.
        waited: Duration,
        /// How to stop the leader.
        remedy: String,
    },
    /// The answer can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}
