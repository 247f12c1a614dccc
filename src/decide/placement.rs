//! The node affinity that keeps a VM on hosts where its cluster networks are active: which of our
//! requirements to add and which to remove (docs/reference.md, "Mutation").

use std::collections::BTreeSet;

use crate::cluster::{MGMT, Name};

use super::needs::Needs;

/// The prefix of the host labels for cluster networks. The value `true` means active.
pub const LABEL_PREFIX: &str = "network.harvesterhci.io/";

/// The parts of a node selector term that placement depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Term {
    /// One entry for each of the `matchExpressions`: the required cluster network, if the
    /// expression is one of our requirements.
    pub expressions: Vec<Option<Name>>,
    /// Whether the term has `matchFields`, which are never ours.
    pub has_fields: bool,
}

impl Term {
    /// Returns whether the term is empty. To Kubernetes, an empty term matches no host.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.expressions.is_empty() && !self.has_fields
    }
}

/// The cluster network that a requirement of ours names: `<prefix><cluster network> In ["true"]`. A
/// requirement on `mgmt` is not ours but Harvester's.
#[must_use]
pub fn required_network(key: &str, operator: &str, values: &[impl AsRef<str>]) -> Option<Name> {
    let name = key.strip_prefix(LABEL_PREFIX).filter(|name| *name != MGMT)?;
    let [value] = values else { return None };
    (operator == "In" && value.as_ref() == "true").then(|| name.into())
}

/// How to change the terms of `requiredDuringSchedulingIgnoredDuringExecution`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Change nothing: the terms are right.
    Right,
    /// Add a term that requires these cluster networks: there is none yet.
    Make(Vec<Name>),
    /// Remove the whole `required` part: no term is left that can match a host.
    Drop,
    /// Change some terms. The other terms stay.
    Edit {
        /// The changes of single terms by their positions, in ascending order.
        edits: Vec<(usize, TermEdit)>,
        /// The cluster networks that a new term requires, which is appended last. There is no new
        /// term if this is empty.
        make: Vec<Name>,
    },
}

/// How to change one term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TermEdit {
    /// Remove the whole term: it consists of requirements of ours that are no longer needed. New
    /// requirements in their place would make the term wider than any that the user wrote.
    Remove,
    /// Remove expressions, and append requirements.
    Change {
        /// The positions of the expressions to remove, in ascending order.
        remove: Vec<usize>,
        /// The cluster networks to require.
        add: Vec<Name>,
    },
}

/// Compares the terms with the needed cluster networks. Terms are alternatives, so each must
/// require all of them. Empty terms stay empty: one matches no host, and a requirement would change
/// that.
#[must_use]
pub fn place(needs: &Needs, terms: Option<&[Term]>) -> Placement {
    let needed = &needs.cluster_networks;
    let terms = terms.unwrap_or_default();
    if terms.is_empty() {
        return if needed.is_empty() { Placement::Right } else { Placement::Make(needed.clone()) };
    }
    let edits: Vec<(usize, TermEdit)> = terms
        .iter()
        .enumerate()
        .filter_map(|(position, term)| Some((position, edit(needed, term)?)))
        .collect();
    if edits.is_empty() {
        return Placement::Right;
    }
    // Empty terms match no host. If only empty terms were left, the VM could not run anywhere.
    let removed = edits.iter().filter(|(_, edit)| *edit == TermEdit::Remove).count();
    let empty = terms.iter().filter(|term| term.is_empty()).count();
    let none_left = removed > 0 && removed + empty == terms.len();
    if none_left && needed.is_empty() {
        Placement::Drop
    } else {
        Placement::Edit { edits, make: if none_left { needed.clone() } else { Vec::new() } }
    }
}

fn edit(needed: &[Name], term: &Term) -> Option<TermEdit> {
    if term.is_empty() {
        return None;
    }
    let present: BTreeSet<&Name> = term.expressions.iter().flatten().collect();
    let add: Vec<Name> = needed.iter().filter(|name| !present.contains(name)).cloned().collect();
    let remove: Vec<usize> = term
        .expressions
        .iter()
        .enumerate()
        .filter(|(_, ours)| ours.as_ref().is_some_and(|name| !needed.contains(name)))
        .map(|(position, _)| position)
        .collect();
    if add.is_empty() && remove.is_empty() {
        None
    } else if remove.len() == term.expressions.len() && !term.has_fields {
        Some(TermEdit::Remove)
    } else {
        Some(TermEdit::Change { remove, add })
    }
}
