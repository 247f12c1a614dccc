//! Replies to kube-scheduler (`extender/v1`). A reply is written piece by piece from the request's
//! own bytes, so that even a reply about 100,000 hosts takes little memory.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use crate::decide::causes::Cause;
use crate::decide::filter::{Filter, Outcome, Verdict};

use super::decode::check_name;
use super::extender::{Candidate, Candidates, is_plain};
use super::victims;

pub use crate::decide::filter::Rejections;

/// A reply to the scheduler, which is written from the body of its request.
pub struct Reply {
    candidates: Candidates,
    results: Results,
    parts: [Part; 5],
}

/// The result for each candidate, in the order of the request.
enum Results {
    /// Whether the host is kept, and the reasons as JSON strings. An outcome that rejects a host
    /// refers to a reason by its index.
    Outcomes(Vec<Outcome>, Vec<String>),
    /// The host's score.
    Scores(Vec<u8>),
}

/// A part of a reply.
#[derive(Clone)]
enum Part {
    /// A fixed text.
    Text(Cow<'static, str>),
    /// The candidates that are kept, as elements of a list.
    Kept,
    /// The rejected hosts and their reasons, as members of a map.
    Rejected,
    /// Every host and its score, as elements of a list.
    Scored,
    /// The victims on the hosts that are kept, as members of a map.
    Victims,
}

/// How much of a reply has been written.
#[derive(Clone, Copy, Default)]
pub struct Progress {
    part: usize,
    /// The next candidate of this part, by its position.
    position: usize,
    /// Whether an element of this part has been written, so that the next one needs a comma.
    begun: bool,
}

/// What a reply is written to.
pub trait Out {
    /// Appends a part.
    fn add(&mut self, part: &str);

    /// The number of bytes that were appended.
    fn length(&self) -> usize;

    /// Expects this many bytes more.
    fn reserve(&mut self, _: usize) {}
}

impl Out for Vec<u8> {
    #[inline]
    fn add(&mut self, part: &str) {
        self.extend_from_slice(part.as_bytes());
    }

    fn length(&self) -> usize {
        self.len()
    }

    fn reserve(&mut self, more: usize) {
        self.reserve(more);
    }
}

/// Counts bytes.
struct Length(usize);

impl Out for Length {
    #[inline]
    fn add(&mut self, part: &str) {
        self.0 += part.len();
    }

    fn length(&self) -> usize {
        self.0
    }
}

// Parts of an ExtenderFilterResult.
const NAMES: &str = r#"{"Nodes":null,"NodeNames":["#;
const REJECTED: &str = r#"],"FailedNodes":{},"FailedAndUnresolvableNodes":{"#;
const END: &str = r#"},"Error":""}"#;

/// The text of each score.
const SCORES: [&str; 11] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];

const EMPTY: Part = Part::Text(Cow::Borrowed(""));

fn text(text: &'static str) -> Part {
    Part::Text(Cow::Borrowed(text))
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// ExtenderFilterResult. Rejected hosts are in it only if their causes are named.
#[must_use]
pub fn filter_result(candidates: Candidates, verdict: Verdict) -> Reply {
    let (before, between) = if candidates.are_nodes() {
        (
            r#"{"Nodes":{"metadata":{},"items":["#,
            r#"]},"NodeNames":null,"FailedNodes":{},"FailedAndUnresolvableNodes":{"#,
        )
    } else {
        (NAMES, REJECTED)
    };
    let rejected = if verdict.names_causes() { Part::Rejected } else { EMPTY };
    Reply {
        candidates,
        results: outcomes(verdict),
        parts: [text(before), Part::Kept, text(between), rejected, text(END)],
    }
}

/// The most candidates of a list that is decided on at once: each may cost 80 bytes.
const MAX_LISTED: usize = 20_000;
/// The most bytes of a list, and of the answer to it, that is written at once.
const MAX_AT_ONCE: usize = 2 << 20;

/// Decides on a list of names, which is that of [`extender::pod_and_names`], and appends the
/// ExtenderFilterResult to `out`. `None` if anything about the list is unusual, or it or the answer is
/// very long; `out` is then to be dropped.
///
/// [`extender::pod_and_names`]: super::extender::pod_and_names
#[must_use]
pub fn filter_list(
    list: &str,
    mut filter: Filter<'_>,
    rejections: Rejections,
    out: &mut Vec<u8>,
) -> Option<Verdict> {
    if list.len() > MAX_AT_ONCE {
        return None;
    }
    out.reserve(NAMES.len() + list.len() + REJECTED.len() + END.len());
    out.add(NAMES);
    let begun = out.len();
    let mut at = 0;
    while at < list.len() {
        let mut keep = |place: Range<usize>| {
            if out.len() > begun {
                out.add(",");
            }
            out.add(list.get(place).unwrap_or_default());
        };
        at += if let Some(bytes) = filter.run(list, at, &mut keep) {
            bytes
        } else {
            let rest = list.get(at..)?;
            let end = memchr::memchr_iter(b'"', rest.as_bytes()).nth(1)? + 1;
            let name = rest.get(..end)?;
            let inner = name.strip_prefix('"')?.strip_suffix('"')?;
            check_name(name).ok().filter(|()| is_plain(inner))?;
            if filter.single(inner, at..at + end) {
                keep(at..at + end);
            }
            end + 1
        };
        let comma = matches!(list.as_bytes().get(at - 1), Some(b',') | None);
        if !comma || filter.candidates() > MAX_LISTED {
            return None;
        }
    }
    // Each name but the last has a comma behind it.
    if at != list.len() + 1 {
        return None;
    }
    let verdict = filter.finish(rejections);
    out.add(REJECTED);
    if !verdict.rejected().is_empty() {
        // A host's name takes two additions, not four.
        let reasons = reasons(&verdict).into_iter().map(|reason| format!(":{reason},"));
        let reasons: Vec<_> = reasons.collect();
        let longest = reasons.iter().map(String::len).max().unwrap_or_default();
        let most = list.len() + verdict.rejected().len() * longest;
        if most > MAX_AT_ONCE {
            return None;
        }
        out.reserve(most);
        for (place, reason) in verdict.rejected() {
            out.add(list.get(place.clone()).unwrap_or_default());
            out.add(reasons.get(*reason).map_or(":\"\",", |reason| reason));
        }
        // The last one has no comma behind it.
        out.pop();
    }
    out.add(END);
    Some(verdict)
}

/// An ExtenderFilterResult with an error: the pod fails this scheduling cycle and is retried.
#[must_use]
pub fn filter_error(why: &str) -> Vec<u8> {
    format!(
        r#"{{"Nodes":null,"NodeNames":null,"FailedNodes":{{}},"FailedAndUnresolvableNodes":{{}},"Error":{}}}"#,
        json_string(why)
    )
    .into_bytes()
}

/// HostPriorityList. `scores` are in the order of the candidates.
#[must_use]
pub fn priorities(candidates: Candidates, scores: Vec<u8>) -> Reply {
    Reply {
        candidates,
        results: Results::Scores(scores),
        parts: [text("["), Part::Scored, text("]"), EMPTY, EMPTY],
    }
}

/// ExtenderPreemptionResult: the request's victims on the hosts that are kept.
#[must_use]
pub fn preemption_result(candidates: Candidates, verdict: Verdict) -> Reply {
    Reply {
        candidates,
        results: outcomes(verdict),
        parts: [text(r#"{"NodeNameToMetaVictims":{"#), Part::Victims, text("}}"), EMPTY, EMPTY],
    }
}

fn outcomes(verdict: Verdict) -> Results {
    let reasons = reasons(&verdict);
    Results::Outcomes(verdict.into_outcomes(), reasons)
}

/// The reason of each rejection, as a JSON string.
fn reasons(verdict: &Verdict) -> Vec<String> {
    verdict.rejections().iter().map(|rejection| json_string(&reason(&rejection.0))).collect()
}

impl Reply {
    /// Writes the next piece: the rest, or until `out` has at least `enough` bytes. Returns whether
    /// that was the last piece. `body` must be the request's.
    pub fn write(
        &self,
        body: &str,
        progress: &mut Progress,
        out: &mut impl Out,
        enough: usize,
    ) -> bool {
        while let Some(part) = self.parts.get(progress.part) {
            if let Part::Text(text) = part {
                out.add(text);
            } else {
                while progress.position < self.candidates.len() {
                    let position = progress.position;
                    progress.position += 1;
                    if !self.mentions(part, position) {
                        continue;
                    }
                    if std::mem::replace(&mut progress.begun, true) {
                        out.add(",");
                    }
                    if let Part::Kept = part {
                        let missing = enough.saturating_sub(out.length());
                        let (run, next) = self.run(body, position, missing);
                        out.add(run);
                        progress.position = next;
                    } else if let Some(candidate) = self.candidates.get(body, position) {
                        self.write_one(part, position, candidate, out);
                    }
                    if out.length() >= enough {
                        return false;
                    }
                }
            }
            *progress = Progress { part: progress.part + 1, ..Progress::default() };
        }
        true
    }

    /// The number of bytes of the whole reply.
    #[must_use]
    pub fn length(&self, body: &str) -> usize {
        let mut out = Length(0);
        self.write(body, &mut Progress::default(), &mut out, usize::MAX);
        out.0
    }

    /// The whole reply at once.
    #[must_use]
    pub fn to_vec(&self, body: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.length(body));
        self.write(body, &mut Progress::default(), &mut out, usize::MAX);
        out
    }

    /// The items from this kept candidate on, as they stand in the body with one comma between them, and
    /// the position of the candidate behind them. There are no more of them than it takes to have
    /// `missing` bytes.
    fn run<'a>(&self, body: &'a str, first: usize, missing: usize) -> (&'a str, usize) {
        let mut next = first + 1;
        let Some(mut items) = self.candidates.place(first) else { return ("", next) };
        while items.len() < missing && self.mentions(&Part::Kept, next) {
            let Some(item) = self.candidates.place(next) else { break };
            let comma = body.as_bytes().get(items.end) == Some(&b',');
            if !comma || item.start != items.end + 1 {
                break;
            }
            items.end = item.end;
            next += 1;
        }
        (body.get(items).unwrap_or_default(), next)
    }

    /// Returns whether a part of the reply says anything about a candidate.
    #[inline]
    fn mentions(&self, part: &Part, position: usize) -> bool {
        match (part, &self.results) {
            (Part::Kept | Part::Victims, Results::Outcomes(outcomes, _)) => {
                outcomes.get(position).is_some_and(|outcome| outcome.is_kept())
            }
            (Part::Rejected, Results::Outcomes(outcomes, _)) => {
                outcomes.get(position).is_some_and(|outcome| !outcome.is_kept())
            }
            (Part::Scored, Results::Scores(_)) => true,
            _ => false,
        }
    }

    #[inline]
    fn write_one(
        &self,
        part: &Part,
        position: usize,
        Candidate { quoted, item }: Candidate<'_>,
        out: &mut impl Out,
    ) {
        match (part, &self.results) {
            (Part::Rejected, Results::Outcomes(outcomes, reasons)) => {
                let rejection = outcomes.get(position).and_then(|outcome| outcome.rejection());
                let reason = rejection.and_then(|rejection| reasons.get(rejection));
                out.add(quoted);
                out.add(":");
                out.add(reason.map_or("\"\"", |reason| reason));
            }
            (Part::Scored, Results::Scores(scores)) => {
                let score = scores.get(position).copied().unwrap_or_default();
                out.add(r#"{"Host":"#);
                out.add(quoted);
                out.add(r#","Score":"#);
                out.add(SCORES.get(usize::from(score)).copied().unwrap_or("10"));
                out.add("}");
            }
            (Part::Victims, _) => {
                out.add(quoted);
                out.add(":");
                if let Some(form) = self.candidates.victims() {
                    // One reservation, since a buffer that grows costs up to three times its bytes.
                    out.reserve(item.len());
                    let mut append = |part: &str| out.add(part);
                    // The victims were checked when the request was read, so this can't fail.
                    let _ = victims::write(item, form, &mut append);
                }
            }
            _ => {}
        }
    }
}

/// Beyond this many bytes of a reason, further causes are only counted. An event holds no more, and
/// a pod that asks for thousands of networks must not make the reason of each host huge.
const MAX_REASON: usize = 1024;
/// Stands between the causes of a reason.
const SEPARATOR: &str = "; ";

/// Joins all causes into one reason.
fn reason(causes: &[Cause]) -> String {
    let mut reasons: Vec<String> = causes.iter().map(Cause::reason).collect();
    // Two annotations that can't be read have one reason.
    reasons.dedup();
    let mut text = String::new();
    for (position, reason) in reasons.iter().enumerate() {
        if position > 0 {
            if text.len() + SEPARATOR.len() + reason.len() > MAX_REASON {
                // Writing to a String can't fail.
                let _ = write!(text, "; and {} more", reasons.len() - position);
                break;
            }
            text.push_str(SEPARATOR);
        }
        text.push_str(reason);
    }
    text
}
