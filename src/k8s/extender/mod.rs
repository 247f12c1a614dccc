//! kube-scheduler's requests to an extender (`extender/v1`). Of a request only spans are kept, which
//! say where each candidate lies in the body, so that a request takes little memory beyond its own
//! bytes.

mod any;
mod candidates;
mod layout;

use super::ScheduledPod;
use super::decode::{Decoder, Malformed};
use super::pods::PodHeadMeta;

pub use candidates::{Candidate, Candidates};
pub(super) use layout::is_plain;

/// ExtenderArgs: a pod and the candidate hosts for it.
pub struct Args<'a> {
    pod: Pod<'a>,
    /// The candidate hosts.
    pub candidates: Candidates,
}

enum Pod<'a> {
    /// The metadata of a pod that is not bound.
    InLayout(PodHeadMeta),
    Unparsed(&'a str),
}

impl Args<'_> {
    /// Reads the pod.
    ///
    /// # Errors
    /// If it is not a pod, or its annotations exceed Kubernetes' limit.
    pub fn pod(&self, decoder: &Decoder) -> Result<ScheduledPod, Malformed> {
        match &self.pod {
            Pod::InLayout(metadata) => Ok(decoder.unbound_pod(metadata)),
            Pod::Unparsed(pod) => decoder.scheduled_pod(pod),
        }
    }
}

/// Reads ExtenderArgs. In the layout that kube-scheduler writes, what is only passed on is not
/// looked into: kube-scheduler gets it back as it came.
///
/// # Errors
/// If a part is missing or malformed.
pub fn args(body: &str) -> Result<Args<'_>, Malformed> {
    check_size(body)?;
    let in_layout = || {
        let (pod, places) = layout::args(body)?;
        let pod = Pod::InLayout(PodHeadMeta::in_layout(pod)?);
        Some(Args { pod, candidates: Candidates::of(body, places) })
    };
    in_layout().map_or_else(|| any_args(body), Ok)
}

/// The pod of ExtenderArgs and its list of names, in the layout that kube-scheduler writes. The list is
/// what stands between its brackets, unread. `None` for any other request.
#[must_use]
pub fn pod_and_names<'a>(body: &'a str, decoder: &Decoder) -> Option<(ScheduledPod, &'a str)> {
    let (pod, names) = layout::pod_and_names(body)?;
    Some((decoder.unbound_pod(&PodHeadMeta::in_layout(pod)?), names))
}

/// Reads ExtenderArgs in any layout.
///
/// # Errors
/// If a part is missing or malformed.
pub fn any_args(body: &str) -> Result<Args<'_>, Malformed> {
    check_size(body)?;
    let (pod, places) = any::args(body)?;
    Ok(Args { pod: Pod::Unparsed(pod), candidates: Candidates::of(body, places) })
}

/// Reads ExtenderPreemptionArgs. If a request has both maps of victims, the one with UIDs counts.
///
/// # Errors
/// If a part is missing or malformed.
pub fn preemption_args(body: &str) -> Result<Args<'_>, Malformed> {
    check_size(body)?;
    let (pod, places) = any::preemption_args(body)?;
    Ok(Args { pod: Pod::Unparsed(pod), candidates: Candidates::of(body, places) })
}

/// Checks that every part of the body can be told by a span.
fn check_size(body: &str) -> Result<(), Malformed> {
    match u32::try_from(body.len()) {
        Ok(_) => Ok(()),
        Err(_) => Err("a body of 4 GiB or more".into()),
    }
}
