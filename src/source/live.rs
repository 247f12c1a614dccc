//! An API server as the source of truth: every kind is listed and then watched (docs/reference.md,
//! "Server").
//!
//! ```text
//! one task a kind: served? ─▶ list (pages, or a stream) ─▶ watch ─▶ … ─┐ updates
//!                     ▲            ▲ too old, or refused    │ ended    │
//!                     └────────────┴────────────────────────┘          ▼
//!                                                one owner of the index ─▶ publish
//! ```
//! A kind that is not served counts as empty, and is looked for again. What breaks is tried again,
//! and decisions go on from what is known.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::api::{Api, Error, Event, Events, RawObject, SILENCE, Which};
use crate::cluster::{Change, Index, Key, Kind, Now, ObjectRef, Options, Snapshot};
use crate::k8s::Decoder;
use crate::k8s::objects::metadata_is_enough;
use crate::metrics::Metrics;
use crate::publish::{Publisher, Watches};

use super::owner::{MAX_WAITING, Update, apply, run_index};

/// How often a kind that is not served is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long what is known of a kind counts that is no longer served: an API server that is
/// upgraded, or a definition that is replaced, comes back.
const KEEP_FOR: Duration = Duration::from_mins(5);
/// How long the first retry waits; each further one twice as long, up to `MAX_WAIT`, and each a
/// part more or less, so that the kinds do not all come at once.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const MAX_WAIT: Duration = Duration::from_secs(8);
/// The longest wait that a busy API server may ask for.
const MAX_DELAY: Duration = Duration::from_mins(1);
/// A watch that is quiet for so long has begun well.
const SETTLES: Duration = Duration::from_secs(1);

/// An API server's objects, to be followed.
pub struct Live {
    api: Api,
    decoder: Decoder,
    watches: Watches,
    metrics: Arc<Metrics>,
    /// Whether lists are to be had as streams, once that is known.
    streams: OnceCell<bool>,
    /// Whether the API server turned out not to accept them.
    refuses_streams: AtomicBool,
}

/// Why a kind's list or watch ended.
enum End {
    /// The API server ended the watch, as it does: go on.
    Closed,
    /// The kind is not served.
    Unserved,
}

/// How a kind's task stands.
struct Standing {
    kind: Kind,
    /// The resource version that a watch goes on from; without one, the kind is to be listed.
    after: Option<String>,
    served: Served,
    /// How long the next retry waits.
    wait: Duration,
}

/// What is known of whether a kind is served.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    /// Not asked yet.
    Unknown,
    /// Listed at least once, and served since.
    Yes,
    /// It was, until then, and what was known of it still counts.
    NoMore(Instant),
    /// It is not, and counts as empty.
    No,
}

impl Live {
    /// What this API server has. Nothing is asked yet.
    #[must_use]
    pub fn new(api: Api, decoder: Decoder, watches: Watches, metrics: Arc<Metrics>) -> Self {
        let refuses_streams = AtomicBool::new(false);
        Self { api, decoder, watches, metrics, streams: OnceCell::new(), refuses_streams }
    }

    /// Follows it until the process ends, and publishes what changes.
    pub async fn follow(self, options: Options, publisher: Publisher) {
        let (to, updates) = mpsc::channel(MAX_WAITING);
        let live = Arc::new(self);
        let mut tasks = JoinSet::new();
        for kind in Kind::ALL {
            let (live, to) = (live.clone(), to.clone());
            tasks.spawn(async move { live.follow_kind(kind, to).await });
        }
        tokio::select! {
            () = run_index(Index::new(options), updates, publisher) => {}
            // None ends but by a panic, which ends all.
            _ = tasks.join_next() => {}
        }
    }

    async fn follow_kind(&self, kind: Kind, to: Sender<Update>) {
        let mut standing =
            Standing { kind, after: None, served: Served::Unknown, wait: FIRST_WAIT };
        loop {
            let started = Instant::now();
            let end = self.follow_once(&mut standing, &to).await;
            if started.elapsed() > MAX_WAIT {
                standing.wait = FIRST_WAIT;
            }
            let pause = match end {
                // A watch that ends at once is not begun again at once.
                Ok(End::Closed) if started.elapsed() > FIRST_WAIT => Duration::ZERO,
                Ok(End::Closed) => FIRST_WAIT,
                Ok(End::Unserved) => {
                    self.unserved(&mut standing, &to).await;
                    LOOK_EVERY
                }
                Err(error) => self.broken(&mut standing, &error),
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// What becomes of a kind that is not served.
    async fn unserved(&self, standing: &mut Standing, to: &Sender<Update>) {
        let kind = standing.kind;
        let name = kind.kubernetes();
        match standing.served {
            Served::Yes => {
                tracing::warn!(
                    kind = name,
                    "no longer served: what was known of it counts for {} s",
                    KEEP_FOR.as_secs()
                );
                standing.served = Served::NoMore(Instant::now());
                self.watches.withdrawn(kind);
            }
            Served::NoMore(since) if since.elapsed() < KEEP_FOR => {}
            Served::No => {}
            Served::NoMore(_) | Served::Unknown => {
                tracing::info!(kind = name, "not served: counts as empty");
                standing.served = Served::No;
                self.watches.unserved(kind);
                let _ = to.send(Update::Listed(kind, BTreeSet::new())).await;
            }
        }
    }

    /// What follows from an error, and how long to wait after it.
    fn broken(&self, standing: &mut Standing, error: &Error) -> Duration {
        let kind = standing.kind;
        let wait = standing.wait;
        standing.wait = (wait * 2).min(MAX_WAIT);
        let wait = wait.mul_f64(0.75 + fastrand::f64() / 2.0);
        // A connection that broke says nothing of the resource version; what the API server itself
        // refuses, it would refuse again, so that only a new list helps.
        if !matches!(error, Error::Unreachable(_) | Error::Timeout(_) | Error::Busy { .. }) {
            standing.after = None;
        }
        // History is dropped every few minutes: that is no fault.
        if *error == Error::Gone {
            tracing::debug!(kind = kind.kubernetes(), "relisting: {error}");
            return wait;
        }
        self.metrics.watch_failed(kind);
        if self.watches.broken(kind, error.to_string()) {
            tracing::warn!(kind = kind.kubernetes(), "the watch broke: {error}");
        }
        match error {
            Error::Busy { retry_after: Some(delay), .. } => wait.max((*delay).min(MAX_DELAY)),
            _ => wait,
        }
    }

    /// Lists the kind if need be, and watches it until that ends.
    async fn follow_once(
        &self,
        standing: &mut Standing,
        to: &Sender<Update>,
    ) -> Result<End, Error> {
        let kind = standing.kind;
        if standing.after.is_none() {
            if !self.api.serves(kind).await? {
                return Ok(End::Unserved);
            }
            if standing.served == Served::No {
                tracing::info!(kind = kind.kubernetes(), "served now");
                standing.served = Served::Unknown;
                let _ = to.send(Update::Served(kind)).await;
            }
            let (version, there) = self.list(kind, to).await?;
            let _ = to.send(Update::Listed(kind, there)).await;
            standing.served = Served::Yes;
            standing.after = Some(version);
        }
        let events = self.api.watch(kind, standing.after.as_deref().unwrap_or_default()).await?;
        self.watch(standing, events, to).await?;
        Ok(End::Closed)
    }

    /// Tells of what happens until the API server ends the watch.
    async fn watch(
        &self,
        standing: &mut Standing,
        mut events: Events,
        to: &Sender<Update>,
    ) -> Result<(), Error> {
        let kind = standing.kind;
        // One that begins and breaks at once, time after time, is not well.
        let mut settled = false;
        loop {
            let limit = if settled { SILENCE } else { SETTLES };
            let event = match tokio::time::timeout(limit, events.next()).await {
                Ok(event) => match event? {
                    Some(event) => Some(event),
                    None => return Ok(()),
                },
                Err(_) if settled => return Err(Error::Timeout(SILENCE)),
                Err(_) => None,
            };
            if !std::mem::replace(&mut settled, true) {
                self.watches.healthy(kind);
            }
            let Some(event) = event else { continue };
            standing.after = Some(match &event {
                Event::Applied(object) | Event::Deleted(object) => object.version().to_owned(),
                Event::Bookmark { version, .. } => version.clone(),
            });
            if let Some(change) = self.change(kind, &event) {
                let _ = to.send(Update::Changed(change)).await;
            }
        }
    }

    /// What an event says of an object, if it is about one.
    fn change(&self, kind: Kind, event: &Event) -> Option<Change> {
        match event {
            Event::Applied(object) => Some(object.change(kind, &self.decoder)),
            Event::Deleted(object) => {
                let object = ObjectRef { kind, key: object.key() };
                Some(Change { object, now: Now::Gone })
            }
            Event::Bookmark { .. } => None,
        }
    }

    /// Tells of all that is there. Returns the resource version of the list, and the names in it.
    async fn list(
        &self,
        kind: Kind,
        to: &Sender<Update>,
    ) -> Result<(String, BTreeSet<Key>), Error> {
        if self.streams().await? {
            match self.api.stream(kind).await {
                Ok(events) => return self.list_from_stream(kind, events, to).await,
                // An API server with the feature off. What else is wrong, pages would meet too.
                Err(Error::Invalid(why)) => {
                    tracing::info!(kind = kind.kubernetes(), "lists come in pages: {why}");
                    self.refuses_streams.store(true, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        let mut there = BTreeSet::new();
        let which = Which { metadata: metadata_is_enough(kind), ..Which::default() };
        let mut pages = self.api.pages(kind, which);
        while let Some(page) = pages.next().await? {
            for object in page {
                there.insert(object.key());
                let change = object.change(kind, &self.decoder);
                let _ = to.send(Update::Changed(change)).await;
            }
        }
        Ok((pages.version, there))
    }

    async fn list_from_stream(
        &self,
        kind: Kind,
        mut events: Events,
        to: &Sender<Update>,
    ) -> Result<(String, BTreeSet<Key>), Error> {
        let mut there = BTreeSet::new();
        loop {
            let next = tokio::time::timeout(SILENCE, events.next()).await;
            let event = next.map_err(|_| Error::Timeout(SILENCE))??;
            let event = event.ok_or_else(|| {
                Error::Unreachable("the stream of a list ended before the list did".to_owned())
            })?;
            match &event {
                Event::Applied(object) => drop(there.insert(object.key())),
                Event::Deleted(object) => drop(there.remove(&object.key())),
                Event::Bookmark { version, ends_list: true } => {
                    return Ok((version.clone(), there));
                }
                Event::Bookmark { .. } => {}
            }
            if let Some(change) = self.change(kind, &event) {
                let _ = to.send(Update::Changed(change)).await;
            }
        }
    }

    /// Returns whether lists are to be had as streams.
    async fn streams(&self) -> Result<bool, Error> {
        let able = *self.streams.get_or_try_init(|| self.api.streams_lists()).await?;
        Ok(able && !self.refuses_streams.load(Ordering::Relaxed))
    }
}

/// Why an API server can't be read once.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A kind can't be listed.
    #[error("{} can't be listed: {source}", kind.kubernetes())]
    List {
        /// The kind.
        kind: Kind,
        /// Why.
        source: Error,
    },
    /// Not every kind was listed.
    #[error("not every kind is listed")]
    Incomplete,
    /// An object can't be read.
    #[error("{object}: {source}")]
    Get {
        /// The object.
        object: ObjectRef,
        /// Why.
        source: Error,
    },
    /// An object is no JSON.
    #[error("{object}: {source}")]
    Json {
        /// The object.
        object: ObjectRef,
        /// Why.
        source: serde_json::Error,
    },
}

/// What an API server has now, read once.
///
/// # Errors
/// If a kind can't be listed.
pub async fn read(api: &Api, decoder: &Decoder, options: Options) -> Result<Snapshot, ReadError> {
    let mut index = Index::new(options);
    for kind in Kind::ALL {
        let failed = |source| ReadError::List { kind, source };
        if api.serves(kind).await.map_err(failed)? {
            let which = Which { metadata: metadata_is_enough(kind), ..Which::default() };
            let mut pages = api.pages(kind, which);
            while let Some(page) = pages.next().await.map_err(failed)? {
                for object in page {
                    apply(&mut index, Update::Changed(object.change(kind, decoder)));
                }
            }
        }
        index.listed(kind);
    }
    index.snapshot().ok_or(ReadError::Incomplete)
}

/// One object as it is now, for a plan.
///
/// # Errors
/// If it can't be asked for, or is no JSON.
pub async fn object(api: &Api, of: &ObjectRef) -> Result<Option<Value>, ReadError> {
    let failed = |source| ReadError::Get { object: of.clone(), source };
    let found: Option<RawObject> = api.get(of).await.map_err(failed)?;
    found
        .map(|object| {
            serde_json::from_str(object.json())
                .map_err(|source| ReadError::Json { object: of.clone(), source })
        })
        .transpose()
}
