//! Wakes pods that wait for a host (docs/reference.md, "Waiting pods"). kube-scheduler retries a pod
//! that an extender rejected when a Node changes, but not when a cluster network, a VM network or an
//! uplink status does; without a Node's change it retries after five minutes.
//!
//! - When a pod that no host could take becomes feasible, one Node is touched, which wakes all pods.
//! - A pod that is marked unschedulable although some host would keep it was not tried there: on a
//!   large cluster, the scheduler tries a sample of the hosts. Such a host is nominated for the pod,
//!   since the scheduler tries a nominated host first and alone.
//!
//! [`Waker`] keeps what was done for which pod. The time is an argument.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::BuildHasher as _;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::cluster::{HostRef, Key, Name, Snapshot, Uid, Waiting};
use crate::decide::feasible::{Fit, Fits, hosts};
use crate::decide::needs::Needs;

/// At most one Node is touched in this time.
const TOUCH_INTERVAL: Duration = Duration::from_secs(1);
/// How long the scheduler has to bind pods after a touch, before a host is nominated.
const AFTER_TOUCH: Duration = Duration::from_secs(1);
/// How long the scheduler has to bind a pod to a nominated host, before another one is nominated: the
/// first time, the second, and so on. The last entry is for all further times.
const AFTER_NOMINATION: [Duration; 4] = [
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(30),
];
/// How long after the first nomination of a pod it is checked that the scheduler did not drop it. If
/// the scheduler was trying the pod when the nomination came, it finds no host and clears the field
/// without having tried the nominated host. Among 5,000 hosts, this happened to one pod in fifty.
const DROP_CHECK: Duration = Duration::from_secs(1);
/// How long to leave a pod alone for which the scheduler evicts others. It is looked at again then.
const AFTER_EVICTION: Duration = Duration::from_secs(5);
/// The most hosts that are nominated in this time.
const MAX_NOMINATIONS: usize = 20;
const NOMINATIONS_PER: Duration = Duration::from_secs(1);
/// The most hosts that are proposed for one nomination, since some of them may be cordoned.
const MAX_CANDIDATES: usize = 16;

/// What to do for the pods that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// The pods for which a host is to be nominated.
    pub nominations: Vec<Nomination>,
    /// The Node to touch.
    pub touch: Option<Name>,
    /// When [`Waker::step`] has something to do again, even if nothing changes.
    pub again: Option<Duration>,
}

/// A host for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nomination {
    /// The pod.
    pub pod: Key,
    /// The pod's UID.
    pub uid: Uid,
    /// Hosts that would keep the pod, the first to try first.
    pub hosts: Vec<Name>,
}

/// What was done for the pods that wait.
#[derive(Debug, Default)]
pub struct Waker {
    pods: BTreeMap<Key, Known>,
    /// The Node to touch next, once the time has come.
    touch: Option<Name>,
    touched: Option<Duration>,
    /// Since when nominations are counted, and their number.
    counted: (Duration, usize),
}

/// What is known of a pod.
#[derive(Debug)]
struct Known {
    uid: Uid,
    state: State,
}

/// Whether some host would keep a pod.
#[derive(Debug)]
enum State {
    /// None would.
    Infeasible,
    /// Some would, and its networks need none in particular: the pod waits for something else.
    NeedsNothing,
    /// Some would.
    Feasible(Turn),
}

/// The nominations of a pod.
#[derive(Debug, Default)]
struct Turn {
    /// When a host is to be nominated.
    due: Duration,
    /// How many were.
    count: usize,
    /// The last one. The next one is another.
    last: Option<Name>,
    /// Whether the next one is the last one once more.
    repeats: bool,
    /// Whether it was checked that the scheduler did not drop the first one.
    drop_check: DropCheck,
}

/// A check that is made once for each pod.
#[derive(Debug, Default)]
enum DropCheck {
    /// No nomination has been written.
    #[default]
    NotDue,
    /// The first nomination was written since the last step.
    Begins,
    /// Due at this time.
    Due(Duration),
    /// Done.
    Done,
}

impl Turn {
    /// Makes the first nomination once more, if the scheduler dropped it.
    fn check_drop(&mut self, facts: &Waiting, now: Duration) {
        match self.drop_check {
            DropCheck::Begins => self.drop_check = DropCheck::Due(now + DROP_CHECK),
            DropCheck::Due(at) if at <= now => {
                self.drop_check = DropCheck::Done;
                if facts.nominated.is_none() && self.count == 1 {
                    (self.due, self.count, self.repeats) = (now, 0, true);
                }
            }
            DropCheck::NotDue | DropCheck::Due(_) | DropCheck::Done => {}
        }
    }

    /// When there is something to do for the pod. No nomination can be made before `earliest`.
    fn again(&self, earliest: Duration) -> Duration {
        let due = self.due.max(earliest);
        match self.drop_check {
            DropCheck::Due(at) => due.min(at),
            DropCheck::NotDue | DropCheck::Begins | DropCheck::Done => due,
        }
    }
}

impl Waker {
    /// Looks at the pods that wait at `now`, a time since any fixed moment.
    pub fn step(&mut self, snapshot: &Snapshot, now: Duration) -> Wake {
        let mut fits = Fits::new(snapshot);
        let mut earlier = std::mem::take(&mut self.pods);
        let mut due = Vec::new();
        for (key, pod, facts) in snapshot.waiting_pods() {
            let before = earlier.remove(key).filter(|known| known.uid == facts.uid);
            let fit = fits.of(Cow::Borrowed(&*pod.networks), &facts.hosts);
            let mut state = self.state(before.map(|known| known.state), fit, now);
            if let State::Feasible(turn) = &mut state {
                turn.check_drop(facts, now);
            }
            if let State::Feasible(turn) = &mut state
                && turn.due <= now
            {
                if facts.nominated.is_some() && facts.nominated != turn.last {
                    // The scheduler makes room for the pod there, and has reserved it.
                    turn.due = now + AFTER_EVICTION;
                } else {
                    due.push((turn.due, key, pod, facts));
                }
            }
            self.pods.insert(key.clone(), Known { uid: facts.uid.clone(), state });
        }
        // The pods that have been due for the longest time come first.
        due.sort_unstable_by_key(|(due, key, ..)| (*due, *key));
        if now >= self.counted.0 + NOMINATIONS_PER {
            self.counted = (now, 0);
        }
        due.truncate(MAX_NOMINATIONS - self.counted.1);
        self.counted.1 += due.len();
        let nominations = due.into_iter().filter_map(|(_, key, pod, facts)| {
            let needs = &fits.of(Cow::Borrowed(&*pod.networks), &facts.hosts).needs;
            self.nominate(snapshot, key, needs, facts, now)
        });
        let nominations = nominations.collect();
        let touch = self.touch_in_time(snapshot, now);
        Wake { nominations, touch, again: self.again() }
    }

    /// Has the Node touched on which a pod was nominated: before Kubernetes 1.35, the nomination alone
    /// does not wake the pod.
    pub fn nominated(&mut self, pod: &Key, host: Name) {
        if let Some(Known { state: State::Feasible(turn), .. }) = self.pods.get_mut(pod) {
            turn.last = Some(host.clone());
            if matches!(turn.drop_check, DropCheck::NotDue) {
                turn.drop_check = DropCheck::Begins;
            }
        }
        self.touch.get_or_insert(host);
    }

    /// The state of a pod, from its earlier one.
    fn state(&mut self, before: Option<State>, fit: &Fit, now: Duration) -> State {
        let Some(host) = &fit.first else { return State::Infeasible };
        let was_infeasible = matches!(before, Some(State::Infeasible));
        if was_infeasible {
            self.touch.get_or_insert_with(|| host.clone());
        }
        match before {
            _ if fit.needs.nothing() => State::NeedsNothing,
            Some(State::Feasible(turn)) => State::Feasible(turn),
            _ => {
                let due = if was_infeasible { now + AFTER_TOUCH } else { now };
                State::Feasible(Turn { due, ..Turn::default() })
            }
        }
    }

    /// Proposes hosts for a pod. Each pod begins at another one, and goes on after the last one.
    fn nominate(
        &mut self,
        snapshot: &Snapshot,
        pod: &Key,
        needs: &Needs,
        facts: &Waiting,
        now: Duration,
    ) -> Option<Nomination> {
        let Some(Known { state: State::Feasible(turn), .. }) = self.pods.get_mut(pod) else {
            return None;
        };
        let names = |hosts: &mut dyn Iterator<Item = HostRef<'_>>| {
            hosts.map(|host| host.name().clone()).collect::<Vec<Name>>()
        };
        let mut all = hosts(snapshot, needs, &facts.hosts, names);
        let last = all.iter().position(|host| Some(host) == turn.last.as_ref());
        let start = match last {
            Some(last) if turn.repeats => last,
            Some(last) => last + 1,
            None => usize::try_from(FixedState::default().hash_one(pod)).unwrap_or_default(),
        };
        let start = start.checked_rem(all.len())?;
        all.rotate_left(start);
        all.truncate(MAX_CANDIDATES);
        turn.last = all.last().cloned();
        turn.repeats = false;
        let wait = AFTER_NOMINATION.get(turn.count).or(AFTER_NOMINATION.last());
        turn.due = now + wait.copied().unwrap_or_default();
        turn.count += 1;
        Some(Nomination { pod: pod.clone(), uid: facts.uid.clone(), hosts: all })
    }

    /// The Node to touch now, unless one was touched a moment ago, or no pod waits any more.
    fn touch_in_time(&mut self, snapshot: &Snapshot, now: Duration) -> Option<Name> {
        if self.pods.is_empty() {
            self.touch = None;
        }
        self.touch.as_ref()?;
        if self.touched.is_some_and(|touched| now < touched + TOUCH_INTERVAL) {
            return None;
        }
        self.touched = Some(now);
        let any = || snapshot.every_host().next().map(|host| host.name().clone());
        self.touch.take().filter(|host| snapshot.host(host).is_some()).or_else(any)
    }

    /// When there is something to do again: the first nomination that may be made, or the touch.
    fn again(&self) -> Option<Duration> {
        let full = self.counted.1 >= MAX_NOMINATIONS;
        let earliest = if full { self.counted.0 + NOMINATIONS_PER } else { Duration::ZERO };
        let due = self.pods.values().filter_map(|known| match &known.state {
            State::Feasible(turn) => Some(turn.again(earliest)),
            State::Infeasible | State::NeedsNothing => None,
        });
        let touch = self.touch.as_ref().and(self.touched).map(|touched| touched + TOUCH_INTERVAL);
        due.chain(touch).min()
    }
}
