//! Reads a request in any layout, with a general JSON reader. Like Go, it matches the names of
//! members without regard to case.

use std::fmt;

use serde::Deserialize;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::k8s::decode::{MAX_CANDIDATES, Malformed, check_name};
use crate::k8s::fold::{self, Fold, Folded, folded};
use crate::k8s::victims;

use super::candidates::{Places, Span};

/// The pod of ExtenderArgs, unparsed, and the candidates.
pub(super) fn args(body: &str) -> Result<(&str, Places), Malformed> {
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
    Ok((pod, places))
}

/// The pod of ExtenderPreemptionArgs, unparsed, and the candidates. If a request has both maps of
/// victims, the one with UIDs counts.
pub(super) fn preemption_args(body: &str) -> Result<(&str, Places), Malformed> {
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
    Ok((pod, Places::Victims(pairs, form)))
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
