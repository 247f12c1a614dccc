//! kube-scheduler's requests to an extender (`extender/v1`). Of a request only spans are kept, which
//! say where each candidate lies in the body, so that a request takes little memory beyond its own
//! bytes.

mod any;
mod candidates;
mod layout;

use super::ScheduledPod;
use super::decode::{Decoder, Malformed};

pub use candidates::{Candidate, Candidates};
pub(super) use layout::is_plain;

/// ExtenderArgs: a pod and the candidate hosts for it.
pub struct Args<'a> {
    /// The pod, unparsed.
    pod: &'a str,
    /// Whether the request has the layout that kube-scheduler writes.
    in_layout: bool,
    /// The candidate hosts.
    pub candidates: Candidates,
}

impl<'a> Args<'a> {
    fn of(body: &str, (pod, places): (&'a str, candidates::Places), in_layout: bool) -> Self {
        Self { pod, in_layout, candidates: Candidates::of(body, places) }
    }
}

impl Args<'_> {
    /// Reads the pod.
    ///
    /// # Errors
    /// If it is not a pod, or its annotations exceed Kubernetes' limit.
    pub fn pod(&self, decoder: &Decoder) -> Result<ScheduledPod, Malformed> {
        let in_layout = self.in_layout.then(|| decoder.pod_in_layout(self.pod)).flatten();
        in_layout.map_or_else(|| decoder.scheduled_pod(self.pod), Ok)
    }
}

/// Reads ExtenderArgs. In the layout that kube-scheduler writes, what is only passed on is not
/// looked into: kube-scheduler gets it back as it came.
///
/// # Errors
/// If a part is missing or malformed.
pub fn args(body: &str) -> Result<Args<'_>, Malformed> {
    check_size(body)?;
    layout::args(body).map_or_else(|| any_args(body), |read| Ok(Args::of(body, read, true)))
}

/// The pod of ExtenderArgs and its list of names, in the layout that kube-scheduler writes. The list is
/// what stands between its brackets, unread. `None` for any other request.
#[must_use]
pub fn pod_and_names<'a>(body: &'a str, decoder: &Decoder) -> Option<(ScheduledPod, &'a str)> {
    let (pod, names) = layout::pod_and_names(body)?;
    Some((decoder.pod_in_layout(pod)?, names))
}

/// Reads ExtenderArgs in any layout.
///
/// # Errors
/// If a part is missing or malformed.
pub fn any_args(body: &str) -> Result<Args<'_>, Malformed> {
    check_size(body)?;
    Ok(Args::of(body, any::args(body)?, false))
}

/// Reads ExtenderPreemptionArgs. If a request has both maps of victims, the one with UIDs counts.
///
/// # Errors
/// If a part is missing or malformed.
pub fn preemption_args(body: &str) -> Result<Args<'_>, Malformed> {
    check_size(body)?;
    Ok(Args::of(body, any::preemption_args(body)?, false))
}

/// Checks that every part of the body can be told by a span.
fn check_size(body: &str) -> Result<(), Malformed> {
    match u32::try_from(body.len()) {
        Ok(_) => Ok(()),
        Err(_) => Err("a body of 4 GiB or more".into()),
    }
}
