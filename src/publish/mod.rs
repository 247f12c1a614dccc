//! One publisher, any number of readers that never wait for it: a request takes what is current
//! and keeps it to its end. Whoever acts on changes waits for the next version.

mod watches;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::cluster::Snapshot;

pub use watches::Watches;

/// What there is to read.
#[expect(clippy::large_enum_variant, reason = "there is one, behind an Arc")]
pub enum Published {
    /// No snapshot yet, and what is being waited for.
    Waiting(Vec<String>),
    /// The current snapshot.
    Synced {
        /// What is known.
        snapshot: Snapshot,
        /// Counts the snapshots that were published, this one included.
        version: u64,
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
pub struct Publisher {
    current: Arc<ArcSwap<Published>>,
    version: watch::Sender<u64>,
}

/// Reads what is current, without waiting for a writer.
#[derive(Clone)]
pub struct Snapshots {
    current: Arc<ArcSwap<Published>>,
    version: watch::Receiver<u64>,
}

/// A publisher and its first reader; nothing is known yet.
#[must_use]
pub fn channel() -> (Publisher, Snapshots) {
    let current =
        Arc::new(ArcSwap::from_pointee(Published::Waiting(vec!["nothing read yet".into()])));
    let (sender, receiver) = watch::channel(0);
    (
        Publisher { current: current.clone(), version: sender },
        Snapshots { current, version: receiver },
    )
}

impl Publisher {
    /// Says what is being waited for, while there is no snapshot.
    pub fn waiting(&self, what: Vec<String>) {
        self.current.store(Arc::new(Published::Waiting(what)));
    }

    /// Makes a snapshot the current one; `took` is how long it took to take in what changed.
    pub fn publish(&self, snapshot: Snapshot, took: Duration) {
        let version = *self.version.borrow() + 1;
        let at = Instant::now();
        self.current.store(Arc::new(Published::Synced { snapshot, version, at, took }));
        self.version.send_replace(version);
    }
}

impl Snapshots {
    /// What is current.
    #[must_use]
    pub fn current(&self) -> Arc<Published> {
        self.current.load_full()
    }

    /// Waits for a snapshot that this handle has not waited for yet, and returns it; those in
    /// between are passed over. Returns nothing once there will be no other.
    pub async fn next(&mut self) -> Option<(Snapshot, u64)> {
        loop {
            self.version.changed().await.ok()?;
            self.version.mark_unchanged();
            if let Published::Synced { snapshot, version, .. } = &*self.current() {
                return Some((snapshot.clone(), *version));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Index, Kind, Options};

    fn snapshot() -> Snapshot {
        let mut index = Index::new(Options::default());
        for kind in Kind::ALL {
            index.listed(kind);
        }
        index.snapshot().unwrap()
    }

    #[tokio::test]
    async fn the_next_version_is_awaited_and_those_in_between_are_passed_over() {
        let (publisher, mut snapshots) = channel();
        publisher.waiting(vec!["hosts".to_owned()]);
        assert!(snapshots.current().snapshot().is_none());
        let next = tokio::spawn({
            let mut snapshots = snapshots.clone();
            async move { snapshots.next().await.unwrap().1 }
        });
        publisher.publish(snapshot(), Duration::ZERO);
        assert_eq!(next.await.unwrap(), 1);
        publisher.publish(snapshot(), Duration::ZERO);
        publisher.publish(snapshot(), Duration::ZERO);
        assert_eq!(snapshots.next().await.unwrap().1, 3);
        drop(publisher);
        assert!(snapshots.next().await.is_none());
    }
}
