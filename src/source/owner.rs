//! The one owner of a live source's index: it applies the updates of the kinds' tasks and publishes
//! snapshots.

use std::collections::BTreeSet;
use std::time::Instant;

use tokio::sync::mpsc::Receiver;

use crate::cluster::{Change, Index, Key, Kind, Now};
use crate::publish::Publisher;

/// The most updates that wait for the owner of the index.
pub(super) const MAX_PENDING: usize = 1024;

/// What a kind's task sends to the owner of the index.
#[derive(Debug)]
pub(super) enum Update {
    /// An object changed.
    Changed(Change),
    /// The kind is listed: exactly these objects exist. For a kind that is not served, none do.
    Listed(Kind, BTreeSet<Key>),
    /// A kind that counted as empty is now served, and is about to be listed.
    Served(Kind),
}

/// Applies updates to the index, and publishes a snapshot after each batch.
pub(super) async fn run_index(
    mut index: Index,
    mut updates: Receiver<Update>,
    publisher: Publisher,
) {
    while let Some(first) = updates.recv().await {
        let started = Instant::now();
        let mut changed = apply(&mut index, first);
        // Updates that arrived meanwhile are published together.
        for _ in 0..MAX_PENDING {
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

/// Applies an update. Returns whether anything changed.
pub(super) fn apply(index: &mut Index, update: Update) -> bool {
    match update {
        Update::Changed(Change { object, now: Now::Malformed { why, .. } }) => {
            let is_new = index.malformed(&object, why.clone());
            if is_new {
                tracing::warn!(
                    "{object} can't be read: {why}; its last readable version, if any, still counts"
                );
            }
            is_new
        }
        Update::Changed(change) => index.apply(change),
        Update::Listed(kind, keys) => {
            index.retain(kind, &keys);
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

    fn present(name: &str) -> Update {
        Update::Changed(Change { object: host(name), now: Now::Is(Fact::Host(Host::default())) })
    }

    /// An index in which every kind but hosts is listed.
    fn index() -> Index {
        let mut index = Index::new(Options::default());
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Host) {
            index.listed(kind);
        }
        index
    }

    #[test]
    fn a_kind_that_becomes_served_is_listed_before_the_next_snapshot() {
        let mut index = index();
        apply(&mut index, Update::Listed(Kind::Host, BTreeSet::new()));
        assert!(index.snapshot().is_some(), "it counts as empty");
        apply(&mut index, Update::Served(Kind::Host));
        apply(&mut index, present("a"));
        assert!(index.snapshot().is_none(), "there may be more");
        apply(&mut index, Update::Listed(Kind::Host, [host("a").key].into()));
        assert_eq!(index.snapshot().unwrap().count(Kind::Host), 1);
    }

    #[test]
    fn objects_that_a_new_list_lacks_are_gone() {
        let mut index = index();
        for name in ["a", "b", "c"] {
            apply(&mut index, present(name));
        }
        apply(&mut index, Update::Listed(Kind::Host, [host("b").key].into()));
        let snapshot = index.snapshot().unwrap();
        let names: Vec<_> = snapshot.hosts().into_iter().map(|it| it.name().clone()).collect();
        assert_eq!(names, ["b".into()]);
    }

    #[test]
    fn an_object_that_becomes_malformed_keeps_its_last_facts_and_is_a_problem() {
        let mut index = index();
        apply(&mut index, present("a"));
        apply(&mut index, Update::Listed(Kind::Host, [host("a").key].into()));
        let malformed = || {
            let now = Now::Malformed { why: "odd".into(), last: None };
            Update::Changed(Change { object: host("a"), now })
        };
        assert!(apply(&mut index, malformed()));
        assert!(!apply(&mut index, malformed()), "the second time, nothing changed");
        let snapshot = index.snapshot().unwrap();
        assert_eq!((snapshot.count(Kind::Host), snapshot.problems().len()), (1, 1));
        apply(&mut index, present("a"));
        assert_eq!(index.snapshot().unwrap().problems().len(), 0);
    }
}
