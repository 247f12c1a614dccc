//! Sets of hosts, by their numbers.

use std::ops::Range;
use std::sync::Arc;

use fixedbitset::FixedBitSet;

use super::names::Name;

/// A set of hosts of one snapshot.
#[derive(Clone, Debug, Default)]
pub struct HostSet(FixedBitSet);

impl HostSet {
    pub(super) fn insert(&mut self, host: u32) {
        self.0.grow_and_insert(host as usize);
    }

    pub(super) fn insert_all(&mut self, hosts: Range<u32>) {
        if hosts.len() == 1 {
            return self.insert(hosts.start);
        }
        self.0.grow(hosts.end as usize);
        self.0.insert_range(hosts.start as usize..hosts.end as usize);
    }

    /// Inserts `host`, or removes it. The set is copied only if it changes and is shared.
    /// Returns whether the set changed.
    pub(super) fn put(this: &mut Arc<Self>, host: u32, inside: bool) -> bool {
        if this.has(host) == inside {
            return false;
        }
        let set = Arc::make_mut(this);
        if inside {
            set.insert(host);
        } else {
            set.0.set(host as usize, false);
        }
        true
    }

    pub(super) fn has(&self, host: u32) -> bool {
        self.0.contains(host as usize)
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        // Only u32 numbers are ever inserted.
        self.0.ones().map(|number| u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// Adds a host of the same snapshot.
    pub fn add(&mut self, host: HostRef<'_>) {
        self.insert(host.number);
    }

    /// Calls `take` with each longest run of members within these numbers.
    pub(super) fn each_run_in(&self, numbers: Range<u32>, mut take: impl FnMut(Range<u32>)) {
        let mut begun = None;
        let mut base = numbers.start - numbers.start % usize::BITS;
        let words = self.words().get((base / usize::BITS) as usize..).unwrap_or_default();
        for word in words {
            if base >= numbers.end {
                break;
            }
            let mut left = *word;
            if base < numbers.start {
                left &= usize::MAX << (numbers.start - base);
            }
            if numbers.end - base < usize::BITS {
                left &= (1 << (numbers.end - base)) - 1;
            }
            loop {
                if let Some(start) = begun {
                    // The bits before the run's end are set, whether or not they are members.
                    let end = left.trailing_ones();
                    if end == usize::BITS {
                        break;
                    }
                    take(start..base + end);
                    begun = None;
                    left &= usize::MAX << end;
                }
                if left == 0 {
                    break;
                }
                let first = left.trailing_zeros();
                begun = Some(base + first);
                left |= (1 << first) - 1;
            }
            base += usize::BITS;
        }
        if let Some(start) = begun {
            take(start..base.min(numbers.end));
        }
    }

    /// The members as bits of words, of which there may be fewer than hosts.
    pub(super) fn words(&self) -> &[usize] {
        self.0.as_slice()
    }

    /// Returns whether the host is in the set.
    #[must_use]
    pub fn contains(&self, host: HostRef<'_>) -> bool {
        self.has(host.number)
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_clear()
    }

    /// The number of hosts in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.count_ones(..)
    }

    /// The hosts that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut set = self.clone();
        set.0.intersect_with(&other.0);
        set
    }

    /// The hosts that are in this set and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut set = self.clone();
        set.0.difference_with(&other.0);
        set
    }

    /// The hosts that are in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut set = self.clone();
        set.0.union_with(&other.0);
        set
    }
}

impl PartialEq for HostSet {
    /// Sets with the same members are equal, whatever their capacity.
    fn eq(&self, other: &Self) -> bool {
        self.0.symmetric_difference(&other.0).next().is_none()
    }
}

/// A host of one snapshot. The reference is valid for that snapshot only.
#[derive(Clone, Copy)]
pub struct HostRef<'s> {
    pub(super) number: u32,
    pub(super) name: &'s Name,
}

impl<'s> HostRef<'s> {
    /// The host's name.
    #[must_use]
    pub fn name(self) -> &'s Name {
        self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_of_members_is_found_once_and_whole() {
        let bits = usize::BITS;
        let borders: Vec<u32> = [0, bits, 2 * bits, 3 * bits]
            .iter()
            .flat_map(|at| at.saturating_sub(1)..at + 2)
            .collect();
        let of = |runs: &[Range<u32>]| {
            let mut set = HostSet::default();
            for run in runs {
                set.insert_all(run.clone());
            }
            set
        };
        let mut sets = vec![HostSet::default(), of(&[0..1, 2..3, 5..8])];
        for from in &borders {
            for to in borders.iter().filter(|to| *to > from) {
                sets.push(of(&[*from..*to, 0..0]));
                sets.push(of(&[*from..*to, to + 1..to + 3]));
            }
        }
        for set in &sets {
            for from in &borders {
                for to in borders.iter().filter(|to| *to >= from) {
                    let mut found = Vec::new();
                    set.each_run_in(*from..*to, |run| found.push(run));
                    let members: Vec<u32> = found.iter().cloned().flatten().collect();
                    let expected: Vec<u32> = (*from..*to).filter(|host| set.has(*host)).collect();
                    assert_eq!(members, expected, "{from}..{to} of {set:?}");
                    let apart = found.windows(2).all(|it| it[0].end < it[1].start);
                    assert!(apart && found.iter().all(|run| !run.is_empty()), "{found:?}");
                }
            }
        }
    }
}
