//! The node affinity that keeps a VM on hosts where its cluster networks are active
//! (docs/reference.md, "Mutation"): which requirements of ours to put in, and which no longer hold.

use std::collections::BTreeSet;

use crate::cluster::{MGMT, Name};

use super::needs::Needs;

/// The prefix of the host label that says, with the value `true`, that a cluster network is active.
pub const LABEL_PREFIX: &str = "network.harvesterhci.io/";

/// A node selector term, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Term {
    /// For each of its `matchExpressions`, the cluster network that it requires, if it is a
    /// requirement of ours.
    pub expressions: Vec<Option<Name>>,
    /// Whether it has `matchFields`, which are never ours.
    pub has_fields: bool,
}

impl Term {
    /// Whether it requires nothing. Such a term matches no host.
    fn is_empty(&self) -> bool {
        self.expressions.is_empty() && !self.has_fields
    }
}

/// The cluster network of a requirement of ours: our label's, `In ["true"]`. One on `mgmt` is
/// Harvester's own.
#[must_use]
pub fn required_network(key: &str, operator: &str, values: &[impl AsRef<str>]) -> Option<Name> {
    let name = key.strip_prefix(LABEL_PREFIX).filter(|name| *name != MGMT)?;
    let [value] = values else { return None };
    (operator == "In" && value.as_ref() == "true").then(|| name.into())
}

/// What to do to the terms of `requiredDuringSchedulingIgnoredDuringExecution`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Nothing: they are right.
    Right,
    /// There is no term: make one that requires these cluster networks.
    Make(Vec<Name>),
    /// No term that matches any host is left: take the whole of `required` away.
    Drop,
    /// Edit these terms, by position, rising; the others stay.
    Edit(Vec<(usize, TermEdit)>),
}

/// What to do to one term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TermEdit {
    /// Take the whole term away: it held only requirements of ours, and none holds any more. Left
    /// empty it would match no host.
    Remove,
    /// Take these expressions out, by position, rising, and put requirements of these cluster
    /// networks in at the end.
    Change {
        /// The positions of the expressions to take out.
        remove: Vec<usize>,
        /// The cluster networks to require.
        add: Vec<Name>,
    },
}

/// Compares the terms with what is needed now. Terms are alternatives, so each must require all
/// of it; an empty one of the user's matches no host, which a requirement in it would change.
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
    // Empty terms match no host: were they all that is left, the VM could run nowhere.
    let removed = edits.iter().filter(|(_, edit)| *edit == TermEdit::Remove).count();
    let empty = terms.iter().filter(|term| term.is_empty()).count();
    if edits.is_empty() {
        Placement::Right
    } else if removed > 0 && removed + empty == terms.len() {
        Placement::Drop
    } else {
        Placement::Edit(edits)
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
    } else if add.is_empty() && remove.len() == term.expressions.len() && !term.has_fields {
        Some(TermEdit::Remove)
    } else {
        Some(TermEdit::Change { remove, add })
    }
}
