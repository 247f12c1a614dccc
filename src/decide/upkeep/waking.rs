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

use std::collections::BTreeMap;
use std::hash::BuildHasher as _;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::cluster::{HostRef, Key, Name, Snapshot, Waiting};
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
    pub uid: Name,
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
    uid: Name,
    state: State,
}

/// Whether some host would keep a pod.
#[derive(Clone, Copy, Debug)]
enum State {
    /// None would.
    Infeasible,
    /// Every host would, and that was so from the beginning: the pod waits for something else.
    NeedsNothing,
    /// Some host would.
    Feasible {
        /// When a host is to be nominated.
        due: Duration,
        /// How many were nominated.
        nominations: usize,
    },
}

impl Waker {
    /// Looks at the pods that wait at `now`, a time since any fixed moment.
    pub fn step(&mut self, snapshot: &Snapshot, now: Duration) -> Wake {
        let mut wake = Wake::default();
        if now >= self.counted.0 + NOMINATIONS_PER {
            self.counted = (now, 0);
        }
        let mut earlier = std::mem::take(&mut self.pods);
        for (key, pod, facts) in snapshot.waiting_pods() {
            let wanted = Wanted { snapshot, needs: Needs::of(snapshot, &pod.networks), facts };
            let before = earlier.remove(key).filter(|known| known.uid == facts.uid);
            let mut state = self.state(before.map(|known| known.state), &wanted, now);
            if let State::Feasible { due, nominations } = &mut state {
                if *due <= now && self.counted.1 < MAX_NOMINATIONS {
                    self.counted.1 += 1;
                    let hosts = wanted.candidates(key, *nominations);
                    let (pod, uid) = (key.clone(), facts.uid.clone());
                    wake.nominations.push(Nomination { pod, uid, hosts });
                    let wait = AFTER_NOMINATION.get(*nominations).or(AFTER_NOMINATION.last());
                    *due = now + wait.copied().unwrap_or_default();
                    *nominations += 1;
                }
                // One that is due waits for the next second's nominations.
                let again = (*due).max(self.counted.0 + NOMINATIONS_PER);
                wake.again = wake.again.into_iter().chain([again]).min();
            }
            self.pods.insert(key.clone(), Known { uid: facts.uid.clone(), state });
        }
        self.touch_in_time(now, &mut wake);
        wake
    }

    /// Has the Node touched on which a pod was nominated: before Kubernetes 1.35, the nomination alone
    /// does not wake the pod.
    pub fn nominated(&mut self, host: Name) {
        self.touch.get_or_insert(host);
    }

    /// The state of a pod, from its earlier one.
    fn state(&mut self, before: Option<State>, wanted: &Wanted<'_>, now: Duration) -> State {
        let Some(host) = wanted.some_host() else { return State::Infeasible };
        match before {
            Some(State::Infeasible) => {
                self.touch.get_or_insert(host);
                State::Feasible { due: now + AFTER_TOUCH, nominations: 0 }
            }
            Some(state) => state,
            None if wanted.needs.nothing() => State::NeedsNothing,
            None => State::Feasible { due: now, nominations: 0 },
        }
    }

    /// Touches a Node, unless one was touched a moment ago, or no pod waits any more.
    fn touch_in_time(&mut self, now: Duration, wake: &mut Wake) {
        if self.pods.is_empty() {
            self.touch = None;
        }
        if self.touch.is_none() {
            return;
        }
        let from = self.touched.map_or(now, |touched| touched + TOUCH_INTERVAL);
        if from <= now {
            self.touched = Some(now);
            wake.touch = self.touch.take();
        } else {
            wake.again = wake.again.into_iter().chain([from]).min();
        }
    }
}

/// What a pod wants of a host.
struct Wanted<'s> {
    snapshot: &'s Snapshot,
    needs: Needs,
    facts: &'s Waiting,
}

impl Wanted<'_> {
    /// Calls `with` with the hosts that would keep the pod and that its own node selector and
    /// affinity allow.
    fn hosts<T>(&self, with: impl FnOnce(&mut dyn Iterator<Item = HostRef<'_>>) -> T) -> T {
        let Self { snapshot, needs, facts } = self;
        let allowed = |host: &HostRef<'_>| snapshot.allows(&facts.hosts, *host);
        if !needs.everywhere.is_empty() {
            return with(&mut std::iter::empty());
        }
        match needs.active(snapshot) {
            Some(hosts) => with(&mut snapshot.hosts_in(&hosts).filter(allowed)),
            None => with(&mut snapshot.every_host().filter(allowed)),
        }
    }

    fn some_host(&self) -> Option<Name> {
        self.hosts(|hosts| hosts.next().map(|host| host.name().clone()))
    }

    /// Hosts for a nomination. Each pod, and each of its nominations, begins at another one.
    fn candidates(&self, key: &Key, nominations: usize) -> Vec<Name> {
        let hosts: Vec<Name> = self.hosts(|hosts| hosts.map(|host| host.name().clone()).collect());
        let start = usize::try_from(FixedState::default().hash_one(key)).unwrap_or_default();
        let start = start.wrapping_add(nominations).checked_rem(hosts.len()).unwrap_or_default();
        let (early, late) = hosts.split_at(start);
        late.iter().chain(early).take(MAX_CANDIDATES).cloned().collect()
    }
}
