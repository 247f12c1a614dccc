//! kube-scheduler's requests to an extender (`extender/v1`). Of a request only spans are kept, which
//! say where each candidate lies in the body, so that a request takes little memory beyond its own
//! bytes.
//!
//! The Go types have no JSON tags, so fields are in Go case. Like Go, we match them without regard
//! to case.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::cluster::Host;
use crate::decide::filter::Outcome;

use super::decode::{Decoder, MAX_CANDIDATES, Malformed, check_name, read_text};
use super::fold::{self, Fold, Folded, folded};
use super::meta::Object as _;
use super::node::Node;
use super::victims;

/// ExtenderArgs: a pod and the candidate hosts for it.
pub struct Args<'a> {
    /// The pod, unparsed.
    pub pod: &'a str,
    /// The candidate hosts.
    pub candidates: Candidates,
}

/// Where the candidate hosts of a request lie in its body.
pub struct Candidates {
    /// Where the body lies in memory.
    base: u32,
    places: Places,
}

enum Places {
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
struct Span {
    address: u32,
    length: u32,
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "addresses are compared within a body of less than 4 GiB, as `check_size` makes sure"
)]
fn address(part: &str) -> u32 {
    part.as_ptr() as usize as u32
}

impl Span {
    fn of(part: &str) -> Self {
        // A part of a body that is too large is never looked up.
        Self { address: address(part), length: u32::try_from(part.len()).unwrap_or_default() }
    }

    /// The part, in the body that begins at `base`.
    fn within(self, body: &str, base: u32) -> Option<&str> {
        let start = self.address.wrapping_sub(base) as usize;
        body.get(start..start + self.length as usize)
    }
}

/// Checks that every part of the body can be told by a span.
fn check_size(body: &str) -> Result<(), Malformed> {
    match u32::try_from(body.len()) {
        Ok(_) => Ok(()),
        Err(_) => Err("a body of 4 GiB or more".into()),
    }
}

/// One candidate host.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// Its name as a JSON string, with quotes.
    pub(super) quoted: &'a str,
    /// What the request says about it: its Node, its victims, or only its name.
    pub(super) item: &'a str,
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
    fn of(body: &str, places: Places) -> Self {
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
        self.len() * (span + size_of::<Outcome>())
    }

    /// Returns whether the candidates are whole Nodes.
    #[must_use]
    pub fn are_nodes(&self) -> bool {
        matches!(self.places, Places::Nodes(_))
    }

    /// The form of the victims, if the request is a preemption.
    pub(super) fn victims(&self) -> Option<victims::Form> {
        match self.places {
            Places::Victims(_, form) => Some(form),
            _ => None,
        }
    }

    /// All candidates, in order. `body` must be the one that they were read from.
    pub fn iter<'a>(&'a self, body: &'a str) -> impl Iterator<Item = Candidate<'a>> {
        (0..self.len()).map_while(|position| self.get(body, position))
    }

    /// One candidate, by its position.
    pub(super) fn get<'a>(&self, body: &'a str, position: usize) -> Option<Candidate<'a>> {
        let part = |span: Span| span.within(body, self.base);
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

/// Reads ExtenderArgs.
///
/// # Errors
/// If a part is missing or malformed.
pub fn args(body: &str) -> Result<Args<'_>, Malformed> {
    check_size(body)?;
    let raw: RawArgs<'_> = read_whole(body, "ExtenderArgs")?;
    let pod = raw.pod.ok_or(NO_POD)?.get();
    let places = match (raw.names, raw.nodes) {
        (Some(Names { first_non_string: Some(position), .. }), None) => {
            return Err(Malformed::new(format!("NodeNames: element {position} is not a string")));
        }
        (Some(Names { spans, first_non_string: None }), None) => Places::Names(spans),
        (None, Some(Folded(nodes))) => Places::Nodes(nodes.items.unwrap_or_default().0),
        (Some(_), Some(_)) => {
            return Err("ExtenderArgs has both NodeNames and Nodes; one is expected".into());
        }
        (None, None) => return Err("ExtenderArgs has neither NodeNames nor Nodes".into()),
    };
    Ok(Args { pod, candidates: Candidates::of(body, places) })
}

/// Reads ExtenderPreemptionArgs. If a request has both maps of victims, the one with UIDs counts.
///
/// # Errors
/// If a part is missing or malformed.
pub fn preemption_args(body: &str) -> Result<Args<'_>, Malformed> {
    check_size(body)?;
    let raw: RawPreemption<'_> = read_whole(body, "ExtenderPreemptionArgs")?;
    let pod = raw.pod.ok_or(NO_POD)?.get();
    let (map, form, name) = match (raw.meta, raw.full) {
        (Some(meta), _) => (meta, victims::Form::Meta, "NodeNameToMetaVictims"),
        (None, Some(full)) => (full, victims::Form::Full, "NodeNameToVictims"),
        (None, None) => {
            return Err("the body has neither NodeNameToVictims nor NodeNameToMetaVictims".into());
        }
    };
    let mut pairs = Vec::new();
    victims::each_host(map.get(), form, |host, victims| {
        pairs.push((Span::of(host), Span::of(victims)));
        Ok(())
    })
    .map_err(|why| why.within(name))?;
    Ok(Args { pod, candidates: Candidates::of(body, Places::Victims(pairs, form)) })
}

const NO_POD: &str = "the body has no Pod";

/// ExtenderArgs, read in one pass over the body, which may be tens of megabytes.
#[derive(Default)]
struct RawArgs<'a> {
    pod: Option<&'a RawValue>,
    names: Option<Names>,
    nodes: Option<Folded<NodeList>>,
}

/// ExtenderPreemptionArgs, with its maps unparsed.
#[derive(Default)]
struct RawPreemption<'a> {
    pod: Option<&'a RawValue>,
    meta: Option<&'a RawValue>,
    full: Option<&'a RawValue>,
}

/// A `NodeList`, of which only `items` is read.
#[derive(Default)]
struct NodeList {
    items: Option<Nodes>,
}

/// A Node's metadata.
#[derive(Default)]
struct NodeHead<'a> {
    metadata: Option<Folded<NodeMeta<'a>>>,
}

/// A Node's name, unparsed.
#[derive(Default)]
struct NodeMeta<'a> {
    name: Option<&'a RawValue>,
}

folded!(RawArgs<'a> { "Pod" => pod, "NodeNames" => names, "Nodes" => nodes });
folded!(RawPreemption<'a> {
    "Pod" => pod, "NodeNameToMetaVictims" => meta, "NodeNameToVictims" => full,
});
folded!(NodeList { "items" => items });
folded!(NodeHead<'a> { "metadata" => metadata });
folded!(NodeMeta<'a> { "name" => name });

/// The places of names.
struct Names {
    spans: Vec<Span>,
    /// The position of the first element that is not a string.
    first_non_string: Option<usize>,
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut names = Self { spans: Vec::new(), first_non_string: None };
        elements(deserializer, |name| {
            if name.get().starts_with('"') {
                check_name(name.get())?;
            } else {
                names.first_non_string = names.first_non_string.or(Some(names.spans.len()));
            }
            names.spans.push(Span::of(name.get()));
            Ok(())
        })?;
        Ok(names)
    }
}

/// The places of whole Nodes and their names.
#[derive(Default)]
struct Nodes(Vec<(Span, Span)>);

impl<'de> Deserialize<'de> for Nodes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut pairs = Vec::new();
        elements(deserializer, |item| {
            let head = serde_json::from_str::<Option<Folded<NodeHead<'_>>>>(item.get())?;
            let metadata = head.and_then(|head| head.0.metadata);
            let name = metadata.and_then(|metadata| metadata.0.name).map_or("", RawValue::get);
            if !name.is_empty() && !name.starts_with('"') {
                return Err("metadata.name is not a string".into());
            }
            check_name(name)?;
            pairs.push((Span::of(name), Span::of(item.get())));
            Ok(())
        })?;
        Ok(Self(pairs))
    }
}

/// Reads a list of at most `MAX_CANDIDATES` elements, one unparsed element after the other.
fn elements<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
    on_element: impl FnMut(&'de RawValue) -> Result<(), Malformed>,
) -> Result<(), D::Error> {
    struct Elements<F>(F);

    impl<'de, F: FnMut(&'de RawValue) -> Result<(), Malformed>> Visitor<'de> for Elements<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        /// Unlike serde's own message, this one does not quote the string, which may be huge.
        fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
            Err(E::custom("Invalid value: a string: must be a list"))
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
            let mut count = 0;
            while let Some(element) = list.next_element()? {
                count += 1;
                if count > MAX_CANDIDATES {
                    let why = format_args!("more than {MAX_CANDIDATES} elements");
                    return Err(A::Error::custom(why));
                }
                self.0(element).map_err(A::Error::custom)?;
            }
            Ok(())
        }
    }

    deserializer.deserialize_any(Elements(on_element))
}

/// Reads a body, which must be one JSON object.
fn read_whole<'a, T: Fold<'a>>(body: &'a str, what: &str) -> Result<T, Malformed> {
    let mut deserializer = serde_json::Deserializer::from_str(body);
    fold::object(&mut deserializer).and_then(|value| deserializer.end().map(|()| value)).map_err(
        |error| Malformed::from(error).about(format_args!("the body is not of type {what}")),
    )
}
