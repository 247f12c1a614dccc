//! The one owner of a live source's index: it takes in what the kinds' tasks tell, and publishes.

use std::collections::BTreeSet;
use std::time::Instant;

use tokio::sync::mpsc::Receiver;

use crate::cluster::{Change, Index, Key, Kind, Now};
use crate::publish::Publisher;

/// How many updates may wait for the owner of the index.
pub(super) const MAX_WAITING: usize = 1024;

/// What a kind's task tells the owner of the index.
#[derive(Debug)]
pub(super) enum Update {
    /// An object is like this now.
    Changed(Change),
    /// All that is there has been told; nothing else is. A kind that is not served is empty.
    Listed(Kind, BTreeSet<Key>),
    /// The kind, which counted as empty, is served now, and about to be listed.
    Served(Kind),
}

/// Keeps the index, and publishes what it knows after each batch of updates.
pub(super) async fn run_index(
    mut index: Index,
    mut updates: Receiver<Update>,
    publisher: Publisher,
) {
    while let Some(first) = updates.recv().await {
        let started = Instant::now();
        let mut changed = apply(&mut index, first);
        // What has come meanwhile is published together.
        for _ in 0..MAX_WAITING {
            let Ok(more) = updates.try_recv() else { break };
            changed |= apply(&mut index, more);
        }
        if !changed {
            continue;
        }
        match index.snapshot() {
            Some(snapshot) => publisher.publish(snapshot, started.elapsed()),
            None => publisher.waiting(
                index
                    .unlisted()
                    .map(|kind| format!("{} is not listed yet", kind.kubernetes()))
                    .collect(),
            ),
        }
    }
}

/// Takes an update in. Returns whether anything became different.
pub(super) fn apply(index: &mut Index, update: Update) -> bool {
    match update {
        Update::Changed(Change { object, now: Now::Malformed { why, .. } }) => {
            let is_new = index.malformed(&object, why.clone());
            if is_new {
                tracing::warn!(
                    "{object} can't be read: {why}; what it said before, if anything, counts"
                );
            }
            is_new
        }
        Update::Changed(change) => index.apply(change),
        Update::Listed(kind, there) => {
            index.retain(kind, &there);
            index.listed(kind);
            true
        }
        Update::Served(kind) => {
            index.unlist(kind);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Fact, Host, ObjectRef, Options};

    fn host(name: &str) -> ObjectRef {
        ObjectRef { kind: Kind::Host, key: Key::cluster_scoped(name.to_owned()) }
    }

    fn there(name: &str) -> Update {
        Update::Changed(Change { object: host(name), now: Now::Is(Fact::Host(Host::default())) })
    }

    /// An index for which every kind but hosts is listed.
    fn index() -> Index {
        let mut index = Index::new(Options::default());
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Host) {
            index.listed(kind);
        }
        index
    }

    #[test]
    fn a_kind_that_is_served_at_last_is_listed_before_anything_is_decided() {
        let mut index = index();
        apply(&mut index, Update::Listed(Kind::Host, BTreeSet::new()));
        assert!(index.snapshot().is_some(), "it counts as empty");
        apply(&mut index, Update::Served(Kind::Host));
        apply(&mut index, there("a"));
        assert!(index.snapshot().is_none(), "there may be more");
        apply(&mut index, Update::Listed(Kind::Host, [host("a").key].into()));
        assert_eq!(index.snapshot().unwrap().count(Kind::Host), 1);
    }

    #[test]
    fn what_a_new_list_lacks_is_gone() {
        let mut index = index();
        for name in ["a", "b", "c"] {
            apply(&mut index, there(name));
        }
        apply(&mut index, Update::Listed(Kind::Host, [host("b").key].into()));
        let snapshot = index.snapshot().unwrap();
        let names: Vec<_> = snapshot.hosts().into_iter().map(|it| it.name().clone()).collect();
        assert_eq!(names, ["b".into()]);
    }

    #[test]
    fn an_object_that_can_no_longer_be_read_keeps_what_it_said_and_is_a_problem() {
        let mut index = index();
        apply(&mut index, there("a"));
        apply(&mut index, Update::Listed(Kind::Host, [host("a").key].into()));
        let odd = || {
            let now = Now::Malformed { why: "odd".into(), last: None };
            Update::Changed(Change { object: host("a"), now })
        };
        assert!(apply(&mut index, odd()));
        assert!(!apply(&mut index, odd()), "the second time nothing is new, nor warned about");
        let snapshot = index.snapshot().unwrap();
        assert_eq!((snapshot.count(Kind::Host), snapshot.problems().len()), (1, 1));
        apply(&mut index, there("a"));
        assert_eq!(index.snapshot().unwrap().problems().len(), 0);
    }
}
