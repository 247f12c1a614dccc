//! kube-scheduler's `extender/v1`, borrowed on the way in and written by hand on the way out: what
//! is only passed on is never copied twice, and nothing is allocated for a host.
//!
//! Those Go types carry no JSON tags, so fields are in Go case; Go reads them without regard to
//! case, and so do we.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use serde::Deserialize;
use serde::de::MapAccess;
use serde_json::value::RawValue;

use crate::cluster::Host;
use crate::decide::causes::Cause;
use crate::decide::filter::{Outcome, Verdict};

use super::fold::{self, Elements, Fold, Members, Taken, value};
use super::meta::nullable;
use super::node::Node;
use super::objects::read;

/// ExtenderArgs: a pod and the candidate hosts for it.
pub struct Args<'a> {
    /// The pod, unread.
    pub pod: &'a str,
    /// The hosts.
    pub candidates: Candidates<'a>,
}

/// Candidate hosts, in one of the two modes of the scheduler.
pub enum Candidates<'a> {
    /// Their names, as JSON strings (the scheduler's `nodeCacheCapable: true`).
    Names(Vec<&'a RawValue>),
    /// Whole Nodes.
    Nodes(Vec<(&'a RawValue, Cow<'a, str>)>),
}

#[derive(Deserialize)]
struct NodeName<'a> {
    #[serde(borrow)]
    metadata: Option<NamedMeta<'a>>,
}

#[derive(Default, Deserialize)]
struct NamedMeta<'a> {
    #[serde(borrow)]
    name: Option<fold::Name<'a>>,
}

/// Reads ExtenderArgs.
///
/// # Errors
/// Says what is missing or malformed.
pub fn args(body: &[u8]) -> Result<Args<'_>, String> {
    let raw: RawArgs<'_> = read_whole(body, "ExtenderArgs")?;
    let pod = raw.pod.ok_or(NO_POD)?.get();
    let candidates = match (raw.names, raw.nodes) {
        (Some(Elements(names)), None) => {
            if let Some(odd) = names.iter().position(|name| !name.get().starts_with('"')) {
                return Err(format!("NodeNames: element {odd} is not a string"));
            }
            Candidates::Names(names)
        }
        (None, Some(NodeList(Elements(items)))) => {
            let named = items.into_iter().map(|item| {
                let node: NodeName<'_> = serde_json::from_str(item.get())
                    .map_err(|error| format!("Nodes.items: {error}"))?;
                let name = node.metadata.and_then(|meta| meta.name);
                Ok((item, name.map(fold::Name::into_text).unwrap_or_default()))
            });
            Candidates::Nodes(named.collect::<Result<_, String>>()?)
        }
        (Some(_), Some(_)) => {
            return Err("ExtenderArgs has both NodeNames and Nodes; one is expected".to_owned());
        }
        (None, None) => {
            return Err("ExtenderArgs has neither NodeNames nor Nodes".to_owned());
        }
    };
    Ok(Args { pod, candidates })
}

const NO_POD: &str = "the body has no Pod";

/// How many candidate hosts a request may have.
const MOST_CANDIDATES: usize = 100_000;

/// ExtenderArgs, read in one pass over the body, which may be tens of megabytes.
#[derive(Default)]
struct RawArgs<'a> {
    pod: Option<&'a RawValue>,
    names: Option<Elements<'a, MOST_CANDIDATES>>,
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
            self.nodes = value(map, "Nodes")?;
        } else {
            return Ok(Taken::No);
        }
        Ok(Taken::Yes)
    }
}

#[derive(Default)]
struct NodeList<'a>(Elements<'a, MOST_CANDIDATES>);

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

impl<'de> Deserialize<'de> for NodeList<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fold::object(deserializer)
    }
}

/// Reads a whole body, which must be an object.
fn read_whole<'a, T: Fold<'a>>(body: &'a [u8], what: &str) -> Result<T, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    fold::object(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| format!("the body is no {what}: {error}"))
}

/// The text of a JSON string; borrowed unless it has escapes.
fn text(string: &RawValue) -> Cow<'_, str> {
    let quoted = string.get();
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if inner.contains('\\') {
        // It was parsed as JSON before, so what can fail here is a lone surrogate at most, and no
        // host has such a name.
        Cow::Owned(serde_json::from_str(quoted).unwrap_or_default())
    } else {
        Cow::Borrowed(inner)
    }
}

impl Candidates<'_> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Names(names) => names.len(),
            Self::Nodes(nodes) => nodes.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every candidate's name.
    #[must_use]
    pub fn names(&self) -> impl ExactSizeIterator<Item = Cow<'_, str>> {
        (0..self.len()).map(|position| match self {
            Self::Names(names) => names.get(position).map(|name| text(name)).unwrap_or_default(),
            Self::Nodes(nodes) => Cow::Borrowed(nodes.get(position).map_or("", |(_, name)| name)),
        })
    }

    /// What came along of a candidate: its labels, where whole Nodes were sent.
    #[must_use]
    pub fn host(&self, position: usize) -> Option<Host> {
        let Self::Nodes(nodes) = self else { return None };
        let (item, _) = nodes.get(position)?;
        let node = read::<Node, _>(&mut serde_json::Deserializer::from_str(item.get()));
        node.ok().map(Host::from)
    }

    /// Writes a candidate's name, as JSON.
    fn write_name(&self, out: &mut Vec<u8>, position: usize) {
        match self {
            Self::Names(names) => {
                out.extend_from_slice(names.get(position).map_or("\"\"", |it| it.get()).as_bytes());
            }
            Self::Nodes(nodes) => write_json(out, nodes.get(position).map_or("", |(_, name)| name)),
        }
    }
}

/// Writes a JSON string, which can't fail into memory.
fn write_json(out: &mut Vec<u8>, text: &str) {
    let _ = serde_json::to_writer(out, text);
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether rejected hosts are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rejections {
    /// When no host is kept: the only time that the scheduler uses them.
    #[default]
    Needed,
    /// Always.
    All,
}

/// Writes ExtenderFilterResult. `room` is the size of the request in bytes, which bounds the kept
/// items.
#[must_use]
pub fn filter_result(
    candidates: &Candidates<'_>,
    verdict: &Verdict,
    rejections: Rejections,
    room: usize,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(room + 256);
    let kept = || {
        verdict
            .outcomes()
            .iter()
            .enumerate()
            .filter(|(_, outcome)| **outcome == Outcome::Kept)
            .map(|(position, _)| position)
    };
    match candidates {
        Candidates::Names(names) => {
            out.extend_from_slice(br#"{"Nodes":null,"NodeNames":["#);
            write_list(&mut out, kept().filter_map(|position| names.get(position).copied()));
            out.extend_from_slice(b"]");
        }
        Candidates::Nodes(nodes) => {
            out.extend_from_slice(br#"{"Nodes":{"metadata":{},"items":["#);
            let items = kept().filter_map(|position| nodes.get(position));
            write_list(&mut out, items.map(|(item, _)| *item));
            out.extend_from_slice(br#"]},"NodeNames":null"#);
        }
    }
    out.extend_from_slice(br#","FailedNodes":{},"FailedAndUnresolvableNodes":{"#);
    if rejections == Rejections::All || verdict.kept() == 0 {
        write_rejections(&mut out, candidates, verdict);
    }
    out.extend_from_slice(br#"},"Error":""}"#);
    out
}

fn write_list<'a>(out: &mut Vec<u8>, items: impl Iterator<Item = &'a RawValue>) {
    for (position, item) in items.enumerate() {
        if position > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item.get().as_bytes());
    }
}

fn write_rejections(out: &mut Vec<u8>, candidates: &Candidates<'_>, verdict: &Verdict) {
    let reasons: Vec<String> = verdict
        .rejections()
        .iter()
        .map(|rejection| json_string(&reason(&rejection.causes)))
        .collect();
    let mut first = true;
    for (position, outcome) in verdict.outcomes().iter().enumerate() {
        let Outcome::Rejected(rejection) = outcome else { continue };
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        candidates.write_name(out, position);
        out.push(b':');
        out.extend_from_slice(reasons.get(*rejection as usize).map_or("\"\"", |it| it).as_bytes());
    }
}

/// How long a reason may be, in bytes, before causes are only counted: an event holds no more, and
/// a pod that asks for thousands of networks must not make each host's reason as long as that.
const MOST_REASON: usize = 1024;

/// All causes, joined.
fn reason(causes: &[Cause]) -> String {
    let mut text = String::new();
    for (position, cause) in causes.iter().enumerate() {
        let reason = cause.reason();
        if position > 0 {
            if text.len() + reason.len() > MOST_REASON {
                // Writing to a String can't fail.
                let _ = write!(text, "; and {} more", causes.len() - position);
                break;
            }
            text.push_str("; ");
        }
        text.push_str(&reason);
    }
    text
}

/// Writes an ExtenderFilterResult that fails this cycle of the pod, which is tried again.
#[must_use]
pub fn filter_error(why: &str) -> Vec<u8> {
    format!(
        r#"{{"Nodes":null,"NodeNames":null,"FailedNodes":{{}},"FailedAndUnresolvableNodes":{{}},"Error":{}}}"#,
        json_string(why)
    )
    .into_bytes()
}

/// Writes a HostPriorityList; `scores` are the candidates', in their order.
#[must_use]
pub fn priorities(candidates: &Candidates<'_>, scores: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 * scores.len() + 2);
    out.push(b'[');
    for (position, score) in scores.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        out.extend_from_slice(br#"{"Host":"#);
        candidates.write_name(&mut out, position);
        // Into memory, which can't fail.
        let _ = write!(out, r#","Score":{score}}}"#);
    }
    out.push(b']');
    out
}

/// ExtenderPreemptionArgs: a pod, and for each candidate host the pods to evict for it.
pub struct PreemptionArgs<'a> {
    /// The pod, unread.
    pub pod: &'a str,
    /// By host, the victims as a MetaVictims in JSON.
    pub victims: BTreeMap<String, Cow<'a, str>>,
}

/// Reads ExtenderPreemptionArgs. Of both maps, the one with UIDs counts.
///
/// # Errors
/// Says what is missing or malformed.
pub fn preemption_args(body: &[u8]) -> Result<PreemptionArgs<'_>, String> {
    let members: Members<'_> = read_whole(body, "ExtenderPreemptionArgs")?;
    let pod = members.get("Pod").ok_or(NO_POD)?.get();
    let meta = members.get("NodeNameToMetaVictims");
    let full = members.get("NodeNameToVictims");
    let victims: BTreeMap<_, _> = if let Some(meta) = meta {
        let meta: BTreeMap<String, Option<&RawValue>> = serde_json::from_str(meta.get())
            .map_err(|error| format!("NodeNameToMetaVictims: {error}"))?;
        meta.into_iter()
            .map(|(host, victims)| {
                (host, Cow::Borrowed(victims.map_or(NO_VICTIMS, |victims| victims.get())))
            })
            .collect()
    } else if let Some(full) = full {
        let full: BTreeMap<String, Option<Members<'_>>> = serde_json::from_str(full.get())
            .map_err(|error| format!("NodeNameToVictims: {error}"))?;
        let meta = full.into_iter().map(|(host, victims)| {
            let meta = meta_victims(&victims.unwrap_or_default())
                .map_err(|why| format!("NodeNameToVictims: {why}"))?;
            Ok((host, Cow::Owned(meta)))
        });
        meta.collect::<Result<_, String>>()?
    } else {
        return Err("the body has neither NodeNameToVictims nor NodeNameToMetaVictims".to_owned());
    };
    if victims.len() > MOST_CANDIDATES {
        return Err(format!("more than {MOST_CANDIDATES} hosts"));
    }
    Ok(PreemptionArgs { pod, victims })
}

/// What a `null` entry comes to: nobody to evict. The scheduler could not read `null`.
const NO_VICTIMS: &str = r#"{"Pods":[],"NumPDBViolations":0}"#;

/// Full victims as the answer has them: by UID alone.
fn meta_victims(victims: &Members<'_>) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Victim {
        #[serde(default, deserialize_with = "nullable")]
        metadata: VictimMeta,
    }
    #[derive(Default, Deserialize)]
    struct VictimMeta {
        #[serde(default, deserialize_with = "nullable")]
        uid: String,
    }
    let pods: Vec<Victim> = match victims.get("Pods") {
        Some(pods) => serde_json::from_str(pods.get()).map_err(|error| format!("Pods: {error}"))?,
        None => Vec::new(),
    };
    let uids: Vec<_> =
        pods.iter().map(|pod| serde_json::json!({ "UID": pod.metadata.uid })).collect();
    let violations = victims.get("NumPDBViolations").map_or("0", RawValue::get);
    Ok(format!(r#"{{"Pods":{},"NumPDBViolations":{violations}}}"#, serde_json::Value::from(uids)))
}

/// Writes ExtenderPreemptionResult: the victims, as they came, of the hosts that are kept.
#[must_use]
pub fn preemption_result(args: &PreemptionArgs<'_>, verdict: &Verdict) -> Vec<u8> {
    let mut out = br#"{"NodeNameToMetaVictims":{"#.to_vec();
    let mut first = true;
    for ((host, victims), outcome) in args.victims.iter().zip(verdict.outcomes()) {
        if *outcome != Outcome::Kept {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        write_json(&mut out, host);
        out.push(b':');
        out.extend_from_slice(victims.as_bytes());
    }
    out.extend_from_slice(b"}}");
    out
}
