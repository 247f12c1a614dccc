//! One publisher, any number of readers that never wait for it: a request takes what is current
//! and keeps it to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::cluster::Snapshot;

/// What there is to read.
#[expect(clippy::large_enum_variant, reason = "there is one, behind an Arc")]
pub enum Published {
    /// No snapshot yet, and what is being waited for.
    Waiting(Vec<String>),
    /// The current snapshot.
    Synced {
        /// What is known.
        snapshot: Snapshot,
        /// When it became so.
        at: Instant,
        /// How long it took to take in what changed.
        took: Duration,
    },
}

impl Published {
    /// The snapshot, once there is one.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Snapshot> {
        match self {
            Self::Waiting(_) => None,
            Self::Synced { snapshot, .. } => Some(snapshot),
        }
    }
}

/// The one place that snapshots come from.
pub struct Publisher(Arc<ArcSwap<Published>>);

/// Reads what is current, without waiting.
#[derive(Clone)]
pub struct Reader(Arc<ArcSwap<Published>>);

/// A publisher and its first reader; nothing is known yet.
#[must_use]
pub fn channel() -> (Publisher, Reader) {
    let cell = Arc::new(ArcSwap::from_pointee(Published::Waiting(vec!["nothing read yet".into()])));
    (Publisher(cell.clone()), Reader(cell))
}

impl Publisher {
    /// Says what is being waited for, before there is any snapshot.
    pub fn waiting(&self, what: Vec<String>) {
        self.0.store(Arc::new(Published::Waiting(what)));
    }

    /// Makes a snapshot the current one; `took` is how long it took to take in what changed.
    pub fn publish(&self, snapshot: Snapshot, took: Duration) {
        self.0.store(Arc::new(Published::Synced { snapshot, at: Instant::now(), took }));
    }
}

impl Reader {
    /// What is current.
    #[must_use]
    pub fn current(&self) -> Arc<Published> {
        self.0.load_full()
    }
}
