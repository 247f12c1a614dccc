//! An API server as the source of truth: every kind is listed and then watched (spec, section 7).
//!
//! ```text
//! one task a kind: served? ─▶ list (pages, or a stream) ─▶ watch ─▶ … ─┐ facts
//!                     ▲            ▲ too old: again         │ ended    │
//!                     └────────────┴────────────────────────┘          ▼
//!                                                    one owner of the index ─▶ publish
//! ```
//! A kind that is not served counts as empty, and is looked for again. What breaks is tried again,
//! and decisions go on from what is known.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use kube::core::WatchEvent;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinSet;

use crate::api::{Api, Error, Object, SILENCE, Which};
use crate::cluster::{Change, Index, Key, Kind, Now, ObjectRef, Options, Snapshot};
use crate::k8s::objects::Reader;
use crate::metrics::Metrics;
use crate::publish::{Publisher, Watches};

/// How often a kind that is not served is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long the first retry waits; each further one twice as long, up to `LONGEST_WAIT`.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// A watch that is quiet for so long has begun well.
const SETTLES: Duration = Duration::from_secs(1);
/// How many pieces of news may wait for the owner of the index.
const NEWS: usize = 1024;
/// The annotation of the bookmark behind a streamed list.
const LIST_ENDS: &str = "k8s.io/initial-events-end";

/// An API server's objects, to be followed.
pub struct Live {
    api: Api,
    reader: Reader,
    watches: Watches,
    metrics: Arc<Metrics>,
    /// Whether lists are to be had as streams, once that is known.
    streams: OnceCell<bool>,
    /// Whether they turned out not to be.
    refuses_streams: AtomicBool,
}

/// What a kind's task tells the owner of the index.
enum News {
    /// An object is like this now.
    Now(Change),
    /// All that is there has been told; nothing else is.
    Listed(Kind, BTreeSet<Key>),
    /// The kind is not served.
    Unserved(Kind),
    /// It is served now, and about to be listed.
    Served(Kind),
}

/// Why a kind's list or watch ended.
enum End {
    /// As watches do: go on.
    AsItDoes,
    /// What it would go on from is too old: list again.
    TooOld,
    /// The kind is not served.
    Unserved,
    /// For a reason that may pass.
    Broken(String),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        match error {
            // A kind that went away; whether it did is asked before the next list.
            Error::NotFound | Error::TooOld => Self::TooOld,
            Error::Other(why) => Self::Broken(why),
        }
    }
}

/// How a kind's task stands.
#[derive(Default)]
struct Standing {
    /// The version that a watch goes on from; without one, the kind is to be listed.
    after: Option<String>,
    /// Whether the owner was told that the kind is not served.
    told_unserved: bool,
}

impl Live {
    /// What this API server has. Nothing is asked yet.
    #[must_use]
    pub fn new(api: Api, reader: Reader, watches: Watches, metrics: Arc<Metrics>) -> Self {
        let refuses_streams = AtomicBool::new(false);
        Self { api, reader, watches, metrics, streams: OnceCell::new(), refuses_streams }
    }

    /// Follows it until the process ends, and publishes what changes.
    pub async fn follow(self, options: Options, publisher: Publisher) {
        let (to, news) = mpsc::channel(NEWS);
        let live = Arc::new(self);
        let mut tasks = JoinSet::new();
        for kind in Kind::ALL {
            let (live, to) = (live.clone(), to.clone());
            tasks.spawn(async move { live.follow_kind(kind, to).await });
        }
        tokio::select! {
            () = own(Index::new(options), news, publisher) => {}
            // None ends but by a panic, which ends all.
            _ = tasks.join_next() => {}
        }
    }

    async fn follow_kind(&self, kind: Kind, to: Sender<News>) {
        let mut standing = Standing::default();
        let mut wait = FIRST_WAIT;
        loop {
            let started = Instant::now();
            let end = self.follow_once(kind, &mut standing, &to).await;
            if started.elapsed() > LONGEST_WAIT {
                wait = FIRST_WAIT;
            }
            let pause = match end {
                // One that ends at once is not begun again at once.
                End::AsItDoes if started.elapsed() > FIRST_WAIT => Duration::ZERO,
                End::AsItDoes => FIRST_WAIT,
                End::TooOld => {
                    standing.after = None;
                    FIRST_WAIT
                }
                End::Unserved => {
                    self.watches.unserved(kind);
                    if !standing.told_unserved {
                        tracing::info!(kind = kind.kubernetes(), "not served: counts as empty");
                        standing.told_unserved = true;
                        let _ = to.send(News::Unserved(kind)).await;
                    }
                    LOOK_EVERY
                }
                End::Broken(why) => {
                    self.metrics.watch_failed(kind);
                    if self.watches.broken(kind, why.clone()) {
                        tracing::warn!(kind = kind.kubernetes(), "the watch broke: {why}");
                    }
                    let pause = wait;
                    wait = (wait * 2).min(LONGEST_WAIT);
                    pause
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Lists the kind if need be, and watches it until that ends.
    async fn follow_once(&self, kind: Kind, standing: &mut Standing, to: &Sender<News>) -> End {
        match self.try_follow(kind, standing, to).await {
            Ok(end) => end,
            Err(error) => error.into(),
        }
    }

    async fn try_follow(
        &self,
        kind: Kind,
        standing: &mut Standing,
        to: &Sender<News>,
    ) -> Result<End, Error> {
        let tell = async |news| drop(to.send(news).await);
        // Names told by a list that is not at its end yet.
        let mut listing: Option<BTreeSet<Key>> = None;
        if standing.after.is_none() {
            if !self.api.serves(kind).await? {
                return Ok(End::Unserved);
            }
            if std::mem::take(&mut standing.told_unserved) {
                tracing::info!(kind = kind.kubernetes(), "served now");
                tell(News::Served(kind)).await;
            }
            if self.streams().await? {
                listing = Some(BTreeSet::new());
            } else {
                let (version, there) = self.list(kind, to).await?;
                tell(News::Listed(kind, there)).await;
                standing.after = Some(version);
            }
        }
        let watch = self.api.watch(kind, standing.after.as_deref()).await;
        if let (Err(Error::Other(_)), Some(_)) = (&watch, &listing) {
            // An older server, or one with the feature off; if it is something else, pages meet
            // it too.
            self.refuses_streams.store(true, Ordering::Relaxed);
        }
        let mut events = std::pin::pin!(watch?);
        // One that begins and breaks at once, time after time, is not well.
        let mut settled = false;
        loop {
            let patience = if settled { SILENCE } else { SETTLES };
            let event = match tokio::time::timeout(patience, events.next()).await {
                Ok(Some(event)) => Some(event?),
                Ok(None) => return Ok(End::AsItDoes),
                Err(_) if settled => return Ok(End::Broken("silent for too long".to_owned())),
                Err(_) => None,
            };
            if !std::mem::replace(&mut settled, true) {
                self.watches.well(kind);
            }
            let Some(event) = event else { continue };
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    if let Some(there) = &mut listing {
                        there.insert(object.key());
                    } else {
                        standing.after = Some(object.version().to_owned());
                    }
                    tell(News::Now(object.change(kind, &self.reader))).await;
                }
                WatchEvent::Deleted(object) => {
                    if listing.is_none() {
                        standing.after = Some(object.version().to_owned());
                    }
                    tell(News::Now(Change { now: Now::Gone, ..object.change(kind, &self.reader) }))
                        .await;
                }
                WatchEvent::Bookmark(bookmark) => {
                    if bookmark.metadata.annotations.contains_key(LIST_ENDS)
                        && let Some(there) = listing.take()
                    {
                        tell(News::Listed(kind, there)).await;
                    }
                    if listing.is_none() {
                        standing.after = Some(bookmark.metadata.resource_version);
                    }
                }
                WatchEvent::Error(status) if status.code == 410 => return Ok(End::TooOld),
                WatchEvent::Error(status) => return Ok(End::Broken(status.message)),
            }
        }
    }

    /// Whether lists are to be had as streams.
    async fn streams(&self) -> Result<bool, Error> {
        let able = *self.streams.get_or_try_init(|| self.api.streams_lists()).await?;
        Ok(able && !self.refuses_streams.load(Ordering::Relaxed))
    }

    /// Tells of all that is there, page by page.
    async fn list(&self, kind: Kind, to: &Sender<News>) -> Result<(String, BTreeSet<Key>), Error> {
        let mut there = BTreeSet::new();
        let mut pages = self.api.pages(kind, Which::default());
        while let Some(page) = pages.next().await? {
            for object in page {
                there.insert(object.key());
                let _ = to.send(News::Now(object.change(kind, &self.reader))).await;
            }
        }
        Ok((pages.version, there))
    }
}

/// Keeps the index, and publishes what it knows after each bout of news.
async fn own(mut index: Index, mut news: Receiver<News>, publisher: Publisher) {
    while let Some(first) = news.recv().await {
        let started = Instant::now();
        let mut dirty = take(&mut index, first);
        // What has come meanwhile is published together.
        for _ in 0..NEWS {
            let Ok(more) = news.try_recv() else { break };
            dirty |= take(&mut index, more);
        }
        if !dirty {
            continue;
        }
        match index.snapshot() {
            Some(snapshot) => publisher.publish(snapshot, started.elapsed()),
            None => publisher.waiting(
                index
                    .unlisted()
                    .map(|kind| format!("{} is not listed yet", kind.kubernetes()))
                    .collect(),
            ),
        }
    }
}

/// Takes a piece of news in. Says whether anything became different.
fn take(index: &mut Index, news: News) -> bool {
    match news {
        News::Now(Change { object, now: Now::Malformed { why, .. } }) => {
            tracing::warn!(
                "{object} can't be read: {why}; what it said before, if anything, counts"
            );
            index.malformed(&object, why)
        }
        News::Now(change) => index.apply(change),
        News::Listed(kind, there) => {
            index.retain(kind, &there);
            index.listed(kind);
            true
        }
        News::Unserved(kind) => {
            index.listed(kind);
            true
        }
        News::Served(kind) => {
            index.unlist(kind);
            true
        }
    }
}

/// What an API server has now, read once.
///
/// # Errors
/// If a kind can't be listed.
pub async fn read(api: &Api, reader: &Reader, options: Options) -> Result<Snapshot, String> {
    let mut index = Index::new(options);
    for kind in Kind::ALL {
        let why = |error| format!("{} can't be listed: {error}", kind.kubernetes());
        if api.serves(kind).await.map_err(why)? {
            let mut pages = api.pages(kind, Which::default());
            while let Some(page) = pages.next().await.map_err(why)? {
                for object in page {
                    take(&mut index, News::Now(object.change(kind, reader)));
                }
            }
        }
        index.listed(kind);
    }
    index.snapshot().ok_or_else(|| "not every kind is listed".to_owned())
}

/// One object as it is now, for a plan.
///
/// # Errors
/// If it can't be asked for, or is no JSON.
pub async fn object(api: &Api, of: &ObjectRef) -> Result<Option<Value>, String> {
    let found: Option<Object> = api.get(of).await.map_err(|error| format!("{of}: {error}"))?;
    found
        .map(|object| serde_json::from_str(object.json()).map_err(|error| format!("{of}: {error}")))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Fact, Host};

    fn host(name: &str) -> ObjectRef {
        ObjectRef { kind: Kind::Host, key: Key::cluster_scoped(name.to_owned()) }
    }

    fn there(name: &str) -> News {
        News::Now(Change { object: host(name), now: Now::Is(Fact::Host(Host::default())) })
    }

    /// An index for which every kind but hosts is listed.
    fn index() -> Index {
        let mut index = Index::new(Options::default());
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Host) {
            index.listed(kind);
        }
        index
    }

    #[test]
    fn a_kind_that_is_served_at_last_is_listed_before_anything_is_decided() {
        let mut index = index();
        take(&mut index, News::Unserved(Kind::Host));
        assert!(index.snapshot().is_some(), "it counts as empty");
        take(&mut index, News::Served(Kind::Host));
        take(&mut index, there("a"));
        assert!(index.snapshot().is_none(), "there may be more");
        take(&mut index, News::Listed(Kind::Host, [host("a").key].into()));
        assert_eq!(index.snapshot().unwrap().count(Kind::Host), 1);
    }

    #[test]
    fn what_a_new_list_lacks_is_gone() {
        let mut index = index();
        for name in ["a", "b", "c"] {
            take(&mut index, there(name));
        }
        take(&mut index, News::Listed(Kind::Host, [host("b").key].into()));
        let snapshot = index.snapshot().unwrap();
        let names: Vec<_> = snapshot.hosts().into_iter().map(|it| it.name().clone()).collect();
        assert_eq!(names, ["b".into()]);
    }

    #[test]
    fn an_object_that_can_no_longer_be_read_keeps_what_it_said_and_is_a_problem() {
        let mut index = index();
        take(&mut index, there("a"));
        take(&mut index, News::Listed(Kind::Host, [host("a").key].into()));
        let malformed = Now::Malformed { why: "odd".into(), last: None };
        assert!(take(&mut index, News::Now(Change { object: host("a"), now: malformed })));
        let snapshot = index.snapshot().unwrap();
        assert_eq!((snapshot.count(Kind::Host), snapshot.problems().len()), (1, 1));
        take(&mut index, there("a"));
        assert_eq!(index.snapshot().unwrap().problems().len(), 0);
    }
}
