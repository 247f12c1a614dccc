//! One publisher and any number of readers, which never wait for it: a request uses one snapshot
//! from its beginning to its end. A reader that acts on changes can wait for the next version.

mod watches;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::cluster::Snapshot;

pub use watches::Watches;

/// The current state of publication.
#[expect(clippy::large_enum_variant, reason = "there is one, behind an Arc")]
pub enum Published {
    /// No snapshot yet, for these reasons.
    Waiting(Vec<String>),
    /// The current snapshot.
    Synced {
        /// The snapshot.
        snapshot: Snapshot,
        /// The number of snapshots published so far, including this one.
        version: u64,
        /// When it was published.
        at: Instant,
        /// How long it took to apply the changes and publish.
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

/// Publishes snapshots.
pub struct Publisher {
    current: Arc<ArcSwap<Published>>,
    version: watch::Sender<u64>,
}

/// Reads the current snapshot, without waiting for the publisher.
#[derive(Clone)]
pub struct Snapshots {
    current: Arc<ArcSwap<Published>>,
    version: watch::Receiver<u64>,
}

/// A publisher and its first reader. There is no snapshot yet.
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
    /// Publishes why there is no snapshot yet.
    pub fn waiting(&self, what: Vec<String>) {
        self.current.store(Arc::new(Published::Waiting(what)));
    }

    /// Publishes a snapshot. `took` is how long it took to apply the changes.
    pub fn publish(&self, snapshot: Snapshot, took: Duration) {
        let version = *self.version.borrow() + 1;
        let at = Instant::now();
        self.current.store(Arc::new(Published::Synced { snapshot, version, at, took }));
        self.version.send_replace(version);
    }
}

impl Snapshots {
    /// The current state.
    #[must_use]
    pub fn current(&self) -> Arc<Published> {
        self.current.load_full()
    }

    /// Waits for a snapshot that is newer than the last one that this handle returned. Skips
    /// snapshots in between. Returns `None` once the publisher is gone.
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
    async fn the_next_version_is_awaited_and_those_in_between_are_skipped() {
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
