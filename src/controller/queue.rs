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

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Target {
        Target::Host(name.into())
    }

    fn numbered(numbers: std::ops::Range<usize>) -> impl Iterator<Item = Target> {
        numbers.map(|number| host(&format!("h{number}")))
    }

    fn taken(queue: &mut Queue) -> Vec<Target> {
        std::iter::from_fn(|| queue.take()).collect()
    }

    #[test]
    fn each_target_waits_once_in_the_order_in_which_it_came() {
        let mut queue = Queue::default();
        assert_eq!(queue.take(), None);
        assert!(queue.add([host("b"), host("a"), host("b")]).is_empty());
        assert!(queue.add([host("c"), host("a")]).is_empty());
        assert_eq!(taken(&mut queue), [host("b"), host("a"), host("c")]);
    }

    #[test]
    fn a_target_that_changes_while_it_is_written_waits_for_that() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add([host("a")]);
        assert_eq!(queue.take(), Some(host("a")));
        queue.add([host("a"), host("b")]);
        assert_eq!(queue.take(), Some(host("b")), "it holds up no other one");
        assert_eq!(queue.take(), None);
        queue.done(&host("a"), false, now);
        assert_eq!(queue.take(), Some(host("a")));
        queue.done(&host("a"), false, now);
        queue.done(&host("b"), false, now);
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn what_failed_comes_back_after_a_delay_that_doubles_up_to_a_minute() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        queue.add([host("a")]);
        let mut delays = Vec::new();
        for _ in 0..9 {
            assert_eq!(queue.take(), Some(host("a")));
            queue.done(&host("a"), true, now);
            let mut delay = 0;
            while queue.take().is_none_or(|it| {
                // It is put back for the loop above.
                queue.in_flight.remove(&it);
                queue.add([it]);
                false
            }) {
                delay += 1;
                now += Duration::from_secs(1);
                queue.retry(now);
            }
            delays.push(delay);
        }
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        // Once it is written, it begins anew.
        queue.take();
        queue.done(&host("a"), false, now);
        queue.retry(now + MAX_RETRY * 2);
        assert_eq!(queue.take(), None);
        queue.add([host("a")]);
        queue.take();
        queue.done(&host("a"), true, now);
        queue.retry(now + FIRST_RETRY);
        assert_eq!(queue.take(), Some(host("a")));
    }

    #[test]
    fn what_failed_and_changes_does_not_wait_for_the_delay() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add([host("a")]);
        queue.take();
        queue.done(&host("a"), true, now);
        queue.add([host("a")]);
        assert_eq!(queue.take(), Some(host("a")));
        queue.retry(now + MAX_RETRY);
        queue.done(&host("a"), false, now);
        assert_eq!(queue.take(), None, "it was being written");
    }

    #[test]
    fn more_than_may_wait_are_dropped_and_looked_for_once_the_rest_is_written() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        assert_eq!(queue.add(numbered(0..MAX_WAITING)), []);
        assert!(!queue.take_overflow());
        let dropped = queue.add(numbered(0..MAX_WAITING + 2));
        assert_eq!(dropped, numbered(MAX_WAITING..MAX_WAITING + 2).collect::<Vec<_>>());
        assert!(!queue.take_overflow(), "the rest waits");
        while let Some(target) = queue.take() {
            queue.done(&target, false, now);
        }
        assert!(queue.take_overflow());
        assert!(!queue.take_overflow(), "once");
    }
}
