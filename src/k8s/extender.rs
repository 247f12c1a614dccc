//! kube-scheduler's requests to an extender (`extender/v1`). Of a request only offsets are kept,
//! which say where each candidate lies in the body, so that a request takes little memory beyond
//! its own bytes.
//!
//! The Go types have no JSON tags, so fields are in Go case. Like Go, we match them without regard
//! to case.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::cluster::Host;
use crate::decide::filter::Outcome;

use super::decode::{Decoder, MAX_CANDIDATES, Malformed, check_name, next_string, read_text};
use super::fold::{self, Consumed, Fold, Folded, value};
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
pub struct Candidates(Places);

enum Places {
    /// `count` names, from the byte `first` on (the scheduler's `nodeCacheCapable: true`).
    Names { first: usize, count: usize },
    /// Whole Nodes.
    Nodes(Vec<NodePlace>),
    /// `count` members of a map from names to victims, from the byte `first` on.
    Victims { first: usize, count: usize, form: victims::Form },
}

/// Where a Node and its name lie in a body of less than 4 GiB.
struct NodePlace {
    start: u32,
    end: u32,
    name_start: u32,
    name_end: u32,
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

/// How far an iteration over the candidates of a body has come.
#[derive(Clone, Copy, Default)]
pub(super) struct Cursor {
    /// How many candidates it has passed.
    pub position: usize,
    /// The byte from which to look for the next candidate, or `None` before the first.
    at: Option<usize>,
}

impl Candidates {
    /// The number of candidates.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Places::Names { count, .. } | Places::Victims { count, .. } => *count,
            Places::Nodes(nodes) => nodes.len(),
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
        let place = if self.are_nodes() { size_of::<NodePlace>() } else { 0 };
        self.len() * (place + size_of::<Outcome>())
    }

    /// Returns whether the candidates are whole Nodes.
    #[must_use]
    pub fn are_nodes(&self) -> bool {
        matches!(self.0, Places::Nodes(_))
    }

    /// The form of the victims, if the request is a preemption.
    pub(super) fn victims(&self) -> Option<victims::Form> {
        match self.0 {
            Places::Victims { form, .. } => Some(form),
            _ => None,
        }
    }

    /// All candidates, in order. `body` must be the one that they were read from.
    pub fn iter<'a>(&'a self, body: &'a str) -> impl Iterator<Item = Candidate<'a>> {
        let mut cursor = Cursor::default();
        std::iter::from_fn(move || self.next(body, &mut cursor))
    }

    /// The next candidate. Advances the cursor.
    pub(super) fn next<'a>(&self, body: &'a str, cursor: &mut Cursor) -> Option<Candidate<'a>> {
        if cursor.position == self.len() {
            return None;
        }
        let candidate = match &self.0 {
            Places::Names { first, .. } => {
                let place = next_string(body, cursor.at.unwrap_or(*first))?;
                cursor.at = Some(place.end);
                let quoted = body.get(place)?;
                Candidate { quoted, item: quoted }
            }
            Places::Nodes(nodes) => {
                let place = nodes.get(cursor.position)?;
                let part = |start: u32, end: u32| body.get(start as usize..end as usize);
                Candidate {
                    // A Node without a name is an unknown host.
                    quoted: part(place.name_start, place.name_end)
                        .filter(|name| !name.is_empty())
                        .unwrap_or("\"\""),
                    item: part(place.start, place.end)?,
                }
            }
            Places::Victims { first, .. } => {
                let name = next_string(body, cursor.at.unwrap_or(*first))?;
                let item = value_after(body, name.end)?;
                cursor.at = Some(item.end);
                Candidate { quoted: body.get(name)?, item: body.get(item)? }
            }
        };
        cursor.position += 1;
        Some(candidate)
    }
}

/// The range of the value after a member's name. It must be an object or `null`, as checked before.
fn value_after(body: &str, from: usize) -> Option<Range<usize>> {
    let bytes = body.as_bytes();
    let start = from + bytes.get(from..)?.iter().position(|byte| matches!(byte, b'{' | b'n'))?;
    if bytes.get(start) == Some(&b'n') {
        return Some(start..start + "null".len());
    }
    let (mut at, mut depth) = (start, 0_usize);
    loop {
        match bytes.get(at)? {
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(start..at + 1),
            b'}' => depth -= 1,
            b'"' => at = next_string(body, at)?.end - 1,
            _ => {}
        }
        at += 1;
    }
}

/// Reads ExtenderArgs.
///
/// # Errors
/// If a part is missing or malformed.
pub fn args(body: &str) -> Result<Args<'_>, Malformed> {
    let raw: RawArgs<'_> = read_whole(body, "ExtenderArgs")?;
    let pod = raw.pod.ok_or(NO_POD)?.get();
    let places = match (raw.names, raw.nodes) {
        (Some(Names { first_non_string: Some(first_non_string), .. }), None) => {
            return Err(Malformed::new(format!(
                "NodeNames: element {first_non_string} is not a string"
            )));
        }
        (Some(Names { first, count, first_non_string: None }), None) => {
            Places::Names { first: first.map_or(0, |first| offset(body, first.get())), count }
        }
        (None, Some(NodeList(items))) => Places::Nodes(items.place_in(body)?),
        (Some(_), Some(_)) => {
            return Err("ExtenderArgs has both NodeNames and Nodes; one is expected".into());
        }
        (None, None) => return Err("ExtenderArgs has neither NodeNames nor Nodes".into()),
    };
    Ok(Args { pod, candidates: Candidates(places) })
}

/// Reads ExtenderPreemptionArgs. If a request has both maps of victims, the one with UIDs counts.
///
/// # Errors
/// If a part is missing or malformed.
pub fn preemption_args(body: &str) -> Result<Args<'_>, Malformed> {
    let raw: RawPreemption<'_> = read_whole(body, "ExtenderPreemptionArgs")?;
    let pod = raw.pod.ok_or(NO_POD)?.get();
    let (map, form, name) = match (raw.meta, raw.full) {
        (Some(meta), _) => (meta, victims::Form::Meta, "NodeNameToMetaVictims"),
        (None, Some(full)) => (full, victims::Form::Full, "NodeNameToVictims"),
        (None, None) => {
            return Err("the body has neither NodeNameToVictims nor NodeNameToMetaVictims".into());
        }
    };
    let count = victims::count(map.get(), form).map_err(|why| why.within(name))?;
    let places = Places::Victims { first: offset(body, map.get()) + 1, count, form };
    Ok(Args { pod, candidates: Candidates(places) })
}

const NO_POD: &str = "the body has no Pod";

/// The offset of a part within the body.
fn offset(body: &str, part: &str) -> usize {
    part.as_ptr() as usize - body.as_ptr() as usize
}

/// ExtenderArgs, read in one pass over the body, which may be tens of megabytes.
#[derive(Default)]
struct RawArgs<'a> {
    pod: Option<&'a RawValue>,
    names: Option<Names<'a>>,
    nodes: Option<NodeList<'a>>,
}

impl<'de> Fold<'de> for RawArgs<'de> {
    fn member<A: MapAccess<'de>>(
        &mut self,
        name: &fold::Name<'de>,
        map: &mut A,
    ) -> Result<Consumed, A::Error> {
        if name.is("Pod") {
            self.pod = value(map, "Pod")?;
        } else if name.is("NodeNames") {
            self.names = value(map, "NodeNames")?;
        } else if name.is("Nodes") {
            self.nodes = value::<_, Option<Folded<_>>>(map, "Nodes")?.map(|nodes| nodes.0);
        } else {
            return Ok(Consumed::No);
        }
        Ok(Consumed::Yes)
    }
}

/// ExtenderPreemptionArgs, with its maps unparsed.
#[derive(Default)]
struct RawPreemption<'a> {
    pod: Option<&'a RawValue>,
    meta: Option<&'a RawValue>,
    full: Option<&'a RawValue>,
}

impl<'de> Fold<'de> for RawPreemption<'de> {
    fn member<A: MapAccess<'de>>(
        &mut self,
        name: &fold::Name<'de>,
        map: &mut A,
    ) -> Result<Consumed, A::Error> {
        if name.is("Pod") {
            self.pod = value(map, "Pod")?;
        } else if name.is("NodeNameToMetaVictims") {
            self.meta = value(map, "NodeNameToMetaVictims")?;
        } else if name.is("NodeNameToVictims") {
            self.full = value(map, "NodeNameToVictims")?;
        } else {
            return Ok(Consumed::No);
        }
        Ok(Consumed::Yes)
    }
}

/// A list of names: its first element, and how many there are.
struct Names<'a> {
    first: Option<&'a RawValue>,
    count: usize,
    /// The position of the first element that is not a string.
    first_non_string: Option<usize>,
}

impl<'de> Deserialize<'de> for Names<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mut first, mut count, mut first_non_string) = (None, 0, None);
        elements(deserializer, |name| {
            if name.get().starts_with('"') {
                check_name(name.get())?;
            } else {
                first_non_string = first_non_string.or(Some(count));
            }
            first = first.or(Some(name));
            count += 1;
            Ok(())
        })?;
        Ok(Self { first, count, first_non_string })
    }
}

/// A `NodeList`, of which only `items` is read.
#[derive(Default)]
struct NodeList<'a>(Nodes<'a>);

impl<'de> Fold<'de> for NodeList<'de> {
    fn member<A: MapAccess<'de>>(
        &mut self,
        name: &fold::Name<'de>,
        map: &mut A,
    ) -> Result<Consumed, A::Error> {
        if name.is("items") {
            self.0 = value::<_, Option<_>>(map, "items")?.unwrap_or_default();
            return Ok(Consumed::Yes);
        }
        Ok(Consumed::No)
    }
}

/// The places of whole Nodes and their names.
#[derive(Default)]
struct Nodes<'a> {
    /// The first Node. The places are relative to it.
    first: Option<&'a RawValue>,
    places: Vec<NodePlace>,
}

impl<'de> Deserialize<'de> for Nodes<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut nodes = Nodes::default();
        elements(deserializer, |item| {
            let first = nodes.first.get_or_insert(item).get();
            let name = match serde_json::from_str::<Option<Folded<NodeHead<'_>>>>(item.get())? {
                Some(Folded(NodeHead(Some(NodeMeta(Some(name)))))) => name.get(),
                _ => item.get().get(..0).unwrap_or_default(),
            };
            if !name.is_empty() && !name.starts_with('"') {
                return Err("metadata.name is not a string".into());
            }
            check_name(name)?;
            let place = |part: &str| {
                let start = offset(first, part);
                let ends = (u32::try_from(start), u32::try_from(start + part.len()));
                let (Ok(start), Ok(end)) = ends else {
                    return Err(Malformed::from("more than 4 GiB of Nodes"));
                };
                Ok((start, end))
            };
            let ((start, end), (name_start, name_end)) = (place(item.get())?, place(name)?);
            nodes.places.push(NodePlace { start, end, name_start, name_end });
            Ok(())
        })?;
        Ok(nodes)
    }
}

impl Nodes<'_> {
    /// The places, relative to the beginning of the body.
    fn place_in(mut self, body: &str) -> Result<Vec<NodePlace>, Malformed> {
        let first = self.first.map_or(0, |first| offset(body, first.get()));
        if u32::try_from(body.len()).is_err() {
            return Err("a body of more than 4 GiB".into());
        }
        // An offset within the body fits, as checked above.
        let first = u32::try_from(first).unwrap_or_default();
        for place in &mut self.places {
            place.start += first;
            place.end += first;
            place.name_start += first;
            place.name_end += first;
        }
        Ok(self.places)
    }
}

/// A Node's metadata.
#[derive(Default)]
struct NodeHead<'a>(Option<NodeMeta<'a>>);

/// A Node's name, unparsed.
#[derive(Default)]
struct NodeMeta<'a>(Option<&'a RawValue>);

impl<'de> Fold<'de> for NodeHead<'de> {
    fn member<A: MapAccess<'de>>(
        &mut self,
        name: &fold::Name<'de>,
        map: &mut A,
    ) -> Result<Consumed, A::Error> {
        if name.is("metadata") {
            self.0 = value::<_, Option<Folded<_>>>(map, "metadata")?.map(|metadata| metadata.0);
            return Ok(Consumed::Yes);
        }
        Ok(Consumed::No)
    }
}

impl<'de> Fold<'de> for NodeMeta<'de> {
    fn member<A: MapAccess<'de>>(
        &mut self,
        name: &fold::Name<'de>,
        map: &mut A,
    ) -> Result<Consumed, A::Error> {
        if name.is("name") {
            self.0 = value(map, "name")?;
            return Ok(Consumed::Yes);
        }
        Ok(Consumed::No)
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
            Err(E::custom("a string where a list is expected"))
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
