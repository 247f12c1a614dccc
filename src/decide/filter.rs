//! Decides which candidates can run a pod (docs/reference.md, "Scheduler extender"). This is the
//! hot path: a host that is kept costs one bit test, and a rejected one a few. Neither allocates
//! memory.

use std::collections::HashMap;
use std::num::NonZeroU32;

use crate::cluster::{Host, HostSet, HostWalk, Inactive, Name, Network, Snapshot};

use super::causes::Cause;
use super::needs::Needs;

/// The outcome of every candidate, in the order of the request.
#[must_use]
pub struct Verdict {
    outcomes: Vec<Outcome>,
    rejections: Vec<Rejection>,
    kept: usize,
}

/// The outcome of one candidate: kept, or rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome(Option<NonZeroU32>);

impl Outcome {
    /// The networks of the pod allow it to run on the host.
    pub const KEPT: Self = Self(None);

    /// The host is rejected, for the causes at this index of [`Verdict::rejections`].
    fn rejected(rejection: usize) -> Self {
        // There are at most as many rejections as candidates, which are far fewer than 2^32.
        Self(NonZeroU32::MIN.checked_add(u32::try_from(rejection).unwrap_or(u32::MAX - 1)))
    }

    /// Returns whether the host is kept.
    #[must_use]
    pub fn is_kept(self) -> bool {
        self == Self::KEPT
    }

    /// The index into [`Verdict::rejections`], if the host is rejected.
    #[must_use]
    pub fn rejection(self) -> Option<usize> {
        Some(self.0?.get() as usize - 1)
    }
}

/// The causes for which a group of hosts is rejected.
#[derive(Debug)]
pub struct Rejection {
    /// At least one cause, sorted by reason.
    pub causes: Vec<Cause>,
    /// The number of hosts rejected for exactly these causes.
    pub hosts: u64,
}

impl Verdict {
    /// Keeps all of this many candidates: the verdict for a pod that needs nothing.
    pub fn all_kept(candidates: usize) -> Self {
        Self { outcomes: vec![Outcome::KEPT; candidates], rejections: Vec::new(), kept: candidates }
    }

    /// The outcome of every candidate, in the order of the request.
    #[must_use]
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// The outcomes, as [`Verdict::outcomes`] returns them.
    #[must_use]
    pub fn into_outcomes(self) -> Vec<Outcome> {
        self.outcomes
    }

    /// The number of candidates that are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// The rejections, each with a different set of causes.
    #[must_use]
    pub fn rejections(&self) -> &[Rejection] {
        &self.rejections
    }
}

/// Why each needed cluster network is not active on a host; `None` for one that is. Hosts with
/// equal signatures share a rejection.
type Signature = Vec<Option<Inactive>>;

/// Decides on candidates one after the other.
pub struct Filter<'s> {
    needs: &'s Needs,
    networks: Vec<Network<'s>>,
    /// The hosts on which all needed cluster networks are active.
    feasible: HostSet,
    walk: HostWalk<'s>,
    /// The signature of the current candidate, in a buffer that all candidates share.
    signature: Signature,
    /// The index of the rejection for each signature.
    by_signature: HashMap<Signature, usize>,
    /// The last rejected signature with its index, since neighbours mostly have the same one.
    last: (Signature, usize),
    verdict: Verdict,
}

impl<'s> Filter<'s> {
    /// A filter for a pod with these needs. `expected` is the number of candidates to come.
    #[must_use]
    pub fn new(snapshot: &'s Snapshot, needs: &'s Needs, expected: usize) -> Self {
        let networks: Vec<_> =
            needs.cluster_networks.iter().map(|name| snapshot.network(name)).collect();
        let feasible = if needs.everywhere.is_empty() {
            needs.active(snapshot).unwrap_or_default()
        } else {
            HostSet::default()
        };
        Self {
            needs,
            signature: Vec::with_capacity(networks.len() + 1),
            networks,
            feasible,
            walk: snapshot.walk(),
            by_signature: HashMap::default(),
            last: (Vec::new(), 0),
            verdict: Verdict {
                outcomes: Vec::with_capacity(expected),
                rejections: Vec::new(),
                kept: 0,
            },
        }
    }

    /// Decides on the next candidate. `labels` is called only for a host that is not known, and
    /// returns the labels in the request, if it contains any for the host.
    pub fn candidate(&mut self, name: &str, labels: impl FnOnce() -> Option<Host>) {
        if self.needs.nothing() {
            return self.keep();
        }
        let mut known = true;
        self.signature.clear();
        match self.walk.find(name) {
            Some(host) if self.feasible.contains(host) => return self.keep(),
            Some(host) => {
                self.signature.extend(self.networks.iter().map(|network| network.inactive(host)));
            }
            None if self.networks.is_empty() => {}
            None => {
                let networks = self.networks.iter();
                if let Some(host) = labels() {
                    let name = Name::from(name);
                    self.signature
                        .extend(networks.map(|network| network.inactive_on_unknown(&name, &host)));
                } else {
                    known = false;
                    // Without labels, only whether the cluster networks exist can be checked.
                    self.signature.extend(networks.map(|network| {
                        (!network.exists()).then_some(Inactive::ClusterNetworkNotFound)
                    }));
                }
            }
        }
        if known && self.needs.everywhere.is_empty() && self.signature.iter().all(Option::is_none) {
            return self.keep();
        }
        self.reject(known);
    }

    /// The verdict on all candidates so far.
    pub fn finish(self) -> Verdict {
        self.verdict
    }

    /// Keeps the next candidate unconditionally: the host to which the pod is already bound.
    pub fn keep(&mut self) {
        self.verdict.outcomes.push(Outcome::KEPT);
        self.verdict.kept += 1;
    }

    /// Rejects the candidate for the causes in its signature.
    fn reject(&mut self, known: bool) {
        // One more entry tells the signature of an unknown host from that of a known one.
        if !known {
            self.signature.push(None);
        }
        let rejections = &mut self.verdict.rejections;
        if self.last.0 != self.signature || rejections.is_empty() {
            let index = self.by_signature.get(&self.signature).copied().unwrap_or_else(|| {
                let mut causes = self.needs.everywhere.clone();
                let results = self.networks.iter().zip(&self.signature);
                causes.extend(results.filter_map(|(network, why)| {
                    Some(Cause::Inactive { cluster_network: network.name().clone(), why: (*why)? })
                }));
                causes.extend((!known).then_some(Cause::HostUnknown));
                causes.sort_by_cached_key(Cause::reason);
                let index = rejections.len();
                rejections.push(Rejection { causes, hosts: 0 });
                self.by_signature.insert(self.signature.clone(), index);
                index
            });
            self.last.0.clone_from(&self.signature);
            self.last.1 = index;
        }
        let index = self.last.1;
        if let Some(rejection) = rejections.get_mut(index) {
            rejection.hosts += 1;
        }
        self.verdict.outcomes.push(Outcome::rejected(index));
    }
}
