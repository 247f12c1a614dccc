//! Hosts, by name and by number, and sets of hosts.
//!
//! Only `cluster` uses the numbers, since a number may stand for another host in a later snapshot.
//! Other modules use names, [`HostSet`]s and [`HostRef`]s.

use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use imbl::Vector;

use super::followers::Followers;
use super::host_names::HostNames;
use super::host_set::{HostRef, HostSet};
use super::names::Name;
use super::selectors::Labels;

/// A host (`Node`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The host's labels.
    pub labels: Labels,
    /// Whether the host is a witness host, which votes in etcd and runs no VMs.
    pub witness: bool,
}

impl Host {
    /// Returns whether a network config with this selector covers the host. Witness hosts are never
    /// covered.
    #[must_use]
    pub fn is_covered_by(&self, selector: &Labels) -> bool {
        !self.witness && self.labels.contain(selector)
    }
}

/// The hosts: numbers by name, names and facts by number.
#[derive(Clone, Default)]
pub(super) struct Hosts {
    /// Shared by snapshots, and copied when a host is added or removed. That is rare, and with
    /// 15,000 hosts a copy takes a tenth of a millisecond.
    table: Arc<Table>,
    /// By number; `None` if the number is free.
    facts: Vector<Option<Arc<Host>>>,
    /// The witness hosts.
    witnesses: Arc<HostSet>,
}

#[derive(Clone, Default)]
struct Table {
    numbers: HashTable<u32>,
    /// By number; empty if the number is free.
    names: Vec<Name>,
    text: HostNames,
    followers: Followers,
    free: Vec<u32>,
    hasher: FixedState,
}

impl Table {
    fn find(&self, name: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        self.numbers.find(hash, |&number| self.is(number, name)).copied()
    }

    /// The host of this name, which is in quotes.
    fn find_quoted(&self, quoted: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(quoted.get(1..quoted.len() - 1)?);
        self.numbers.find(hash, |&number| self.text.is(number, quoted)).copied()
    }

    fn is(&self, number: u32, name: &str) -> bool {
        // A free number has the empty name, which no host has.
        self.names.get(number as usize).is_some_and(|known| **known == *name) && !name.is_empty()
    }
}

impl Hosts {
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.table.find(name)
    }

    pub(super) fn facts(&self, number: u32) -> Option<&Arc<Host>> {
        self.facts.get(number as usize)?.as_ref()
    }

    pub(super) fn witnesses(&self) -> &HostSet {
        &self.witnesses
    }

    pub(super) fn name(&self, number: u32) -> &Name {
        #[expect(
            clippy::indexing_slicing,
            reason = "every number in a set belongs to a host, since a host is removed from every \
                      set before its number is freed; `properties::any_order_gives_one_snapshot`"
        )]
        &self.table.names[number as usize]
    }

    pub(super) fn host_ref(&self, number: u32) -> HostRef<'_> {
        HostRef { number, name: self.name(number) }
    }

    /// All hosts with their facts, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Arc<Host>)> {
        (0..).zip(self.facts.iter()).filter_map(|(number, facts)| Some((number, facts.as_ref()?)))
    }

    pub(super) fn len(&self) -> usize {
        self.table.numbers.len()
    }

    /// Returns whether both share all their data. If they do not, hosts and facts may still be
    /// equal.
    pub(super) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.table, &other.table) && self.facts.ptr_eq(&other.facts)
    }

    /// Returns whether every number stands for the same host in both, so that sets of hosts can be
    /// compared by numbers. Only the facts of hosts may then differ.
    pub(super) fn same_names(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.table, &other.table)
    }

    /// The numbers of the hosts whose facts differ, if both have the same names.
    pub(super) fn changed_facts(&self, other: &Self) -> impl Iterator<Item = u32> {
        let pairs = self.facts.iter().zip(other.facts.iter());
        let differ = |(old, new): &(&Option<Arc<Host>>, &Option<Arc<Host>>)| match (old, new) {
            (Some(old), Some(new)) => !Arc::ptr_eq(old, new) && old != new,
            (old, new) => old.is_some() != new.is_some(),
        };
        (0..).zip(pairs).filter(move |(_, pair)| differ(pair)).map(|(number, _)| number)
    }

    /// Sets the facts of a host. A new host gets a number.
    pub(super) fn set(&mut self, name: &Name, host: Arc<Host>) -> u32 {
        let witness = host.witness;
        let number = self.find(name).unwrap_or_else(|| self.add(name));
        self.facts.set(number as usize, Some(host));
        HostSet::put(&mut self.witnesses, number, witness);
        number
    }

    /// Gives a host a number.
    fn add(&mut self, name: &Name) -> u32 {
        let table = Arc::make_mut(&mut self.table);
        let number = table.free.pop().unwrap_or_else(|| {
            table.names.push(Name::default());
            self.facts.push_back(None);
            table.followers.grow(table.names.len());
            u32::try_from(table.names.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(place) = table.names.get_mut(number as usize) {
            *place = name.clone();
        }
        table.text.set(number, Some(name));
        let Table { numbers, names, hasher, .. } = table;
        numbers.insert_unique(hasher.hash_one(&**name), number, |&number| {
            hasher.hash_one(names.get(number as usize).map_or("", |name| name))
        });
        number
    }

    /// Removes a host and frees its number, which must not be in any set any more.
    pub(super) fn remove(&mut self, name: &str) {
        let hash = self.table.hasher.hash_one(name);
        let table = Arc::make_mut(&mut self.table);
        let Table { numbers, names, free, text, .. } = table;
        let found = numbers.find_entry(hash, |&number| {
            names.get(number as usize).is_some_and(|known| **known == *name)
        });
        if let Ok(entry) = found {
            let (number, _) = entry.remove();
            if let Some(place) = names.get_mut(number as usize) {
                *place = Name::default();
            }
            free.push(number);
            text.set(number, None);
            self.facts.set(number as usize, None);
            HostSet::put(&mut self.witnesses, number, false);
        }
    }

    pub(super) fn walk(&self) -> HostWalk<'_> {
        HostWalk { table: &self.table, last: None }
    }
}

/// Looks up many hosts by name. The one that followed the last one lately is tried first, so look-ups in
/// the order of those before are fast.
pub struct HostWalk<'s> {
    table: &'s Table,
    /// The host that was found last.
    last: Option<u32>,
}

impl<'s> HostWalk<'s> {
    /// The host of this name, if there is one.
    pub fn find(&mut self, name: &str) -> Option<HostRef<'s>> {
        let guess = self.table.followers.guess(self.last);
        let number = if self.table.is(guess, name) {
            guess
        } else {
            let number = self.table.find(name)?;
            self.table.followers.learn(self.last, number);
            number
        };
        self.last = Some(number);
        let name = self.table.names.get(number as usize)?;
        Some(HostRef { number, name })
    }

    /// The hosts whose names `list` begins with, for as long as these are in the order in which the
    /// hosts were added, or only the first one. A list has names as JSON strings without escapes, with
    /// one comma between them. `None` if the first name is that of no host.
    pub fn run(&mut self, list: &str) -> Option<HostRun<'s>> {
        let Table { text, followers, .. } = self.table;
        let mut numbers = text.run(followers.guess(self.last), list);
        if numbers.is_empty() {
            let end = memchr::memchr(b'"', list.get(1..)?.as_bytes())? + 2;
            let number = self.table.find_quoted(list.get(..end)?)?;
            if !matches!(list.as_bytes().get(end), Some(b',') | None) {
                return None;
            }
            followers.learn(self.last, number);
            numbers = number..number + 1;
        }
        self.last = numbers.end.checked_sub(1);
        Some(HostRun { table: self.table, numbers })
    }
}

/// Hosts whose names follow one another in a list.
pub struct HostRun<'s> {
    table: &'s Table,
    numbers: Range<u32>,
}

impl<'s> HostRun<'s> {
    /// The number of hosts.
    #[must_use]
    pub fn count(&self) -> usize {
        self.numbers.len()
    }

    /// The number of bytes that they take in the list, with a comma behind each.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.table.text.place(self.numbers.clone()).len()
    }

    /// Adds the hosts to a set.
    pub fn add_to(&self, hosts: &mut HostSet) {
        hosts.insert_all(self.numbers.clone());
    }

    /// Calls `take` with each longest part of the run whose hosts are all in the set: the number of
    /// hosts, and where their names lie in the list, from the beginning of the run on.
    pub fn each_part_in(&self, hosts: &HostSet, mut take: impl FnMut(usize, Range<usize>)) {
        if self.count() == 1 {
            if hosts.has(self.numbers.start) {
                take(1, 0..self.bytes() - 1);
            }
            return;
        }
        let text = &self.table.text;
        let begin = text.place(self.numbers.clone()).start;
        hosts.each_run_in(self.numbers.clone(), |part| {
            let place = text.place(part.clone());
            take(part.len(), place.start - begin..place.end - begin - 1);
        });
    }

    /// The hosts that are not in the set, each with where its name lies in the list, from the beginning
    /// of the run on.
    pub fn hosts_outside<'a>(
        &'a self,
        hosts: &'a HostSet,
    ) -> impl Iterator<Item = (HostRef<'s>, Range<usize>)> + 'a {
        let Table { text, names, .. } = self.table;
        let places = self.numbers.clone().zip(text.places(self.numbers.clone()));
        places.filter(|(number, _)| !hosts.has(*number)).filter_map(move |(number, place)| {
            let host = HostRef { number, name: names.get(number as usize)? };
            Some((host, place.start..place.end - 1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What walks over these names find.
    fn walked<'s>(hosts: &'s Hosts, names: &[&str]) -> [Vec<&'s str>; 2] {
        let (mut walk, mut runs) = (hosts.walk(), hosts.walk());
        let found = names.iter().filter_map(|name| walk.find(name)).map(|host| &**host.name());
        let list = serde_json::to_string(names).unwrap();
        let mut list = list.trim_matches(['[', ']']);
        let mut in_runs = Vec::new();
        while !list.is_empty() {
            let Some(run) = runs.run(list) else { break };
            in_runs.extend(run.numbers.clone().map(|number| &**hosts.name(number)));
            list = list.get(run.bytes()..).unwrap_or_default();
        }
        [found.collect(), in_runs]
    }

    #[test]
    fn hosts_are_found_in_any_order_and_the_order_is_remembered() {
        let mut hosts = Hosts::default();
        for name in ["a", "b", "c", "d", "e"] {
            hosts.set(&name.into(), Arc::default());
        }
        for order in
            [["a", "b", "c", "d", "e"], ["c", "a", "e", "d", "b"], ["e", "d", "c", "b", "a"]]
        {
            for _ in 0..2 {
                assert_eq!(walked(&hosts, &order), [order.to_vec(), order.to_vec()]);
            }
            let mut last = None;
            for name in order {
                let number = hosts.find(name).unwrap();
                assert_eq!(hosts.table.followers.guess(last), number, "{name} in {order:?}");
                last = Some(number);
            }
        }
        // A guess may be of a host that is gone, and of a number that is another's now.
        hosts.remove("d");
        assert_eq!(walked(&hosts, &["e", "d"]), [["e"], ["e"]]);
        hosts.set(&"f".into(), Arc::default());
        let order = ["e", "f", "c", "b", "a"];
        assert_eq!(walked(&hosts, &order), [order.to_vec(), order.to_vec()]);
        assert_eq!(walked(&hosts, &["e", "d"]), [["e"], ["e"]]);
    }

    #[test]
    fn the_number_of_a_removed_host_is_reused_and_has_no_name() {
        let mut hosts = Hosts::default();
        let number = hosts.set(&"a".into(), Arc::default());
        hosts.remove("a");
        assert_eq!(hosts.find("a"), None);
        assert!(hosts.walk().find("").is_none(), "a free number has no name");
        assert_eq!(hosts.set(&"b".into(), Arc::default()), number, "or numbers would only grow");
        assert_eq!((&**hosts.name(number), hosts.len()), ("b", 1));
    }
}
