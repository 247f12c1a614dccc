//! Lists of names in messages (docs/reference.md, "Names in messages").

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::cluster::Key;

/// A message names at most this many objects of a kind and counts the others.
const MAX_NAMES: usize = 20;

/// The first names, separated by commas, and the number of the others.
pub(super) fn list<T: Display>(names: impl IntoIterator<Item = T>) -> String {
    first_of(names, MAX_NAMES)
}

/// The first `most` names, separated by commas, and the number of the others.
pub fn first_of<T: Display>(names: impl IntoIterator<Item = T>, most: usize) -> String {
    let mut names = names.into_iter();
    let shown: Vec<String> = names.by_ref().take(most).map(|name| name.to_string()).collect();
    let more = names.count();
    let shown = shown.join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// Who reads a message, which decides whose names the message may tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience<'a> {
    /// Someone who may see every object.
    Everyone,
    /// The author of a request in this namespace, who may have no right to see objects in others.
    Namespace(&'a str),
}

impl<'a> Audience<'a> {
    /// The author of a request about this object. The author of a request about a cluster-scoped
    /// object may see every object.
    #[must_use]
    pub fn of(object: &'a Key) -> Self {
        object.namespace().map_or(Self::Everyone, Self::Namespace)
    }

    /// Returns whether a message may name this object.
    #[must_use]
    pub fn may_see(self, object: &Key) -> bool {
        match self {
            Self::Everyone => true,
            Self::Namespace(namespace) => object.namespace().is_none_or(|other| other == namespace),
        }
    }

    /// VMs by name, as far as the audience may see them, and the others by number. A VM and its VMI
    /// have the same key, so they count once.
    pub(super) fn vms(self, vms: BTreeSet<&Key>) -> String {
        let (here, elsewhere): (Vec<_>, Vec<_>) = vms.into_iter().partition(|vm| self.may_see(vm));
        let here = (!here.is_empty()).then(|| list(here));
        let elsewhere = match elsewhere.len() {
            0 => None,
            1 => Some("1 VM in another namespace".to_owned()),
            more => Some(format!("{more} VMs in other namespaces")),
        };
        let parts: Vec<String> = here.into_iter().chain(elsewhere).collect();
        parts.join(" and ")
    }
}

#[cfg(test)]
mod tests {
    use super::{Audience, list};
    use crate::cluster::Key;

    #[test]
    fn a_list_names_twenty_and_counts_the_rest() {
        let names = |n: usize| (0..n).map(|i| format!("vm{i}"));
        assert_eq!(list(names(0)), "");
        assert_eq!(list(names(2)), "vm0, vm1");
        assert!(list(names(20)).ends_with(", vm19"));
        assert!(list(names(21)).ends_with(", vm19 and 1 more"));
    }

    #[test]
    fn vms_in_other_namespaces_are_counted_and_not_named() {
        let key = |text: &str| {
            let (namespace, name) = text.split_once('/').unwrap();
            Key::in_namespace(namespace, name)
        };
        let listed = |object: &Key, vms: &[&str]| {
            let vms: Vec<Key> = vms.iter().map(|vm| key(vm)).collect();
            Audience::of(object).vms(vms.iter().collect())
        };
        let net = key("a/net");
        assert_eq!(listed(&net, &["a/x", "a/y"]), "a/x, a/y");
        assert_eq!(listed(&net, &["a/x", "b/y"]), "a/x and 1 VM in another namespace");
        assert_eq!(listed(&net, &["c/x", "b/y"]), "2 VMs in other namespaces");
        let host = Key::cluster_scoped("h");
        assert_eq!(listed(&host, &["a/x", "b/y"]), "a/x, b/y");
        assert!(Audience::of(&net).may_see(&host));
    }
}
