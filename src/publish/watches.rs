//! The health of a live source's watches, for probes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::Kind;

/// We are not ready if a watch has been broken for longer than this.
const MAX_BROKEN: Duration = Duration::from_secs(30);

/// The health of a source's watches, by kind. It stays empty for a source without watches.
#[derive(Clone, Default)]
pub struct Watches(Arc<Mutex<BTreeMap<Kind, Watch>>>);

/// The health of one kind's watch.
#[derive(Default)]
struct Watch {
    served: Served,
    /// Since when the watch is broken, and why.
    broken: Option<(Instant, String)>,
}

/// Whether the API server serves a kind.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Served {
    #[default]
    Yes,
    /// It does not, so the kind counts as empty.
    No,
    /// No longer. The known objects still count.
    NoMore,
}

impl Watches {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Kind, Watch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks a kind as watched.
    pub fn healthy(&self, kind: Kind) {
        *self.all().entry(kind).or_default() = Watch::default();
    }

    /// Marks a kind as not served: it counts as empty.
    pub fn unserved(&self, kind: Kind) {
        *self.all().entry(kind).or_default() = Watch { served: Served::No, broken: None };
    }

    /// Marks a kind as no longer served: its known objects still count.
    pub fn withdrawn(&self, kind: Kind) {
        *self.all().entry(kind).or_default() = Watch { served: Served::NoMore, broken: None };
    }

    /// Marks a kind's watch as broken. Returns whether that, or the reason, is new.
    #[must_use]
    pub fn broken(&self, kind: Kind, why: String) -> bool {
        let mut all = self.all();
        let watch = all.entry(kind).or_default();
        let (since, is_new) = match &watch.broken {
            Some((since, was)) => (*since, *was != why),
            None => (Instant::now(), true),
        };
        watch.broken = Some((since, why));
        is_new
    }

    /// One line for each watch that has been broken for longer than `MAX_BROKEN`.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let all = self.all();
        let faults = all.iter().filter_map(|(kind, watch)| {
            let (since, why) = watch.broken.as_ref()?;
            let seconds = since.elapsed().as_secs();
            let kind = kind.kubernetes();
            (since.elapsed() > MAX_BROKEN)
                .then(|| format!("the watch of {kind} has been broken for {seconds} s: {why}"))
        });
        faults.collect()
    }

    /// The kinds that are not served and count as empty.
    #[must_use]
    pub fn missing(&self) -> Vec<Kind> {
        self.kinds(Served::No)
    }

    /// The kinds that are no longer served, but whose known objects still count.
    #[must_use]
    pub fn kept(&self) -> Vec<Kind> {
        self.kinds(Served::NoMore)
    }

    fn kinds(&self, served: Served) -> Vec<Kind> {
        self.all()
            .iter()
            .filter(|(_, watch)| watch.served == served)
            .map(|(kind, _)| *kind)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_is_broken_for_long_is_a_fault_until_it_is_healthy_again() {
        let watches = Watches::default();
        assert!(watches.broken(Kind::Host, "refused".to_owned()));
        assert!(!watches.broken(Kind::Host, "refused".to_owned()), "the same reason is not new");
        tokio::time::advance(MAX_BROKEN).await;
        assert!(watches.faults().is_empty(), "not broken for longer than that");
        assert!(watches.broken(Kind::Host, "reset".to_owned()), "another reason");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(
            watches.faults(),
            ["the watch of Node has been broken for 31 s: reset"],
            "it counts from when it broke"
        );
        watches.healthy(Kind::Host);
        assert!(watches.faults().is_empty());
    }

    #[test]
    fn a_kind_is_missing_until_it_is_watched() {
        let watches = Watches::default();
        watches.unserved(Kind::Vm);
        watches.withdrawn(Kind::Vmi);
        assert_eq!((watches.missing(), watches.kept()), (vec![Kind::Vm], vec![Kind::Vmi]));
        watches.unserved(Kind::Vmi);
        watches.healthy(Kind::Vm);
        assert_eq!((watches.missing(), watches.kept()), (vec![Kind::Vmi], vec![]));
    }
}
