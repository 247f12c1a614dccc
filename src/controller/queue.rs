//! The targets that wait for the writer: each once, in the order in which they came, and at most so
//! many. A target that failed comes back after a delay.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::decide::upkeep::Target;

/// The most targets that wait.
pub(super) const MAX_WAITING: usize = 50_000;
/// The delay before a target that failed is tried again. It doubles with each failure.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_mins(1);

/// The targets that wait.
#[derive(Default)]
pub(super) struct Queue {
    order: VecDeque<Target>,
    waiting: BTreeSet<Target>,
    /// The targets that are being written. One that changes meanwhile waits until that has ended.
    in_flight: BTreeSet<Target>,
    /// The targets that failed: how often, and when to try again.
    failed: BTreeMap<Target, (u32, Instant)>,
    /// Whether a target was dropped since the queue was empty the last time.
    overflowed: bool,
}

impl Queue {
    /// Adds targets. Returns those that were dropped because too many wait.
    pub fn add(&mut self, targets: impl IntoIterator<Item = Target>) -> Vec<Target> {
        let mut dropped = Vec::new();
        for target in targets {
            if self.waiting.contains(&target) {
                continue;
            }
            if self.waiting.len() >= MAX_WAITING {
                self.overflowed = true;
                dropped.push(target);
                continue;
            }
            self.waiting.insert(target.clone());
            self.order.push_back(target);
        }
        dropped
    }

    /// Takes the next target that is not being written.
    pub fn take(&mut self) -> Option<Target> {
        let at = self.order.iter().position(|target| !self.in_flight.contains(target))?;
        let target = self.order.remove(at)?;
        self.waiting.remove(&target);
        self.in_flight.insert(target.clone());
        Some(target)
    }

    /// Ends the write of a target. One that failed comes back later.
    pub fn done(&mut self, target: &Target, failed: bool, now: Instant) {
        self.in_flight.remove(target);
        if !failed {
            self.failed.remove(target);
            return;
        }
        let (times, retry_at) = self.failed.entry(target.clone()).or_insert((0, now));
        let delay = FIRST_RETRY.saturating_mul(1 << (*times).min(10)).min(MAX_RETRY);
        *times += 1;
        *retry_at = now + delay;
    }

    /// Adds the targets whose delay has passed.
    pub fn retry(&mut self, now: Instant) {
        let due: Vec<Target> = self
            .failed
            .iter()
            .filter(|(target, (_, at))| *at <= now && !self.in_flight.contains(target))
            .map(|(target, _)| target.clone())
            .collect();
        // It stays in `failed`, so that the next failure waits longer.
        for target in &due {
            if let Some((_, at)) = self.failed.get_mut(target) {
                *at = now + MAX_RETRY;
            }
        }
        self.add(due);
    }

    /// Returns whether targets were dropped and the rest is written, so that every object must be
    /// looked at again.
    pub fn take_overflow(&mut self) -> bool {
        self.waiting.is_empty() && std::mem::take(&mut self.overflowed)
    }
}
