//! Which candidate hosts can take a pod (docs/reference.md, "Scheduler extender"). The hot path:
//! one bit test for a host that is kept, a few for one that is not, nothing allocated for either.

use std::collections::HashMap;
use std::num::NonZeroU32;

use crate::cluster::{Host, HostSet, HostWalk, Inactive, Name, Network, Snapshot};

use super::causes::Cause;
use super::needs::Needs;

/// What became of every candidate, in their order.
#[must_use]
pub struct Verdict {
    outcomes: Vec<Outcome>,
    reasons: Vec<Rejection>,
    kept: usize,
}

/// What became of one candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome(Option<NonZeroU32>);

impl Outcome {
    /// The host can take the pod, as far as its networks go.
    pub const KEPT: Self = Self(None);

    /// It can't, for the causes of this one of [`Verdict::rejections`].
    fn rejected(rejection: usize) -> Self {
        // There are at most as many rejections as candidates, and of those far fewer than 2^32.
        Self(NonZeroU32::MIN.checked_add(u32::try_from(rejection).unwrap_or(u32::MAX - 1)))
    }

    /// Returns whether the host is kept.
    #[must_use]
    pub fn is_kept(self) -> bool {
        self == Self::KEPT
    }

    /// Which of [`Verdict::rejections`] it was, if it was rejected.
    #[must_use]
    pub fn rejection(self) -> Option<usize> {
        Some(self.0?.get() as usize - 1)
    }
}

/// Why some hosts were rejected: what all of them have in common.
#[derive(Debug)]
pub struct Rejection {
    /// At least one, sorted by reason.
    pub causes: Vec<Cause>,
    /// How many hosts it holds for.
    pub hosts: u64,
}

impl Verdict {
    /// Keeps every one of so many candidates: for something that needs nothing, whatever is known.
    pub fn all_kept(candidates: usize) -> Self {
        Self { outcomes: vec![Outcome::KEPT; candidates], reasons: Vec::new(), kept: candidates }
    }

    /// Every candidate's outcome, in the candidates' order: the candidates are partitioned.
    #[must_use]
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// The same, without the rest.
    #[must_use]
    pub fn into_outcomes(self) -> Vec<Outcome> {
        self.outcomes
    }

    /// How many candidates are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// The different rejections.
    #[must_use]
    pub fn rejections(&self) -> &[Rejection] {
        &self.reasons
    }
}

/// How one needed cluster network stands on a host: `None` if active.
type Code = Option<Inactive>;

/// Decides over candidates one after the other.
pub struct Filter<'s> {
    needs: &'s Needs,
    networks: Vec<Network<'s>>,
    /// The hosts where all needed cluster networks are active.
    feasible: HostSet,
    walk: HostWalk<'s>,
    scratch: Vec<Code>,
    /// The rejection for each way in which the needed networks stand,
    known: HashMap<Vec<Code>, usize>,
    /// and the last one: neighbours are mostly rejected alike.
    last: (Vec<Code>, usize),
    verdict: Verdict,
}

impl<'s> Filter<'s> {
    /// A filter for something with these needs; `expected` is the number of candidates to come.
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
            scratch: Vec::with_capacity(networks.len() + 1),
            networks,
            feasible,
            walk: snapshot.walk(),
            known: HashMap::default(),
            last: (Vec::new(), 0),
            verdict: Verdict {
                outcomes: Vec::with_capacity(expected),
                reasons: Vec::new(),
                kept: 0,
            },
        }
    }

    /// Decides on the next candidate. `labels` is asked only for a host in no Node object known
    /// here, and has an answer if its labels came along.
    pub fn candidate(&mut self, name: &str, labels: impl FnOnce() -> Option<Host>) {
        if self.needs.nothing() {
            return self.keep();
        }
        let mut known = true;
        self.scratch.clear();
        match self.walk.find(name) {
            Some(host) if self.feasible.contains(host) => return self.keep(),
            Some(host) => {
                self.scratch.extend(self.networks.iter().map(|network| network.inactive(host)));
            }
            None if self.networks.is_empty() => {}
            None => {
                let networks = self.networks.iter();
                if let Some(host) = labels() {
                    let name = Name::from(name);
                    let standing =
                        networks.map(|network| network.inactive_on_unknown(&name, &host));
                    self.scratch.extend(standing);
                } else {
                    known = false;
                    // Whether they cover the host can't be told, but whether they exist can.
                    self.scratch.extend(networks.map(|network| {
                        (!network.exists()).then_some(Inactive::ClusterNetworkNotFound)
                    }));
                }
            }
        }
        if known && self.needs.everywhere.is_empty() && self.scratch.iter().all(Option::is_none) {
            return self.keep();
        }
        self.reject(known);
    }

    /// What became of the candidates.
    pub fn finish(self) -> Verdict {
        self.verdict
    }

    fn keep(&mut self) {
        self.verdict.outcomes.push(Outcome::KEPT);
        self.verdict.kept += 1;
    }

    /// Rejects the candidate for what is in the scratch: hosts rejected alike share one rejection.
    fn reject(&mut self, known: bool) {
        // An unknown host stands apart from a known one by one more place in its signature.
        if !known {
            self.scratch.push(None);
        }
        let reasons = &mut self.verdict.reasons;
        if self.last.0 != self.scratch || reasons.is_empty() {
            let place = self.known.get(&self.scratch).copied().unwrap_or_else(|| {
                let mut causes = self.needs.everywhere.clone();
                let standing = self.networks.iter().zip(&self.scratch);
                causes.extend(standing.filter_map(|(network, why)| {
                    Some(Cause::Inactive { cluster_network: network.name().clone(), why: (*why)? })
                }));
                causes.extend((!known).then_some(Cause::HostUnknown));
                causes.sort_by_cached_key(Cause::reason);
                let place = reasons.len();
                reasons.push(Rejection { causes, hosts: 0 });
                self.known.insert(self.scratch.clone(), place);
                place
            });
            self.last.0.clone_from(&self.scratch);
            self.last.1 = place;
        }
        let place = self.last.1;
        if let Some(rejection) = reasons.get_mut(place) {
            rejection.hosts += 1;
        }
        self.verdict.outcomes.push(Outcome::rejected(place));
    }
}
