//! Reads a request in the very layout that kube-scheduler writes, without parsing what is only
//! passed on. Anything else is left to the general reader, which reads every JSON.
//!
//! Go's encoder writes a struct's members in one order, without blanks, and escapes each quote within
//! a string. So a mark with quotes, such as `"NodeNames":[`, stands where that member is written,
//! and nothing that somebody writes into a pod or a Node looks like it.

use std::sync::LazyLock;

use memchr::arch::all::packedpair::HeuristicFrequencyRank;
use memchr::memmem::{Finder, FinderBuilder};

use crate::k8s::decode::{MAX_CANDIDATES, check_name};

use super::candidates::{Places, Span};

const POD: &str = r#"{"Pod":"#;
const METADATA: &str = r#"{"metadata":{"#;
/// A pod that is bound, which the scheduler asks about only for a deferred resize.
static BOUND: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(r#""nodeName":"#));
static NAMES: LazyLock<Finder<'_>> =
    LazyLock::new(|| Finder::new(r#","Nodes":null,"NodeNames":["#));
const NAMES_END: &str = "]}";
static NODES: LazyLock<Finder<'_>> =
    LazyLock::new(|| Finder::new(r#","Nodes":{"metadata":{},"items":["#));
const NODES_END: &str = r#"]},"NodeNames":null}"#;
/// A Node begins so, since its name is the first member of its first member.
const NODE: &str = r#"{"metadata":{"name":""#;
static NEXT_NODE: LazyLock<Finder<'_>> = LazyLock::new(|| {
    FinderBuilder::new().build_forward_with_ranker(InNodes, r#"},{"metadata":{"name":""#)
});

/// How often a byte occurs in Nodes. A brace with an `m` behind it is rare, though neither is by itself.
struct InNodes;

impl HeuristicFrequencyRank for InNodes {
    fn rank(&self, byte: u8) -> u8 {
        match byte {
            b'm' => 0,
            b'{' => 1,
            _ => u8::MAX,
        }
    }
}

/// The pod of ExtenderArgs, unparsed, and the candidates. `None` if the body has another layout, or
/// exceeds a limit, or if the pod may be bound.
pub(super) fn args(body: &str) -> Option<(&str, Places)> {
    if body.ends_with(NODES_END) {
        let (pod, list) = split(body, &NODES)?;
        Some((pod, Places::Nodes(nodes(list.strip_suffix(NODES_END)?)?)))
    } else {
        let (pod, list) = pod_and_names(body)?;
        Some((pod, Places::Names(names(list)?)))
    }
}

/// The pod of ExtenderArgs and the elements of the list of names, both unparsed.
pub(super) fn pod_and_names(body: &str) -> Option<(&str, &str)> {
    split(body.strip_suffix(NAMES_END)?, &NAMES)
}

/// The pod, and what stands behind the mark that follows it.
fn split<'a>(body: &'a str, mark: &Finder<'_>) -> Option<(&'a str, &'a str)> {
    let rest = body.strip_prefix(POD).filter(|rest| rest.starts_with(METADATA))?;
    let at = mark.find(rest.as_bytes())?;
    let pod = rest.get(..at)?;
    let bound = BOUND.find(pod.as_bytes()).is_some();
    (!bound).then_some((pod, rest.get(at + mark.needle().len()..)?))
}

/// Returns whether a part of the body is free of what JSON escapes within a string.
pub(in crate::k8s) fn is_plain(part: &str) -> bool {
    // Without a branch for each byte, the compiler looks at many at once.
    part.bytes().fold(0, |odd, it| odd | u8::from(it < b' ') | u8::from(it == b'\\')) == 0
}

/// The places of names that are separated by one comma each.
fn names(list: &str) -> Option<Vec<Span>> {
    if !is_plain(list) {
        return None;
    }
    let mut quotes = memchr::memchr_iter(b'"', list.as_bytes());
    let mut spans = Vec::new();
    let mut next = 0;
    while next <= list.len() && !list.is_empty() {
        let (open, close) = (quotes.next()?, quotes.next()?);
        let name = list.get(open..=close)?;
        if open != next || spans.len() == MAX_CANDIDATES || check_name(name).is_err() {
            return None;
        }
        if spans.is_empty() {
            spans.reserve(MAX_CANDIDATES.min(list.len() / (name.len() + 1) + 1));
        }
        spans.push(Span::of(name));
        if !matches!(list.as_bytes().get(close + 1), Some(b',') | None) {
            return None;
        }
        next = close + 2;
    }
    Some(spans)
}

/// The places of Nodes that are separated by one comma each, and of their names.
fn nodes(list: &str) -> Option<Vec<(Span, Span)>> {
    let mut pairs = Vec::new();
    let mut starts = NEXT_NODE.find_iter(list.as_bytes());
    let mut start = 0;
    while start < list.len() {
        let end = starts.next().map_or(list.len(), |at| at + 1);
        let node = list.get(start..end)?;
        let length = memchr::memchr(b'"', node.strip_prefix(NODE)?.as_bytes())?;
        let name = node.get(NODE.len() - 1..=NODE.len() + length)?;
        let fits = is_plain(name) && check_name(name).is_ok() && pairs.len() < MAX_CANDIDATES;
        if !fits || !node.ends_with('}') {
            return None;
        }
        pairs.push((Span::of(name), Span::of(node)));
        // Behind the comma.
        start = end + 1;
    }
    Some(pairs)
}
