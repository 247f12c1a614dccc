//! What the leader does (docs/reference.md, "Controller"): keeps objects right, wakes waiting pods,
//! and issues certificates.
//!
//! ```text
//! snapshots ─▶ upkeep::targets ─▶ queue ─▶ upkeep::update ─▶ writer ─▶ API server
//!          └─▶ Waker ─────────────────────────────────────▶    │
//!              certificates (every few seconds) ───────────────┘
//! ```
//! One task does all of it, and only while it holds the Lease. A proposal is made from the newest
//! snapshot right before it is written.

mod certificates;
mod lease;
mod queue;
mod writer;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use crate::api::{Api, Error, WRITE_TIMEOUT};
use crate::cluster::{Key, Name, Snapshot};
use crate::decide::upkeep::{self, Nomination, Scope, Target, Wake, Waker};
use crate::metrics::{Metrics, UpdateKind, UpdateOutcome};
use crate::publish::Snapshots;
use crate::threads::off_thread;

pub use certificates::{Error as IssuerError, Issuer};
pub use lease::{Elector, Leadership, identity};
pub use writer::TOUCHED;

use queue::Queue;

/// The most writes in flight.
const MAX_IN_FLIGHT: usize = 8;
/// How often every object is looked at, whatever changed. It brings back what somebody else changed in
/// a way that the facts do not show, and Events that have expired.
const RESYNC_INTERVAL: Duration = Duration::from_mins(10);
/// How often the queue is looked at for what failed and is due again.
const RETRY_CHECK: Duration = Duration::from_secs(1);
/// How often the certificates are looked at.
const CERTIFICATES_INTERVAL: Duration = Duration::from_secs(5);
/// At most one snapshot is looked at in this time, so that a burst of changes costs one look.
const SETTLE: Duration = Duration::from_millis(50);

/// The controller of one replica.
pub struct Controller {
    /// The API server, with this replica's identity.
    pub api: Api,
    /// The snapshots to act on.
    pub snapshots: Snapshots,
    /// What the leader keeps.
    pub scope: Scope,
    /// What issues certificates, unless somebody else does.
    pub issuer: Option<Issuer>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Whether this replica leads.
    pub leadership: Leadership,
}

impl Controller {
    /// Acts whenever this replica leads, until `stop` is sent or dropped. The writes in flight then
    /// end first.
    pub async fn run(self, mut stop: oneshot::Receiver<()>, mut terms: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = &mut stop => return,
                () = until(&mut terms, true) => {}
            }
            self.metrics.leads(true);
            let term = Term::new(&self);
            let stopped = term.run(&mut stop, &mut terms).await;
            self.metrics.leads(false);
            if stopped {
                return;
            }
        }
    }
}

/// A write that has ended.
enum Done {
    Target(Target, Result<(), Error>),
    Nomination(Key, Result<Option<Name>, Error>),
    Touch(Result<(), Error>),
    Certificates(Result<(), IssuerError>),
}

/// One term as the leader.
struct Term<'c> {
    controller: &'c Controller,
    snapshots: Snapshots,
    snapshot: Option<Snapshot>,
    /// The time of the waker is counted from here.
    started: Instant,
    looked: Instant,
    queue: Queue,
    waker: Waker,
    nominations: VecDeque<Nomination>,
    touch: Option<Name>,
    /// When the waker has something to do even if nothing changes.
    again: Option<Instant>,
    in_flight: FuturesUnordered<BoxFuture<'c, Done>>,
    /// Whether certificates are being kept right now.
    issuing: bool,
    /// What was last logged as wrong with certificates.
    certificates: String,
    /// Whether the last attempt at certificates met a conflict.
    conflict: bool,
}

impl<'c> Term<'c> {
    fn new(controller: &'c Controller) -> Self {
        let now = Instant::now();
        Self {
            controller,
            snapshots: controller.snapshots.clone(),
            snapshot: None,
            started: now,
            looked: now,
            queue: Queue::default(),
            waker: Waker::default(),
            nominations: VecDeque::new(),
            touch: None,
            again: None,
            in_flight: FuturesUnordered::new(),
            issuing: false,
            certificates: String::new(),
            conflict: false,
        }
    }

    /// Acts until the term ends. Returns whether that is because of `stop`.
    async fn run(
        mut self,
        stop: &mut oneshot::Receiver<()>,
        terms: &mut watch::Receiver<bool>,
    ) -> bool {
        let mut resync = tokio::time::interval(RESYNC_INTERVAL);
        let mut retry = tokio::time::interval(RETRY_CHECK);
        let mut certificates = tokio::time::interval(CERTIFICATES_INTERVAL);
        for interval in [&mut resync, &mut retry, &mut certificates] {
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let stopped = loop {
            self.begin_writes();
            let settled = self.looked + SETTLE;
            let again = self.again.map(|again| again.max(settled));
            tokio::select! {
                _ = &mut *stop => break true,
                () = until(terms, false) => break false,
                Some(done) = self.in_flight.next() => self.ended(done),
                next = next_after(&mut self.snapshots, settled) => match next {
                    Some(snapshot) => self.look(snapshot),
                    None => break true,
                },
                _ = resync.tick() => self.resync().await,
                _ = retry.tick() => self.retry().await,
                _ = certificates.tick() => self.issue(),
                () = tokio::time::sleep_until(again.unwrap_or(settled)), if again.is_some() => self.wake(),
            }
        };
        // What is in flight must have ended before the Lease is given up.
        while let Some(done) = self.in_flight.next().await {
            self.ended(done);
        }
        stopped
    }

    /// Looks at what changed in a newer snapshot.
    fn look(&mut self, snapshot: Snapshot) {
        if let Some(before) = &self.snapshot {
            let targets = upkeep::targets(Some(before), &snapshot, self.controller.scope);
            self.add(targets);
        }
        self.snapshot = Some(snapshot);
        self.wake();
    }

    /// Looks at every object.
    async fn resync(&mut self) {
        let Some(snapshot) = self.controller.snapshots.current().snapshot().cloned() else {
            return;
        };
        let scope = self.controller.scope;
        let all = {
            let snapshot = snapshot.clone();
            off_thread(true, move || upkeep::targets(None, &snapshot, scope)).await
        };
        self.add(all.unwrap_or_default());
        self.snapshot = Some(snapshot);
        self.wake();
    }

    /// Brings back what failed, and what was dropped.
    async fn retry(&mut self) {
        self.queue.retry(Instant::now());
        if self.queue.take_overflow() {
            self.resync().await;
        }
    }

    /// Begins to make the certificates right, unless that is being done.
    fn issue(&mut self) {
        let controller = self.controller;
        let Some(issuer) = controller.issuer.as_ref().filter(|_| !self.issuing) else { return };
        self.issuing = true;
        self.in_flight.push(Box::pin(async move {
            let may_write = || controller.leadership.is_held();
            Done::Certificates(issuer.keep(&controller.api, &may_write).await)
        }));
    }

    /// Logs what is wrong with certificates, once.
    fn issued(&mut self, result: Result<(), IssuerError>) {
        self.issuing = false;
        let why = match result {
            Ok(()) | Err(IssuerError::NotLeading) => {
                self.conflict = false;
                String::new()
            }
            // A refusal looks the same, and comes again.
            Err(error) if error.is_conflict() && !std::mem::replace(&mut self.conflict, true) => {
                tracing::debug!("certificates are looked at again: {error}");
                return;
            }
            Err(error) => error.to_string(),
        };
        if !why.is_empty() && why != self.certificates {
            tracing::error!("certificates are not right: {why}");
        }
        self.certificates = why;
    }

    fn add(&mut self, targets: BTreeSet<Target>) {
        for dropped in self.queue.add(targets) {
            self.count(kind_of(&dropped), UpdateOutcome::Dropped);
        }
    }

    fn wake(&mut self) {
        let Some(snapshot) = &self.snapshot else { return };
        self.looked = Instant::now();
        let Wake { nominations, touch, again } =
            self.waker.step(snapshot, self.looked.duration_since(self.started));
        for nomination in nominations {
            // One that has not begun to be written is out of date.
            self.nominations.retain(|earlier| earlier.pod != nomination.pod);
            self.nominations.push_back(nomination);
        }
        self.touch = touch.or(self.touch.take());
        self.again = again.map(|again| self.started + again);
    }

    /// Begins writes, as many as may be in flight, while this replica leads.
    fn begin_writes(&mut self) {
        let controller = self.controller;
        while self.in_flight.len() < MAX_IN_FLIGHT && controller.leadership.is_held() {
            let api = &controller.api;
            if let Some(host) = self.touch.take() {
                self.count(UpdateKind::Touch, UpdateOutcome::Proposed);
                self.in_flight.push(Box::pin(async move {
                    Done::Touch(in_time(writer::touch(api, &host)).await)
                }));
            } else if let Some(nomination) = self.nominations.pop_front() {
                self.count(UpdateKind::Nomination, UpdateOutcome::Proposed);
                self.in_flight.push(Box::pin(async move {
                    let written = in_time(writer::nominate(api, &nomination)).await;
                    Done::Nomination(nomination.pod, written)
                }));
            } else if let Some(target) = self.queue.take() {
                self.begin_update(target);
            } else {
                break;
            }
        }
    }

    /// Begins the update of a target, from the newest snapshot.
    fn begin_update(&mut self, target: Target) {
        let controller = self.controller;
        let current = controller.snapshots.current();
        let update = current
            .snapshot()
            .and_then(|snapshot| upkeep::update(snapshot, &target, controller.scope));
        let Some(update) = update else {
            self.queue.done(&target, false, Instant::now());
            return;
        };
        let kind = kind_of(&target);
        self.count(kind, UpdateOutcome::Proposed);
        self.in_flight.push(Box::pin(async move {
            let written = in_time(writer::write(&controller.api, &update)).await;
            Done::Target(target, written)
        }));
    }

    fn ended(&mut self, done: Done) {
        let (kind, result) = match done {
            Done::Target(target, result) => {
                self.queue.done(&target, result.is_err(), Instant::now());
                (kind_of(&target), result.map_err(|error| (target.to_string(), error)))
            }
            Done::Nomination(pod, Ok(host)) => {
                if let Some(host) = host {
                    self.waker.nominated(&pod, host);
                    self.wake();
                }
                (UpdateKind::Nomination, Ok(()))
            }
            Done::Nomination(pod, Err(error)) => {
                (UpdateKind::Nomination, Err((format!("pod {pod}"), error)))
            }
            Done::Certificates(result) => return self.issued(result),
            Done::Touch(result) => {
                (UpdateKind::Touch, result.map_err(|error| ("a Node".to_owned(), error)))
            }
        };
        match result {
            Ok(()) => self.count(kind, UpdateOutcome::Applied),
            Err((what, error)) => {
                if matches!(error, Error::Conflict(_)) {
                    tracing::debug!("{what} changed meanwhile, and is looked at again: {error}");
                } else {
                    tracing::warn!("{what} can't be updated: {error}");
                }
                self.count(kind, UpdateOutcome::Failed);
            }
        }
    }

    fn count(&self, kind: UpdateKind, outcome: UpdateOutcome) {
        self.controller.metrics.updates(kind, outcome, 1);
    }
}

/// Bounds an update as a single write is bounded, though it may read first: the election depends on it.
async fn in_time<T>(update: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let updated = tokio::time::timeout(WRITE_TIMEOUT, update).await;
    updated.unwrap_or(Err(Error::Timeout(WRITE_TIMEOUT)))
}

/// Waits until this replica leads, or does not. Waits forever once the election has ended, since the
/// controller is then about to be stopped.
async fn until(terms: &mut watch::Receiver<bool>, leads: bool) {
    if terms.wait_for(|told| *told == leads).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The next snapshot, but not before `settled`: what changes until then is looked at together.
async fn next_after(snapshots: &mut Snapshots, settled: Instant) -> Option<Snapshot> {
    tokio::time::sleep_until(settled).await;
    snapshots.next().await.map(|(snapshot, _)| snapshot)
}

fn kind_of(target: &Target) -> UpdateKind {
    match target {
        Target::Host(_) => UpdateKind::HostLabels,
        Target::ClusterNetwork(_) => UpdateKind::ClusterNetwork,
        Target::VmNetwork(_) => UpdateKind::VmNetwork,
        Target::Vmi(_) => UpdateKind::Event,
    }
}
