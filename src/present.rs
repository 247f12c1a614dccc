//! What the API server has at this moment, for what a review must not take from a watch that may lag
//! behind (spec, section 5, "Fresh reads" and "Unknown objects").
//!
//! A list that several reviews need is read once, for all that wait for it: a flood of reviews is no
//! flood of lists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::api::{Api, Error, Which};
use crate::cluster::{Change, Fact, Key, Kind, LauncherPod, Now, ObjectRef, Snapshot};
use crate::decide::review::Scope;
use crate::k8s::objects::Reader;

/// How many unknown objects one request may ask for.
const MOST_UNKNOWN: usize = 16;
/// Up to so many hosts are asked for one by one; beyond it all launcher pods are listed.
const FEW_HOSTS: usize = 16;
/// How many single objects are read at a time for one request.
const AT_ONCE: usize = 8;
/// Launcher pods that have not ended.
const ALIVE: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Reads the API server's present state.
pub struct Present {
    api: Api,
    reader: Reader,
    lists: Mutex<BTreeMap<(Kind, Which), Arc<List>>>,
}

/// A list that is read: when its reading began, and what it held. Whoever waits for the lock shares
/// the next.
type List = tokio::sync::Mutex<Option<(Instant, Arc<[Change]>)>>;

impl Present {
    /// Of this API server.
    #[must_use]
    pub fn new(api: Api, reader: Reader) -> Self {
        Self { api, reader, lists: Mutex::default() }
    }

    /// A snapshot that has what a scope says must be read afresh. The scope is asked again as more
    /// becomes known: a VM network that was unknown may be of an unknown cluster network.
    ///
    /// # Errors
    /// What can't be read, and why.
    pub async fn refresh(
        &self,
        mut snapshot: Snapshot,
        scope: impl Fn(&Snapshot) -> Scope,
    ) -> Result<Snapshot, String> {
        let mut asked: BTreeSet<ObjectRef> = BTreeSet::new();
        let scope = loop {
            let now = scope(&snapshot);
            let room = MOST_UNKNOWN - asked.len();
            let unknown: Vec<ObjectRef> =
                now.unknown.iter().filter(|it| !asked.contains(it)).take(room).cloned().collect();
            if unknown.is_empty() {
                break now;
            }
            let mut found = self.read(&unknown).await?;
            found.retain(|change| matches!(change.now, Now::Is(_)));
            snapshot = snapshot.with(found);
            asked.extend(unknown);
        };
        let Scope { running_vms_on, users_of, users_of_vm_network, configs_of, unknown: _ } = scope;
        let mut kinds = Vec::new();
        if users_of.is_some() || !configs_of.is_empty() {
            kinds.push(Kind::NetworkConfig);
        }
        if users_of.is_some() {
            kinds.push(Kind::VmNetwork);
        }
        if users_of_vm_network.is_some() {
            kinds.push(Kind::Vm);
        }
        for kind in kinds {
            snapshot = snapshot.with(self.all_of(kind, &snapshot).await?);
        }
        let few = running_vms_on.len() <= FEW_HOSTS;
        let places = match &*running_vms_on {
            hosts if few => hosts.iter().map(|host| format!("spec.nodeName={host}")).collect(),
            _ => vec!["spec.nodeName!=".to_owned()],
        };
        for place in places {
            let which = Which { fields: Some(format!("{place},{ALIVE}")), metadata: true, few };
            snapshot = snapshot.with(self.pods(&snapshot, which).await?);
        }
        if users_of_vm_network.is_some() {
            // One that is on no host yet uses it too.
            let which = Which { fields: Some(ALIVE.to_owned()), metadata: true, few: false };
            snapshot = snapshot.with(self.pods(&snapshot, which).await?);
        }
        Ok(snapshot)
    }

    /// Everything of a kind: what is there, and what no longer is.
    async fn all_of(&self, kind: Kind, snapshot: &Snapshot) -> Result<Vec<Change>, String> {
        let there = self.list(kind, Which::default()).await?;
        let names: BTreeSet<&Key> = there.iter().map(|change| &change.object.key).collect();
        let gone = snapshot.keys(kind).into_iter().filter(|key| !names.contains(key));
        let gone = gone.map(|key| Change { object: ObjectRef { kind, key }, now: Now::Gone });
        // What can't be read keeps what it said before.
        let readable = there.iter().filter(|change| !matches!(change.now, Now::Malformed { .. }));
        Ok(readable.cloned().chain(gone).collect())
    }

    /// The launcher pods that the snapshot has not, or has otherwise, and the instances that live in
    /// them. A pod's host never changes once it is set, so only these are read whole.
    async fn pods(&self, snapshot: &Snapshot, which: Which) -> Result<Vec<Change>, String> {
        let needs_host = which.fields.as_deref() != Some(ALIVE);
        let listed = self.list(Kind::LauncherPod, which).await?;
        let news = |change: &&Change| {
            let Now::Is(Fact::LauncherPod(pod)) = &change.now else { return true };
            !snapshot.launcher_pod(&change.object.key).is_some_and(|known| {
                known.networks == pod.networks
                    && !known.ended
                    && (known.host.is_some() || !needs_host)
                    && snapshot.knows_vmi_of(known)
            })
        };
        let news: Vec<ObjectRef> =
            listed.iter().filter(news).map(|change| change.object.clone()).collect();
        let pods = self.read(&news).await?;
        let vmis: BTreeSet<ObjectRef> = pods
            .iter()
            .filter_map(|change| match &change.now {
                Now::Is(Fact::LauncherPod(LauncherPod { vmi, .. })) => {
                    Some(ObjectRef { kind: Kind::Vmi, key: vmi.clone() })
                }
                _ => None,
            })
            .collect();
        let vmis: Vec<ObjectRef> = vmis.into_iter().collect();
        let mut changes = pods;
        changes.extend(self.read(&vmis).await?);
        changes.retain(|change| !matches!(change.now, Now::Malformed { .. }));
        Ok(changes)
    }

    async fn read(&self, objects: &[ObjectRef]) -> Result<Vec<Change>, String> {
        let objects = objects.to_vec();
        stream::iter(objects.into_iter().map(|object| async move {
            let why = format!("{object} can't be read");
            self.api.now(object, &self.reader).await.map_err(|error| format!("{why}: {error}"))
        }))
        .buffered(AT_ONCE)
        .try_collect()
        .await
    }

    /// A list that began to be read after this was asked, by whomever.
    async fn list(&self, kind: Kind, which: Which) -> Result<Arc<[Change]>, String> {
        let asked = Instant::now();
        let place = (kind, which);
        let list = self.places().entry(place.clone()).or_default().clone();
        let answer = self.list_at(&place, &list, asked).await;
        // With nobody waiting for it there is nothing to keep.
        let mut places = self.places();
        if Arc::strong_count(&list) <= 2 {
            places.remove(&place);
        }
        answer
    }

    async fn list_at(
        &self,
        (kind, which): &(Kind, Which),
        shared: &List,
        asked: Instant,
    ) -> Result<Arc<[Change]>, String> {
        let mut last = shared.lock().await;
        if let Some((begun, answer)) = &*last
            && *begun >= asked
        {
            return Ok(answer.clone());
        }
        let begun = Instant::now();
        let answer = self.list_now(*kind, which).await;
        let answer: Arc<[Change]> = answer
            .map_err(|error| format!("{} can't be listed: {error}", kind.kubernetes()))?
            .into();
        *last = Some((begun, answer.clone()));
        Ok(answer)
    }

    async fn list_now(&self, kind: Kind, which: &Which) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::new();
        let mut pages = self.api.pages(kind, which.clone());
        loop {
            match pages.next().await {
                Ok(Some(page)) => {
                    changes.extend(page.iter().map(|object| object.change(kind, &self.reader)));
                }
                Ok(None) => return Ok(changes),
                // A kind that is not served has no objects.
                Err(Error::NotFound) if changes.is_empty() => return Ok(changes),
                Err(error) => return Err(error),
            }
        }
    }

    fn places(&self) -> std::sync::MutexGuard<'_, BTreeMap<(Kind, Which), Arc<List>>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
