//! Where the candidates of a request lie in its body.

use std::borrow::Cow;
use std::ops::Range;

use crate::cluster::{Host, HostRef};
use crate::decide::filter::Outcome;
use crate::k8s::decode::{Decoder, read_text};
use crate::k8s::meta::Object as _;
use crate::k8s::node::Node;
use crate::k8s::victims;

/// Where the candidate hosts of a request lie in its body.
pub struct Candidates {
    /// Where the body lies in memory.
    base: u32,
    places: Places,
}

pub(super) enum Places {
    /// Names (the scheduler's `nodeCacheCapable: true`).
    Names(Vec<Span>),
    /// Names and whole Nodes.
    Nodes(Vec<(Span, Span)>),
    /// Names and the victims on these hosts.
    Victims(Vec<(Span, Span)>, victims::Form),
}

/// A part of a body of less than 4 GiB, by the lower half of its address in memory: where the body
/// begins is not known while it is being parsed.
#[derive(Clone, Copy)]
pub(super) struct Span {
    address: u32,
    length: u32,
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "addresses are compared within a body of less than 4 GiB, as `extender::args` makes sure"
)]
fn address(part: &str) -> u32 {
    part.as_ptr() as usize as u32
}

impl Span {
    pub fn of(part: &str) -> Self {
        // A part of a body that is too large is never looked up.
        Self { address: address(part), length: u32::try_from(part.len()).unwrap_or_default() }
    }

    /// Where the part lies in the body that begins at `base`.
    fn place(self, base: u32) -> Range<usize> {
        let start = self.address.wrapping_sub(base) as usize;
        start..start + self.length as usize
    }
}

/// One candidate host.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// Its name as a JSON string, with quotes.
    pub(in crate::k8s) quoted: &'a str,
    /// What the request says about it: its Node, its victims, or only its name.
    pub(in crate::k8s) item: &'a str,
}

impl<'a> Candidate<'a> {
    /// Its name.
    #[must_use]
    pub fn name(self) -> Cow<'a, str> {
        let inner = self.quoted.get(1..self.quoted.len().saturating_sub(1)).unwrap_or_default();
        if inner.contains('\\') {
            // The body was read as JSON before, so only a lone surrogate can fail here, and no host
            // has such a name.
            Cow::Owned(serde_json::from_str(self.quoted).unwrap_or_default())
        } else {
            Cow::Borrowed(inner)
        }
    }

    /// The host's facts, if the request has whole Nodes.
    #[must_use]
    pub fn host(self, decoder: &Decoder) -> Option<Host> {
        read_text::<Node>(self.item).ok().map(|node| node.facts(decoder))
    }
}

impl Candidates {
    pub(super) fn of(body: &str, places: Places) -> Self {
        Self { base: address(body), places }
    }

    /// The number of candidates.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.places {
            Places::Names(names) => names.len(),
            Places::Nodes(pairs) | Places::Victims(pairs, _) => pairs.len(),
        }
    }

    /// Returns whether there are no candidates.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that are kept beside the body until the answer is written, including the outcome
    /// of each candidate.
    #[must_use]
    pub fn cost(&self) -> usize {
        let span = match &self.places {
            Places::Names(_) => size_of::<Span>(),
            Places::Nodes(_) | Places::Victims(..) => size_of::<(Span, Span)>(),
        };
        // Beside its place and its outcome, the filter remembers a host that it rejects.
        self.len() * (span + size_of::<Outcome>() + size_of::<HostRef<'_>>())
    }

    /// Returns whether the candidates are whole Nodes.
    #[must_use]
    pub fn are_nodes(&self) -> bool {
        matches!(self.places, Places::Nodes(_))
    }

    /// The form of the victims, if the request is a preemption.
    pub(in crate::k8s) fn victims(&self) -> Option<victims::Form> {
        match self.places {
            Places::Victims(_, form) => Some(form),
            _ => None,
        }
    }

    /// All candidates, in order. `body` must be the one that they were read from.
    pub fn iter<'a>(&'a self, body: &'a str) -> impl Iterator<Item = Candidate<'a>> {
        (0..self.len()).map_while(|position| self.get(body, position))
    }

    /// Where what the request says about a candidate lies in the body.
    pub(in crate::k8s) fn place(&self, position: usize) -> Option<Range<usize>> {
        let span = match &self.places {
            Places::Names(names) => *names.get(position)?,
            Places::Nodes(pairs) | Places::Victims(pairs, _) => pairs.get(position)?.1,
        };
        Some(span.place(self.base))
    }

    /// One candidate, by its position.
    pub(in crate::k8s) fn get<'a>(&self, body: &'a str, position: usize) -> Option<Candidate<'a>> {
        let part = |span: Span| body.get(span.place(self.base));
        match &self.places {
            Places::Names(names) => {
                let quoted = part(*names.get(position)?)?;
                Some(Candidate { quoted, item: quoted })
            }
            Places::Nodes(pairs) | Places::Victims(pairs, _) => {
                let (name, item) = *pairs.get(position)?;
                // A Node without a name is an unknown host.
                let quoted = if name.length == 0 { "\"\"" } else { part(name)? };
                Some(Candidate { quoted, item: part(item)? })
            }
        }
    }
}
