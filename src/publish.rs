//! One publisher, any number of readers that never wait for it: a request takes what is current
//! and keeps it to its end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::cluster::{Kind, Snapshot};

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

/// A watch that is broken for longer than this keeps us from being ready.
const BROKEN_FOR: Duration = Duration::from_secs(30);

/// How a source's watches do, kind by kind. A source without any leaves it empty.
#[derive(Clone, Default)]
pub struct Watches(Arc<Mutex<BTreeMap<Kind, Watch>>>);

/// How one kind is watched.
#[derive(Default)]
struct Watch {
    /// Whether the API server does not serve the kind.
    unserved: bool,
    /// Since when the watch is broken, and why.
    broken: Option<(Instant, String)>,
}

impl Watches {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Kind, Watch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a kind is watched.
    pub fn well(&self, kind: Kind) {
        *self.all().entry(kind).or_default() = Watch::default();
    }

    /// Notes that the API server does not serve a kind.
    pub fn unserved(&self, kind: Kind) {
        *self.all().entry(kind).or_default() = Watch { unserved: true, broken: None };
    }

    /// Notes that a kind can't be watched now. Says whether that is news.
    #[must_use]
    pub fn broken(&self, kind: Kind, why: String) -> bool {
        let mut all = self.all();
        let watch = all.entry(kind).or_default();
        let (since, is_news) = match &watch.broken {
            Some((since, was)) => (*since, *was != why),
            None => (Instant::now(), true),
        };
        watch.broken = Some((since, why));
        is_news
    }

    /// The watches that have been broken for long, a line each.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let all = self.all();
        let faults = all.iter().filter_map(|(kind, watch)| {
            let (since, why) = watch.broken.as_ref()?;
            let seconds = since.elapsed().as_secs();
            let kind = kind.kubernetes();
            (since.elapsed() > BROKEN_FOR)
                .then(|| format!("the watch of {kind} has been broken for {seconds} s: {why}"))
        });
        faults.collect()
    }

    /// The kinds that the API server does not serve.
    #[must_use]
    pub fn missing(&self) -> Vec<Kind> {
        self.all().iter().filter(|(_, watch)| watch.unserved).map(|(kind, _)| *kind).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_is_broken_for_long_is_a_fault_and_one_that_is_well_again_is_none() {
        let watches = Watches::default();
        assert!(watches.broken(Kind::Host, "refused".to_owned()));
        assert!(!watches.broken(Kind::Host, "refused".to_owned()), "no news");
        assert!(watches.faults().is_empty(), "not for long");
        let long_ago = Instant::now().checked_sub(BROKEN_FOR + Duration::from_secs(1)).unwrap();
        for watch in watches.all().values_mut() {
            watch.broken.as_mut().unwrap().0 = long_ago;
        }
        assert!(watches.broken(Kind::Host, "reset".to_owned()), "other news");
        assert_eq!(
            watches.faults(),
            ["the watch of Node has been broken for 31 s: reset"],
            "it counts from when it broke"
        );
        watches.well(Kind::Host);
        assert!(watches.faults().is_empty());
    }

    #[test]
    fn a_kind_is_missing_until_it_is_watched() {
        let watches = Watches::default();
        watches.unserved(Kind::Vm);
        assert_eq!(watches.missing(), [Kind::Vm]);
        assert!(watches.broken(Kind::Vm, "refused".to_owned()));
        assert_eq!(watches.missing(), [Kind::Vm]);
        watches.well(Kind::Vm);
        assert!(watches.missing().is_empty());
    }
}
