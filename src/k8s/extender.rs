//! kube-scheduler's `extender/v1` on the way in. Of a request only places are kept: where each
//! candidate's name lies in the body, so that a request costs little beyond its own bytes.
//!
//! Those Go types carry no JSON tags, so fields are in Go case; Go reads them without regard to
//! case, and so do we.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::cluster::Host;
use crate::decide::filter::Outcome;

use super::decode::{Decoder, MAX_CANDIDATES, Malformed, check_name, next_string, read_text};
use super::fold::{self, Fold, Folded, Taken, value};
use super::meta::Object as _;
use super::node::Node;
use super::victims;

/// ExtenderArgs: a pod and the candidate hosts for it.
pub struct Args<'a> {
    /// The pod, unread.
    pub pod: &'a str,
    /// The hosts.
    pub candidates: Candidates,
}

/// Where the candidate hosts of a request lie in its body.
pub struct Candidates(Places);

enum Places {
    /// So many names, from this byte on (the scheduler's `nodeCacheCapable: true`).
    Names { first: usize, count: usize },
    /// Whole Nodes.
    Nodes(Vec<NodePlace>),
    /// So many members of a map from names to victims, from this byte on.
    Victims { first: usize, count: usize, form: victims::Form },
}

/// Where a Node and the string of its name lie in a body, which has less than 4 GiB.
struct NodePlace {
    start: u32,
    end: u32,
    name_start: u32,
    name_end: u32,
}

/// One candidate host.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// Its name as it is written: a JSON string with its quotes.
    pub(super) quoted: &'a str,
    /// What comes with it: the Node, or the victims on it.
    pub(super) item: &'a str,
}

impl<'a> Candidate<'a> {
    /// Its name.
    #[must_use]
    pub fn name(self) -> Cow<'a, str> {
        let inner = self.quoted.get(1..self.quoted.len().saturating_sub(1)).unwrap_or_default();
        if inner.contains('\\') {
            // It was read as JSON before, so what can fail here is a lone surrogate at most, and no
            // host has such a name.
            Cow::Owned(serde_json::from_str(self.quoted).unwrap_or_default())
        } else {
            Cow::Borrowed(inner)
        }
    }

    /// What the Node says, where a whole one was sent.
    #[must_use]
    pub fn host(self, decoder: &Decoder) -> Option<Host> {
        read_text::<Node>(self.item).ok().map(|node| node.facts(decoder))
    }
}

/// How far the candidates of a body have been walked through.
#[derive(Clone, Copy, Default)]
pub(super) struct Cursor {
    /// How many are behind it.
    pub position: usize,
    /// Where the next one begins, or what stands before it; nothing before the first.
    at: Option<usize>,
}

impl Candidates {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Places::Names { count, .. } | Places::Victims { count, .. } => *count,
            Places::Nodes(nodes) => nodes.len(),
        }
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes are kept beside the body until the answer is written, the answer's
    /// bookkeeping included.
    #[must_use]
    pub fn cost(&self) -> usize {
        let place = if self.are_nodes() { size_of::<NodePlace>() } else { 0 };
        self.len() * (place + size_of::<Outcome>())
    }

    /// Returns whether they are whole Nodes.
    #[must_use]
    pub fn are_nodes(&self) -> bool {
        matches!(self.0, Places::Nodes(_))
    }

    /// In which form their victims are, where they have any.
    pub(super) fn victims(&self) -> Option<victims::Form> {
        match self.0 {
            Places::Victims { form, .. } => Some(form),
            _ => None,
        }
    }

    /// Every candidate, in order, of the body that they were read from.
    pub fn iter<'a>(&'a self, body: &'a str) -> impl Iterator<Item = Candidate<'a>> {
        let mut cursor = Cursor::default();
        std::iter::from_fn(move || self.next(body, &mut cursor))
    }

    /// The candidate behind the cursor, which moves on.
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
                    // One without a name is a host that nobody knows.
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

/// Where the value behind a member's name lies: an object or `null`, as was read before.
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
/// Says what is missing or malformed.
pub fn args(body: &str) -> Result<Args<'_>, Malformed> {
    let raw: RawArgs<'_> = read_whole(body, "ExtenderArgs")?;
    let pod = raw.pod.ok_or(NO_POD)?.get();
    let places = match (raw.names, raw.nodes) {
        (Some(Names { odd: Some(odd), .. }), None) => {
            return Err(Malformed::new(format!("NodeNames: element {odd} is not a string")));
        }
        (Some(Names { first, count, odd: None }), None) => {
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

/// Reads ExtenderPreemptionArgs. Of both maps, the one with UIDs counts.
///
/// # Errors
/// Says what is missing or malformed.
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

/// Where a part of the body begins in it.
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
    ) -> Result<Taken, A::Error> {
        if name.is("Pod") {
            self.pod = value(map, "Pod")?;
        } else if name.is("NodeNames") {
            self.names = value(map, "NodeNames")?;
        } else if name.is("Nodes") {
            self.nodes = value::<_, Option<Folded<_>>>(map, "Nodes")?.map(|nodes| nodes.0);
        } else {
            return Ok(Taken::No);
        }
        Ok(Taken::Yes)
    }
}

/// ExtenderPreemptionArgs, its maps unread.
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
    ) -> Result<Taken, A::Error> {
        if name.is("Pod") {
            self.pod = value(map, "Pod")?;
        } else if name.is("NodeNameToMetaVictims") {
            self.meta = value(map, "NodeNameToMetaVictims")?;
        } else if name.is("NodeNameToVictims") {
            self.full = value(map, "NodeNameToVictims")?;
        } else {
            return Ok(Taken::No);
        }
        Ok(Taken::Yes)
    }
}

/// A list of names: where it begins, and how many there are.
struct Names<'a> {
    first: Option<&'a RawValue>,
    count: usize,
    /// The first element that is no name.
    odd: Option<usize>,
}

impl<'de> Deserialize<'de> for Names<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mut first, mut count, mut odd) = (None, 0, None);
        elements(deserializer, |name| {
            if name.get().starts_with('"') {
                check_name(name.get())?;
            } else {
                odd = odd.or(Some(count));
            }
            first = first.or(Some(name));
            count += 1;
            Ok(())
        })?;
        Ok(Self { first, count, odd })
    }
}

/// The list in a `NodeList`.
#[derive(Default)]
struct NodeList<'a>(Nodes<'a>);

impl<'de> Fold<'de> for NodeList<'de> {
    fn member<A: MapAccess<'de>>(
        &mut self,
        name: &fold::Name<'de>,
        map: &mut A,
    ) -> Result<Taken, A::Error> {
        if name.is("items") {
            self.0 = value::<_, Option<_>>(map, "items")?.unwrap_or_default();
            return Ok(Taken::Yes);
        }
        Ok(Taken::No)
    }
}

/// Whole Nodes and their names, each where it lies.
#[derive(Default)]
struct Nodes<'a> {
    /// The first, from which the places are counted.
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
    /// The places, counted from the beginning of the body.
    fn place_in(mut self, body: &str) -> Result<Vec<NodePlace>, Malformed> {
        let first = self.first.map_or(0, |first| offset(body, first.get()));
        if u32::try_from(body.len()).is_err() {
            return Err("a body of more than 4 GiB".into());
        }
        // It is within the body, so it fits.
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

/// A Node's name, unread.
#[derive(Default)]
struct NodeMeta<'a>(Option<&'a RawValue>);

impl<'de> Fold<'de> for NodeHead<'de> {
    fn member<A: MapAccess<'de>>(
        &mut self,
        name: &fold::Name<'de>,
        map: &mut A,
    ) -> Result<Taken, A::Error> {
        if name.is("metadata") {
            self.0 = value::<_, Option<Folded<_>>>(map, "metadata")?.map(|metadata| metadata.0);
            return Ok(Taken::Yes);
        }
        Ok(Taken::No)
    }
}

impl<'de> Fold<'de> for NodeMeta<'de> {
    fn member<A: MapAccess<'de>>(
        &mut self,
        name: &fold::Name<'de>,
        map: &mut A,
    ) -> Result<Taken, A::Error> {
        if name.is("name") {
            self.0 = value(map, "name")?;
            return Ok(Taken::Yes);
        }
        Ok(Taken::No)
    }
}

/// Reads a list of at most as many elements as there may be candidates, one unread element after
/// the other.
fn elements<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
    take: impl FnMut(&'de RawValue) -> Result<(), Malformed>,
) -> Result<(), D::Error> {
    struct Elements<F>(F);

    impl<'de, F: FnMut(&'de RawValue) -> Result<(), Malformed>> Visitor<'de> for Elements<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        /// Says less than serde would: a message that quotes the whole string could be larger than
        /// the body.
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

    deserializer.deserialize_any(Elements(take))
}

/// Reads a whole body, which must be an object.
fn read_whole<'a, T: Fold<'a>>(body: &'a str, what: &str) -> Result<T, Malformed> {
    let mut deserializer = serde_json::Deserializer::from_str(body);
    fold::object(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| Malformed::from(error).about(format_args!("the body is no {what}")))
}
