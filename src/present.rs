//! Reads the API server's current state for reviews that must not rely on a watch, which may be
//! stale (docs/reference.md, "Fresh reads" and "Unknown objects").
//!
//! Reviews that wait for the same list share it, so that a flood of reviews does not cause a flood
//! of lists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::api::{Api, Error as ApiError, Pods, Which};
use crate::cluster::{Change, Fact, Key, Kind, LauncherPod, Name, Now, ObjectRef, Snapshot};
use crate::decide::Audience;
use crate::decide::review::{self, Question, Scope};
use crate::k8s::Decoder;
use crate::threads::off_thread;

/// The most unknown objects that are read for one review.
const MAX_UNKNOWN: usize = 16;
/// Above this many hosts, one list of all bound launcher pods replaces a list for each host.
const MAX_HOSTS: usize = 16;
/// The most single objects that are read at a time for one review.
const MAX_CONCURRENT_READS: usize = 8;
/// The most single objects that are read at a time for all reviews together, so that a flood of reviews
/// does not hold up our watches and the renewal of our Lease at the API server.
const MAX_READS: usize = 64;

/// Why the current state could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// An object can't be read from the API server.
    #[error("{0} can't be read: {1}")]
    Get(ObjectRef, ApiError),
    /// A kind can't be listed.
    #[error("{} can't be listed: {}", .0.kubernetes(), .1)]
    List(Kind, ApiError),
    /// An object that the review depends on is malformed.
    #[error("{0} can't be read: {1}; repair it first")]
    Malformed(ObjectRef, Name),
    /// New launcher pods ask for more unknown VM networks than may be read.
    #[error(
        "new launcher pods ask for {0} unknown VM networks, such as {1}; {MAX_UNKNOWN} are read"
    )]
    TooManyUnknown(usize, ObjectRef),
    /// A task panicked, or the process is about to end.
    #[error("the read was aborted")]
    Aborted,
}

impl Error {
    /// The text for the author of a request.
    #[must_use]
    pub fn told_to(&self, audience: Audience<'_>) -> String {
        let object = match self {
            Self::Get(object, _) | Self::Malformed(object, _) | Self::TooManyUnknown(_, object) => {
                Some(object)
            }
            Self::List(..) | Self::Aborted => None,
        };
        match object.filter(|object| !audience.may_see(&object.key)) {
            Some(object) => format!(
                "a {} in another namespace can't be read; ask an administrator of the cluster to \
                 look into the log of Lanekeeper",
                object.kind.kubernetes()
            ),
            None => self.to_string(),
        }
    }
}

/// Reads the API server's current state.
pub struct Present {
    api: Api,
    decoder: Decoder,
    lists: Mutex<Lists>,
    /// What may be read at the same time, of single objects.
    reads: Semaphore,
}

/// The lists that are being read or waited for.
type Lists = BTreeMap<(Kind, Which), Arc<List>>;
/// The newest list, and when its reading began. Whoever holds the lock reads the next one; those
/// who wait for the lock share it.
type List = tokio::sync::Mutex<Option<(Instant, Arc<[Change]>)>>;

/// A review that waits for a list. The last waiter removes the list when it is dropped.
struct Waiter<'a> {
    present: &'a Present,
    of: (Kind, Which),
    list: Arc<List>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut lists = self.present.lists();
        // One reference is the map's, one is this waiter's.
        if Arc::strong_count(&self.list) <= 2 {
            lists.remove(&self.of);
        }
    }
}

impl Present {
    /// Reads from this API server.
    #[must_use]
    pub fn new(api: Api, decoder: Decoder) -> Self {
        Self { api, decoder, lists: Mutex::default(), reads: Semaphore::new(MAX_READS) }
    }

    /// The number of lists that are being read or waited for.
    #[must_use]
    pub fn lists_in_flight(&self) -> usize {
        self.lists().len()
    }

    /// Reads what a question needs and adds it to the snapshot. Returns `None` if the question
    /// needs no fresh read. The scope is computed again as objects become known: an unknown VM
    /// network may refer to an unknown cluster network.
    ///
    /// # Errors
    /// If something can't be read.
    pub async fn refresh(
        &self,
        snapshot: &Snapshot,
        question: &Arc<Question>,
    ) -> Result<Option<Snapshot>, Error> {
        let mut asked: BTreeSet<ObjectRef> = BTreeSet::new();
        let mut snapshot = snapshot.clone();
        let scope = loop {
            let scope = scope(&snapshot, question).await?;
            if asked.is_empty() && scope.is_empty() {
                return Ok(None);
            }
            let room = MAX_UNKNOWN - asked.len();
            let unknown: Vec<ObjectRef> =
                scope.unknown.iter().filter(|it| !asked.contains(it)).take(room).cloned().collect();
            if unknown.is_empty() {
                break scope;
            }
            let mut found = self.read(&unknown).await?;
            found.retain(|change| matches!(change.now, Now::Is(_)));
            snapshot = with(snapshot, found).await?;
            asked.extend(unknown);
        };
        let Scope { running_vms_on, users_of, vmis_using, vms_using, configs_of, unknown: _ } =
            scope;
        // The object under review may itself be malformed: it can still be repaired or deleted.
        let under_review = question.object();
        if users_of.is_some() || !configs_of.is_empty() {
            snapshot =
                self.with_listed(Kind::NetworkConfig, under_review.as_ref(), snapshot).await?;
        }
        if users_of.is_some() {
            for kind in [Kind::VmNetwork, Kind::HostNetwork] {
                snapshot = self.with_listed(kind, under_review.as_ref(), snapshot).await?;
            }
        }
        if vms_using.is_some() {
            snapshot = self.with_listed(Kind::Vm, under_review.as_ref(), snapshot).await?;
        }
        let mut places: Vec<Pods> = if running_vms_on.len() <= MAX_HOSTS {
            running_vms_on.into_iter().map(Pods::On).collect()
        } else {
            vec![Pods::Bound]
        };
        // A pod that is not bound yet uses its networks as well.
        places.extend(vmis_using.map(|_| Pods::Alive));
        for pods in places {
            let changes = self.pods(&snapshot, pods).await?;
            let unknown = unknown_vm_networks(&snapshot, &changes, &asked);
            if let Some(first) = unknown.get(MAX_UNKNOWN - asked.len()) {
                return Err(Error::TooManyUnknown(unknown.len(), first.clone()));
            }
            let found = self.read(&unknown).await?;
            asked.extend(unknown);
            snapshot = with(snapshot, changes.into_iter().chain(found).collect()).await?;
        }
        Ok(Some(snapshot))
    }

    /// The snapshot with all objects of a kind listed afresh.
    async fn with_listed(
        &self,
        kind: Kind,
        under_review: Option<&ObjectRef>,
        snapshot: Snapshot,
    ) -> Result<Snapshot, Error> {
        let listed = self.list(kind, Which::default()).await?;
        let mut present: Vec<Change> = Vec::with_capacity(listed.len());
        for change in listed.iter() {
            if Some(&change.object) != under_review {
                check(change)?;
            }
            present.push(change.clone());
        }
        let updated = off_thread(true, move || {
            let names: BTreeSet<&Key> = present.iter().map(|change| &change.object.key).collect();
            let gone = snapshot.keys(kind).into_iter().filter(|key| !names.contains(key));
            let gone = gone.map(|key| Change { object: ObjectRef { kind, key }, now: Now::Gone });
            let gone: Vec<Change> = gone.collect();
            // If the object under review is malformed, it keeps its last facts.
            present.retain(|change| !matches!(change.now, Now::Malformed { .. }));
            snapshot.with(present.into_iter().chain(gone))
        });
        updated.await.map_err(|_| Error::Aborted)
    }

    /// Reads the launcher pods that the snapshot lacks or knows differently, and their VMIs. The
    /// list has metadata only. A pod's host never changes once it is set, so only these pods must
    /// be read whole.
    async fn pods(&self, snapshot: &Snapshot, pods: Pods) -> Result<Vec<Change>, Error> {
        let needs_host = pods != Pods::Alive;
        let listed = self
            .list(Kind::LauncherPod, Which { pods, metadata: true, ..Which::default() })
            .await?;
        let known = snapshot.clone();
        let unknown = off_thread(true, move || {
            let is_unknown = |change: &&Change| {
                let Now::Is(Fact::LauncherPod(pod)) = &change.now else { return true };
                !known.launcher_pod(&change.object.key).is_some_and(|known_pod| {
                    known_pod.networks == pod.networks
                        && !known_pod.ended
                        && (known_pod.host.is_some() || !needs_host)
                        && known.knows_vmi_of(known_pod)
                })
            };
            let listed = readable(&known, &listed)?.into_iter();
            Ok(listed.filter(is_unknown).map(|change| change.object.clone()).collect())
        });
        let unknown: Vec<ObjectRef> = unknown.await.map_err(|_| Error::Aborted)??;
        let pods = self.read_any(&unknown).await?;
        let mut changes: Vec<Change> = readable(snapshot, &pods)?.into_iter().cloned().collect();
        let vmis: BTreeSet<ObjectRef> = changes
            .iter()
            .filter_map(|change| match &change.now {
                Now::Is(Fact::LauncherPod(LauncherPod { vmi, .. })) => {
                    Some(ObjectRef { kind: Kind::Vmi, key: vmi.clone() })
                }
                _ => None,
            })
            .collect();
        changes.extend(self.read(&vmis.into_iter().collect::<Vec<_>>()).await?);
        Ok(changes)
    }

    /// Reads single objects, whole. Fails if one of them is malformed.
    async fn read(&self, objects: &[ObjectRef]) -> Result<Vec<Change>, Error> {
        let read = self.read_any(objects).await?;
        read.iter().try_for_each(check)?;
        Ok(read)
    }

    /// Reads single objects, whole, even if they are malformed.
    async fn read_any(&self, objects: &[ObjectRef]) -> Result<Vec<Change>, Error> {
        let objects = objects.to_vec();
        stream::iter(objects.into_iter().map(|object| async move {
            let _permit = self.reads.acquire().await.map_err(|_| Error::Aborted)?;
            let read = self.api.now(object.clone(), &self.decoder).await;
            read.map_err(|error| Error::Get(object, error))
        }))
        .buffered(MAX_CONCURRENT_READS)
        .try_collect()
        .await
    }

    /// Lists objects, or shares a list that another review began to read after this call.
    async fn list(&self, kind: Kind, which: Which) -> Result<Arc<[Change]>, Error> {
        let asked = Instant::now();
        let of = (kind, which);
        let list = self.lists().entry(of.clone()).or_default().clone();
        let waiter = Waiter { present: self, of, list };
        let mut newest = waiter.list.lock().await;
        if let Some((begun, listed)) = &*newest
            && *begun >= asked
        {
            return Ok(listed.clone());
        }
        let begun = Instant::now();
        let listed = self.list_now(kind, &waiter.of.1).await?;
        *newest = Some((begun, listed.clone()));
        Ok(listed)
    }

    async fn list_now(&self, kind: Kind, which: &Which) -> Result<Arc<[Change]>, Error> {
        let mut changes = Vec::new();
        // One page is decoded while the next one is on its way.
        let mut decoding = JoinSet::new();
        let mut pages = self.api.pages(kind, which.clone());
        let mut is_first = true;
        loop {
            let page = match pages.next().await {
                Ok(Some(page)) => page,
                Ok(None) => break,
                // A kind that is not served has no objects.
                Err(ApiError::NotFound) if is_first => break,
                Err(error) => return Err(Error::List(kind, error)),
            };
            is_first = false;
            while let Some(decoded) = decoding.join_next().await {
                changes.extend::<Vec<Change>>(decoded.map_err(|_| Error::Aborted)?);
            }
            let decoder = self.decoder.clone();
            decoding.spawn_blocking(move || {
                page.iter().map(|object| object.change(kind, &decoder)).collect()
            });
        }
        while let Some(decoded) = decoding.join_next().await {
            changes.extend(decoded.map_err(|_| Error::Aborted)?);
        }
        Ok(changes.into())
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Computes what must be read afresh for a question.
async fn scope(snapshot: &Snapshot, question: &Arc<Question>) -> Result<Scope, Error> {
    let (snapshot, question) = (snapshot.clone(), question.clone());
    let is_large = question.is_large();
    let scope = off_thread(is_large, move || review::scope(&snapshot, &question));
    scope.await.map_err(|_| Error::Aborted)
}

/// The VM networks that launcher pods and VMIs ask for, without those that are known or were asked
/// for already. The pods' VM networks may be as new as the pods.
fn unknown_vm_networks(
    snapshot: &Snapshot,
    changes: &[Change],
    asked: &BTreeSet<ObjectRef>,
) -> Vec<ObjectRef> {
    // A pod without a running VMI, which anyone may make, protects nothing.
    let running: BTreeSet<&Key> = changes
        .iter()
        .filter(|change| matches!(&change.now, Now::Is(Fact::Vmi(vmi)) if !vmi.finished))
        .map(|change| &change.object.key)
        .collect();
    let networks = changes.iter().filter_map(|change| match &change.now {
        Now::Is(Fact::LauncherPod(pod)) if running.contains(&pod.vmi) => Some(&pod.networks),
        Now::Is(Fact::Vmi(vmi)) if !vmi.finished => Some(&vmi.networks),
        _ => None,
    });
    let unknown: BTreeSet<ObjectRef> = networks
        .flat_map(|networks| &networks.vm_networks)
        .filter(|key| snapshot.vm_network(key).is_none())
        .map(|key| ObjectRef { kind: Kind::VmNetwork, key: key.clone() })
        .filter(|object| !asked.contains(object))
        .collect();
    unknown.into_iter().collect()
}

/// Applies what was read to a snapshot.
async fn with(snapshot: Snapshot, changes: Vec<Change>) -> Result<Snapshot, Error> {
    let is_large = changes.len() > MAX_UNKNOWN;
    off_thread(is_large, move || snapshot.with(changes)).await.map_err(|_| Error::Aborted)
}

/// The launcher pods without those that are malformed in a namespace where no VM runs: anyone may make
/// such a pod, and it protects nothing. Fails if another one is malformed.
fn readable<'c>(snapshot: &Snapshot, pods: &'c [Change]) -> Result<Vec<&'c Change>, Error> {
    let mut readable = Vec::with_capacity(pods.len());
    for pod in pods {
        match check(pod) {
            Ok(()) => readable.push(pod),
            Err(error) if pod.object.key.namespace().is_none_or(|it| snapshot.runs_vms_in(it)) => {
                return Err(error);
            }
            Err(_) => {}
        }
    }
    Ok(readable)
}

/// Fails if an object is malformed, since its present facts are unknown.
fn check(change: &Change) -> Result<(), Error> {
    match &change.now {
        Now::Malformed { why, .. } => Err(Error::Malformed(change.object.clone(), why.clone())),
        Now::Is(_) | Now::Gone => Ok(()),
    }
}
