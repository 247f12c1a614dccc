//! An API server as the source of truth: every kind is listed and then watched (docs/reference.md,
//! "Sources").
//!
//! ```text
//! one task a kind: served? ─▶ list (pages, or a stream) ─▶ watch ─▶ … ─┐ updates
//!                     ▲            ▲ gone, or refused       │ closed   │
//!                     └────────────┴────────────────────────┘          ▼
//!                                                one owner of the index ─▶ publish
//! ```
//! A kind that is not served counts as empty, and is looked for again. A list or watch that breaks
//! is retried, and decisions meanwhile use the known objects.

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
use crate::k8s::objects::metadata_is_enough;
use crate::k8s::{Decoder, Malformed};
use crate::metrics::Metrics;
use crate::publish::{Publisher, Watches};

use super::owner::{MAX_PENDING, Update, apply, run_index};

/// How often to check whether an unserved kind is served.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long the known objects of a kind are kept after the API server stops serving it. During an
/// upgrade, or while a definition is replaced, the kind comes back within this time.
const KEEP_FOR: Duration = Duration::from_mins(5);
/// The delay before the first retry. It doubles with each retry up to `MAX_BACKOFF`, and varies by
/// a quarter, so that the kinds do not all retry at once.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const MAX_BACKOFF: Duration = Duration::from_secs(8);
/// The longest delay accepted from a busy API server's `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);
/// A watch that stays open without an event for this long is healthy.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// An API server as a source.
pub struct Live {
    api: Api,
    decoder: Decoder,
    watches: Watches,
    metrics: Arc<Metrics>,
    /// Whether the API server's version can stream lists, once that is known.
    streams: OnceCell<bool>,
    /// Whether the API server refused to stream a list.
    refuses_streams: AtomicBool,
}

/// Why a kind's list or watch ended.
enum End {
    /// The API server closed the watch, as it does regularly.
    Closed,
    /// The kind is not served.
    Unserved,
}

/// The state of a kind's task.
struct KindState {
    kind: Kind,
    /// The resource version from which to watch. Without one, the kind must be relisted.
    after: Option<String>,
    served: Served,
    /// The delay before the next retry.
    backoff: Duration,
    /// Whether history was gone, and no watch has been healthy since.
    expired: bool,
}

/// Whether the API server serves a kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    /// Not known yet.
    Unknown,
    /// Listed at least once, and served since.
    Yes,
    /// Served until then. The known objects still count.
    NoMore(Instant),
    /// Not served, so it counts as empty.
    No,
}

impl Live {
    /// This API server as a source. Sends no request yet.
    #[must_use]
    pub fn new(api: Api, decoder: Decoder, watches: Watches, metrics: Arc<Metrics>) -> Self {
        let refuses_streams = AtomicBool::new(false);
        Self { api, decoder, watches, metrics, streams: OnceCell::new(), refuses_streams }
    }

    /// Follows the API server until the process ends, and publishes a snapshot after each change.
    pub async fn follow(self, options: Options, publisher: Publisher) {
        let (sender, updates) = mpsc::channel(MAX_PENDING);
        let live = Arc::new(self);
        let mut tasks = JoinSet::new();
        for kind in Kind::ALL {
            let (live, sender) = (live.clone(), sender.clone());
            tasks.spawn(async move { live.follow_kind(kind, sender).await });
        }
        tokio::select! {
            () = run_index(Index::new(options), updates, publisher) => {}
            // A kind's task ends only by a panic. That ends the source, and with it the process.
            _ = tasks.join_next() => {}
        }
    }

    async fn follow_kind(&self, kind: Kind, sender: Sender<Update>) {
        let mut state = KindState {
            kind,
            after: None,
            served: Served::Unknown,
            backoff: FIRST_BACKOFF,
            expired: false,
        };
        loop {
            let started = Instant::now();
            let end = self.follow_once(&mut state, &sender).await;
            if started.elapsed() > MAX_BACKOFF {
                state.backoff = FIRST_BACKOFF;
            }
            let pause = match end {
                // A watch that closes at once is restarted after a delay.
                Ok(End::Closed) if started.elapsed() > FIRST_BACKOFF => Duration::ZERO,
                Ok(End::Closed) => FIRST_BACKOFF,
                Ok(End::Unserved) => {
                    self.unserved(&mut state, &sender).await;
                    LOOK_EVERY
                }
                Err(error) => self.broken(&mut state, &error),
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Handles a kind that is not served: first keeps its known objects, later empties it.
    async fn unserved(&self, state: &mut KindState, sender: &Sender<Update>) {
        let kind = state.kind;
        let name = kind.kubernetes();
        match state.served {
            Served::Yes => {
                tracing::warn!(
                    kind = name,
                    "no longer served: the known objects are kept for {} s",
                    KEEP_FOR.as_secs()
                );
                state.served = Served::NoMore(Instant::now());
                self.watches.withdrawn(kind);
            }
            Served::NoMore(since) if since.elapsed() < KEEP_FOR => {}
            Served::No => {}
            Served::NoMore(_) | Served::Unknown => {
                tracing::info!(kind = name, "not served: counts as empty");
                state.served = Served::No;
                self.watches.unserved(kind);
                let _ = sender.send(Update::Listed(kind, BTreeSet::new())).await;
            }
        }
    }

    /// Handles an error. Returns how long to wait before the retry.
    fn broken(&self, state: &mut KindState, error: &Error) -> Duration {
        let kind = state.kind;
        let wait = state.backoff;
        state.backoff = (wait * 2).min(MAX_BACKOFF);
        let wait = wait.mul_f64(0.75 + fastrand::f64() / 2.0);
        // After a broken connection, the watch can continue from the resource version. A request
        // that the API server refused would be refused again, so only a relist helps.
        if !matches!(error, Error::Unreachable(_) | Error::Timeout(_) | Error::Busy { .. }) {
            state.after = None;
        }
        // etcd compacts old resource versions every few minutes, so this is not a fault, unless a new
        // list does not help.
        if *error == Error::Gone && !std::mem::replace(&mut state.expired, true) {
            tracing::debug!(kind = kind.kubernetes(), "relisting: {error}");
            return wait;
        }
        self.metrics.watch_failed(kind);
        if self.watches.broken(kind, error.to_string()) {
            tracing::warn!(kind = kind.kubernetes(), "the watch broke: {error}");
        }
        match error {
            Error::Busy { retry_after: Some(delay), .. } => wait.max((*delay).min(MAX_RETRY_AFTER)),
            _ => wait,
        }
    }

    /// Lists the kind if there is no resource version to watch from, then watches it until the
    /// watch ends.
    async fn follow_once(
        &self,
        state: &mut KindState,
        sender: &Sender<Update>,
    ) -> Result<End, Error> {
        let kind = state.kind;
        if state.after.is_none() {
            if !self.api.serves(kind).await? {
                return Ok(End::Unserved);
            }
            if state.served == Served::No {
                tracing::info!(kind = kind.kubernetes(), "served now: listing it");
                state.served = Served::Unknown;
                let _ = sender.send(Update::Served(kind)).await;
            }
            let (version, keys) = self.list(kind, sender).await?;
            let _ = sender.send(Update::Listed(kind, keys)).await;
            state.served = Served::Yes;
            state.after = Some(version);
        }
        let events = self.api.watch(kind, state.after.as_deref().unwrap_or_default()).await?;
        self.watch(state, events, sender).await?;
        Ok(End::Closed)
    }

    /// Sends an update for each event until the API server closes the watch.
    async fn watch(
        &self,
        state: &mut KindState,
        mut events: Events,
        sender: &Sender<Update>,
    ) -> Result<(), Error> {
        let kind = state.kind;
        // A watch that breaks right after each start must not count as healthy.
        let mut settled = false;
        loop {
            let limit = if settled { SILENCE } else { SETTLED_AFTER };
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
                state.expired = false;
            }
            let Some(event) = event else { continue };
            state.after = Some(match &event {
                Event::Applied(object) | Event::Deleted(object) => object.version().to_owned(),
                Event::Bookmark { version, .. } => version.clone(),
            });
            if let Some(change) = self.change(kind, &event) {
                let _ = sender.send(Update::Changed(change)).await;
            }
        }
    }

    /// The change that an event reports, or `None` for a bookmark.
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

    /// Lists the kind and sends an update for each object. Returns the list's resource version and
    /// its keys.
    async fn list(
        &self,
        kind: Kind,
        sender: &Sender<Update>,
    ) -> Result<(String, BTreeSet<Key>), Error> {
        if self.streams().await? {
            match self.api.stream(kind).await {
                Ok(events) => return self.list_from_stream(kind, events, sender).await,
                // The feature is disabled. Pages would fail on any other error as well.
                Err(Error::Invalid(why)) => {
                    tracing::info!(
                        kind = kind.kubernetes(),
                        "the API server does not stream lists, so they are read in pages: {why}"
                    );
                    self.refuses_streams.store(true, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        let mut keys = BTreeSet::new();
        let which = Which { metadata: metadata_is_enough(kind), ..Which::default() };
        let mut pages = self.api.pages(kind, which);
        while let Some(page) = pages.next().await? {
            for object in page {
                keys.insert(object.key());
                let change = object.change(kind, &self.decoder);
                let _ = sender.send(Update::Changed(change)).await;
            }
        }
        Ok((pages.version, keys))
    }

    async fn list_from_stream(
        &self,
        kind: Kind,
        mut events: Events,
        sender: &Sender<Update>,
    ) -> Result<(String, BTreeSet<Key>), Error> {
        let mut keys = BTreeSet::new();
        loop {
            let next = tokio::time::timeout(SILENCE, events.next()).await;
            let event = next.map_err(|_| Error::Timeout(SILENCE))??;
            let event = event.ok_or_else(|| {
                Error::Unreachable("the stream ended before the end of the list".to_owned())
            })?;
            match &event {
                Event::Applied(object) => drop(keys.insert(object.key())),
                Event::Deleted(object) => drop(keys.remove(&object.key())),
                Event::Bookmark { version, ends_list: true } => {
                    return Ok((version.clone(), keys));
                }
                Event::Bookmark { .. } => {}
            }
            if let Some(change) = self.change(kind, &event) {
                let _ = sender.send(Update::Changed(change)).await;
            }
        }
    }

    /// Returns whether to read lists as streams.
    async fn streams(&self) -> Result<bool, Error> {
        let able = *self.streams.get_or_try_init(|| self.api.streams_lists()).await?;
        Ok(able && !self.refuses_streams.load(Ordering::Relaxed))
    }
}

/// Why a one-time read of an API server failed.
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
    #[error("not every kind was listed")]
    Incomplete,
    /// An object can't be read.
    #[error("{object}: {source}")]
    Get {
        /// The object.
        object: ObjectRef,
        /// Why.
        source: Error,
    },
    /// An object is not JSON.
    #[error("{object}: {source}")]
    Json {
        /// The object.
        object: ObjectRef,
        /// Why.
        source: Malformed,
    },
}

/// Lists every kind once. `told` hears how many objects of a kind are read so far.
///
/// # Errors
/// If a kind can't be listed.
pub async fn read(
    api: &Api,
    decoder: &Decoder,
    options: Options,
    told: &(dyn Fn(Kind, usize) + Sync),
) -> Result<Snapshot, ReadError> {
    let mut index = Index::new(options);
    for kind in Kind::ALL {
        let failed = |source| ReadError::List { kind, source };
        if api.serves(kind).await.map_err(failed)? {
            let which = Which { metadata: metadata_is_enough(kind), ..Which::default() };
            let mut pages = api.pages(kind, which);
            let mut count = 0;
            told(kind, count);
            while let Some(page) = pages.next().await.map_err(failed)? {
                count += page.len();
                told(kind, count);
                for object in page {
                    apply(&mut index, Update::Changed(object.change(kind, decoder)));
                }
            }
        }
        index.listed(kind);
    }
    index.snapshot().ok_or(ReadError::Incomplete)
}

/// Reads one whole object. Returns `None` if it does not exist.
///
/// # Errors
/// If it can't be read, or is not JSON.
pub async fn object(api: &Api, object: &ObjectRef) -> Result<Option<Value>, ReadError> {
    let failed = |source| ReadError::Get { object: object.clone(), source };
    let found: Option<RawObject> = api.get(object).await.map_err(failed)?;
    found
        .map(|raw| {
            serde_json::from_str(raw.json()).map_err(|error: serde_json::Error| ReadError::Json {
                object: object.clone(),
                source: error.into(),
            })
        })
        .transpose()
}
