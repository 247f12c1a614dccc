//! Decides which candidates can run a pod (docs/reference.md, "Scheduler extender"). This is the
//! hot path: a host costs a look-up of its number and one bit test. Why hosts are rejected is counted
//! by sets, and told host by host only if somebody reads it. No host allocates memory.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::Range;

use crate::cluster::{
    Host, HostRef, HostRun, HostSet, HostWalk, Inactive, Name, Network, Snapshot,
};

use super::causes::Cause;
use super::needs::Needs;

/// When the causes of rejections are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rejections {
    /// Only if no host is kept, since the scheduler uses the reasons only then.
    #[default]
    Needed,
    /// Always.
    All,
}

/// The outcome of every candidate, in the order of the request.
#[must_use]
pub struct Verdict {
    outcomes: Vec<Outcome>,
    named: bool,
    rejections: Vec<Rejection>,
    rejected: Vec<(Range<usize>, usize)>,
    counts: Vec<(Cause, u64)>,
    candidates: usize,
    kept: usize,
}

/// The outcome of one candidate: kept, or rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome(Option<NonZeroU32>);

impl Outcome {
    /// The networks of the pod allow it to run on the host.
    pub const KEPT: Self = Self(None);
    /// The host is rejected, and its causes are not named.
    pub const REJECTED: Self = Self(Some(NonZeroU32::MAX));

    /// The host is rejected, for the causes at this index of [`Verdict::rejections`].
    fn named(rejection: usize) -> Self {
        // There are at most as many rejections as candidates, which are far fewer than 2^32.
        Self(NonZeroU32::MIN.checked_add(u32::try_from(rejection).unwrap_or(u32::MAX - 1)))
    }

    /// Returns whether the host is kept.
    #[must_use]
    pub fn is_kept(self) -> bool {
        self == Self::KEPT
    }

    /// The index into [`Verdict::rejections`], if the host is rejected and the causes are named.
    #[must_use]
    pub fn rejection(self) -> Option<usize> {
        Some(self.0?.get() as usize - 1).filter(|_| self != Self::REJECTED)
    }
}

/// The causes for which a group of hosts is rejected: at least one, sorted by reason.
#[derive(Debug)]
pub struct Rejection(pub Vec<Cause>);

impl Verdict {
    /// Keeps all of this many candidates: the verdict for a pod that needs nothing.
    pub fn all_kept(candidates: usize) -> Self {
        Self {
            outcomes: vec![Outcome::KEPT; candidates],
            named: false,
            rejections: Vec::new(),
            rejected: Vec::new(),
            counts: Vec::new(),
            candidates,
            kept: candidates,
        }
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

    /// The number of candidates.
    #[must_use]
    pub fn candidates(&self) -> usize {
        self.candidates
    }

    /// The number of candidates that are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// Returns whether each rejected candidate has its causes among [`Verdict::rejections`].
    #[must_use]
    pub fn names_causes(&self) -> bool {
        self.named
    }

    /// The rejections, each with a different set of causes. There may be none if causes are not
    /// named.
    #[must_use]
    pub fn rejections(&self) -> &[Rejection] {
        &self.rejections
    }

    /// Of a list of names, where each rejected one lies, and its index into [`Verdict::rejections`].
    /// Empty if causes are not named.
    #[must_use]
    pub fn rejected(&self) -> &[(Range<usize>, usize)] {
        &self.rejected
    }

    /// Each cause with the number of hosts that are rejected for it, named or not. A cause may occur
    /// more than once.
    #[must_use]
    pub fn counts(&self) -> &[(Cause, u64)] {
        &self.counts
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
    /// The known hosts that are candidates.
    asked: HostSet,
    /// Those that are rejected, in the order of the candidates.
    rejected: Vec<HostRef<'s>>,
    /// The rejections so far: those of unknown hosts.
    groups: Groups,
    outcomes: Vec<Outcome>,
    /// The candidates of a list, which have no outcomes but for single ones.
    listed: Vec<Listed<'s>>,
    /// The number of those that have none.
    in_runs: usize,
    kept: usize,
}

/// Candidates of a list of names.
enum Listed<'s> {
    /// Known hosts, and where their names begin.
    Run(HostRun<'s>, usize),
    /// One that has an outcome, and where its name lies.
    Single(Range<usize>),
}

impl<'s> Filter<'s> {
    /// A filter for a pod with these needs. `expected` is the number of candidates to come.
    #[must_use]
    pub fn new(snapshot: &'s Snapshot, needs: &'s Needs, expected: usize) -> Self {
        let networks = needs.cluster_networks.iter().map(|name| snapshot.network(name)).collect();
        let feasible = if needs.everywhere.is_empty() {
            needs.active(snapshot).unwrap_or_default()
        } else {
            HostSet::default()
        };
        Self {
            needs,
            networks,
            feasible,
            walk: snapshot.walk(),
            asked: HostSet::default(),
            rejected: Vec::with_capacity(expected),
            groups: Groups::default(),
            outcomes: Vec::with_capacity(expected),
            listed: Vec::new(),
            in_runs: 0,
            kept: 0,
        }
    }

    /// Decides on the next candidate. `labels` is called only for a host that is not known, and
    /// returns the labels in the request, if it contains any for the host.
    #[inline]
    pub fn candidate(&mut self, name: &str, labels: impl FnOnce() -> Option<Host>) {
        if self.needs.nothing() {
            return self.keep();
        }
        match self.walk.find(name) {
            Some(host) if self.feasible.contains(host) => self.keep(),
            Some(host) => {
                self.asked.add(host);
                self.rejected.push(host);
                self.outcomes.push(Outcome::REJECTED);
            }
            None => self.unknown(name, labels().as_ref()),
        }
    }

    /// Decides on the candidates whose names stand in a list from `at` on, as [`HostWalk::run`] finds
    /// them, and hands the parts of the list with kept hosts to `keep`. Returns how many bytes these
    /// were; `None` if the first name is that of no host.
    #[inline]
    pub fn run(
        &mut self,
        list: &str,
        at: usize,
        mut keep: impl FnMut(Range<usize>),
    ) -> Option<usize> {
        let run = self.walk.run(list.get(at..)?)?;
        run.add_to(&mut self.asked);
        let kept = &mut self.kept;
        run.each_part_in(&self.feasible, |hosts, part| {
            *kept += hosts;
            keep(at + part.start..at + part.end);
        });
        let bytes = run.bytes();
        self.in_runs += run.count();
        self.listed.push(Listed::Run(run, at));
        Some(bytes)
    }

    /// Decides on a candidate whose name lies there in a list. Returns whether it is kept.
    pub fn single(&mut self, name: &str, place: Range<usize>) -> bool {
        self.candidate(name, || None);
        self.listed.push(Listed::Single(place));
        self.outcomes.last() == Some(&Outcome::KEPT)
    }

    /// The number of candidates so far.
    #[must_use]
    pub fn candidates(&self) -> usize {
        self.outcomes.len() + self.in_runs
    }

    /// Keeps the next candidate unconditionally: the host to which the pod is already bound.
    #[inline]
    pub fn keep(&mut self) {
        self.outcomes.push(Outcome::KEPT);
        self.kept += 1;
    }

    /// Decides on a host without a known Node object, by the labels in the request.
    fn unknown(&mut self, name: &str, labels: Option<&Host>) {
        let networks = self.networks.iter();
        // Without labels, only whether the cluster networks exist can be checked.
        let signature: Signature = match labels {
            Some(host) => {
                let name = Name::from(name);
                networks.map(|network| network.inactive_on_unknown(&name, host)).collect()
            }
            None => networks
                .map(|network| (!network.exists()).then_some(Inactive::ClusterNetworkNotFound))
                .collect(),
        };
        let known = labels.is_some() || self.networks.is_empty();
        if known && self.needs.everywhere.is_empty() && signature.iter().all(Option::is_none) {
            return self.keep();
        }
        let index = self.groups.index(&signature, !known, |signature| {
            causes(self.needs, &self.networks, signature, !known)
        });
        self.groups.count(index);
        self.outcomes.push(Outcome::named(index));
    }

    /// The verdict on all candidates so far.
    pub fn finish(mut self, rejections: Rejections) -> Verdict {
        let mut counts = self.groups.counts();
        let rejected = self.asked.difference(&self.feasible);
        let known = rejected.len() as u64;
        // The signature of all known hosts that are rejected, as long as they have the same.
        let mut shared = (known > 0).then(Signature::new);
        if known > 0 {
            counts.extend(self.needs.everywhere.iter().map(|cause| (cause.clone(), known)));
            for network in &self.networks {
                let inactive: Vec<_> = network.count_inactive(&rejected).collect();
                let why = match inactive[..] {
                    [] => Some(None),
                    [(why, hosts)] if hosts == known => Some(Some(why)),
                    _ => None,
                };
                shared = shared.zip(why).map(|(mut signature, why)| {
                    signature.push(why);
                    signature
                });
                let counted = inactive.into_iter();
                counts.extend(counted.map(|(why, hosts)| (inactive_cause(*network, why), hosts)));
            }
        }
        let named = rejections == Rejections::All || self.kept == 0;
        let rejected = if named { self.name_causes(shared) } else { Vec::new() };
        let candidates = self.candidates();
        let Self { outcomes, groups: Groups { rejections, .. }, kept, .. } = self;
        Verdict { outcomes, named, rejections, rejected, counts, candidates, kept }
    }

    /// Looks up why each known host is rejected, unless all of them share a signature. Returns the
    /// rejected ones of a list.
    fn name_causes(&mut self, shared: Option<Signature>) -> Vec<(Range<usize>, usize)> {
        let Self { needs, networks, feasible, asked, rejected, groups, outcomes, listed, .. } =
            self;
        let shared = shared.map(|signature| {
            groups.index(&signature, false, |of| causes(needs, networks, of, false))
        });
        let mut signature = Signature::with_capacity(networks.len());
        // Neighbours mostly have the same signature.
        let mut last: Option<(Signature, usize)> = None;
        let mut rejection = |host: HostRef<'_>| {
            if let Some(index) = shared {
                return index;
            }
            signature.clear();
            signature.extend(networks.iter().map(|network| network.inactive(host)));
            match &last {
                Some((of, index)) if *of == signature => *index,
                _ => {
                    let causes = |of: &Signature| causes(needs, networks, of, false);
                    let index = groups.index(&signature, false, causes);
                    last = Some((signature.clone(), index));
                    index
                }
            }
        };
        let unnamed = outcomes.iter_mut().filter(|outcome| **outcome == Outcome::REJECTED);
        for (outcome, host) in unnamed.zip(rejected.iter()) {
            *outcome = Outcome::named(rejection(*host));
        }
        let mut singles = outcomes.iter();
        let mut places = Vec::with_capacity(asked.len());
        for listed in listed.iter() {
            match listed {
                Listed::Run(run, at) => {
                    let hosts = run.hosts_outside(feasible);
                    places.extend(
                        hosts.map(|(host, place)| {
                            (at + place.start..at + place.end, rejection(host))
                        }),
                    );
                }
                Listed::Single(place) => {
                    let index = singles.next().and_then(|outcome| outcome.rejection());
                    places.extend(index.map(|index| (place.clone(), index)));
                }
            }
        }
        places
    }
}

fn inactive_cause(network: Network<'_>, why: Inactive) -> Cause {
    Cause::Inactive { cluster_network: network.name().clone(), why }
}

/// The causes of a rejection, sorted by reason.
fn causes(
    needs: &Needs,
    networks: &[Network<'_>],
    signature: &[Option<Inactive>],
    unknown: bool,
) -> Vec<Cause> {
    let mut causes = needs.everywhere.clone();
    let results = networks.iter().zip(signature);
    causes.extend(results.filter_map(|(network, why)| Some(inactive_cause(*network, (*why)?))));
    causes.extend(unknown.then_some(Cause::HostUnknown));
    causes.sort_by_cached_key(Cause::reason);
    causes
}

/// The rejections, by the signatures of their hosts and by whether these are unknown.
#[derive(Default)]
struct Groups {
    rejections: Vec<Rejection>,
    by_signature: HashMap<(Signature, bool), usize>,
    /// The number of unknown hosts of each rejection.
    unknown: Vec<u64>,
}

impl Groups {
    /// The index of a rejection. `causes` is called for a new one.
    fn index(
        &mut self,
        signature: &Signature,
        unknown: bool,
        causes: impl FnOnce(&Signature) -> Vec<Cause>,
    ) -> usize {
        let rejections = &mut self.rejections;
        *self.by_signature.entry((signature.clone(), unknown)).or_insert_with_key(
            |(signature, _)| {
                rejections.push(Rejection(causes(signature)));
                rejections.len() - 1
            },
        )
    }

    /// Counts an unknown host.
    fn count(&mut self, index: usize) {
        self.unknown.resize(self.rejections.len(), 0);
        if let Some(count) = self.unknown.get_mut(index) {
            *count += 1;
        }
    }

    /// Each cause with the number of unknown hosts that are rejected for it.
    fn counts(&self) -> Vec<(Cause, u64)> {
        let of = |(Rejection(causes), count): (&Rejection, &u64)| {
            let count = *count;
            causes.iter().map(move |cause| (cause.clone(), count)).collect::<Vec<_>>()
        };
        self.rejections.iter().zip(&self.unknown).flat_map(of).collect()
    }
}
