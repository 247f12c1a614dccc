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

mod lease;
mod queue;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use crate::api::{Api, Error};
use crate::cluster::{Name, Snapshot};
use crate::decide::upkeep::{self, Nomination, Scope, Target, Update, Wake, Waker};
use crate::metrics::{Metrics, UpdateKind, UpdateOutcome};
use crate::publish::Snapshots;

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
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Whether this replica leads.
    pub leadership: Leadership,
}

/// What a write in flight was for.
enum Done {
    Target(Target, UpdateKind, Result<(), Error>),
    Nomination(Result<bool, Error>),
    Touch(Result<(), Error>),
}

type InFlight<'a> = FuturesUnordered<std::pin::Pin<Box<dyn Future<Output = Done> + Send + 'a>>>;

/// What is done during one term as the leader.
struct Term<'a> {
    controller: &'a Controller,
    started: Instant,
    snapshot: Option<Snapshot>,
    queue: Queue,
    waker: Waker,
    nominations: Vec<Nomination>,
    touch: Option<Name>,
    again: Option<Instant>,
    in_flight: InFlight<'a>,
}

impl Controller {
    /// Acts whenever this replica leads, until `stop` is sent or dropped. The writes in flight then
    /// end first.
    pub async fn run(mut self, mut stop: oneshot::Receiver<()>, mut terms: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = &mut stop => return,
                changed = terms.wait_for(|leads| *leads) => if changed.is_err() { return },
            }
            let mut snapshots = self.snapshots.clone();
            let term = Term::new(&self);
            let stopped = term.lead(&mut snapshots, &mut stop, &mut terms).await;
            self.snapshots = snapshots;
            if stopped {
                return;
            }
        }
    }
}
