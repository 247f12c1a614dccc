//! The order of the hosts in the lists of a scheduler.

use std::sync::atomic::{AtomicU32, Ordering};

/// For each host, the one that came behind it in a list lately, and for the beginning of a list the one
/// that came first. A scheduler has all hosts in one order, which is not that of their names, and sends
/// a part of them. So the next list is likely to have them in the order of the last one.
///
/// Threads read and write this at the same time. Whatever is in it is only a guess.
#[derive(Default)]
pub(super) struct Followers(Vec<AtomicU32>);

impl Followers {
    /// The number of the host that probably comes behind this one, or first. Until more is known, that is
    /// the next number.
    pub fn guess(&self, behind: Option<u32>) -> u32 {
        let place = Self::place(behind);
        self.0.get(place).map_or(u32::MAX, |it| it.load(Ordering::Relaxed))
    }

    /// Records which host came behind that one, or first.
    pub fn learn(&self, behind: Option<u32>, number: u32) {
        if let Some(follower) = self.0.get(Self::place(behind)) {
            follower.store(number, Ordering::Relaxed);
        }
    }

    /// Makes room for this many numbers.
    pub fn grow(&mut self, count: usize) {
        let from = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.extend((from..).map(AtomicU32::new).take((count + 1).saturating_sub(self.0.len())));
    }

    fn place(behind: Option<u32>) -> usize {
        behind.map_or(0, |number| number as usize + 1)
    }
}

impl Clone for Followers {
    fn clone(&self) -> Self {
        let numbers = self.0.iter().map(|it| AtomicU32::new(it.load(Ordering::Relaxed)));
        Self(numbers.collect())
    }
}
