//! The whole objects that the web page asks for: from the API server, or from manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::BoxError;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::api::{Api, RawObject, Which};
use crate::cli::Source;
use crate::cluster::{Kind, Name, ObjectRef};
use crate::publish::{Published, Snapshots};
use crate::server::ui::{Objects, Reading};
use crate::source::Manifests;
use crate::threads::off_thread;

/// The objects of the API server, or else of the manifests.
pub(super) fn of(source: &Source, api: Option<&Api>, snapshots: Snapshots) -> Box<dyn Objects> {
    match (api, source.manifests()) {
        (Some(api), _) => Box::new(Live(api.clone())),
        (None, manifests) => Box::new(Files {
            manifests: manifests.map(Arc::new),
            snapshots,
            cordoned: Mutex::default(),
        }),
    }
}

/// The API server's objects. They are read by lists, so that the right to list is enough.
struct Live(Api);

impl Objects for Live {
    fn object<'a>(&'a self, object: &'a ObjectRef) -> Reading<'a, Option<Value>> {
        Box::pin(async move {
            let found = self.0.find(object).await;
            let found = found.map_err(|why| format!("{object}: {why}"))?;
            let read = |raw: RawObject| {
                serde_json::from_str(raw.json()).map_err(|why| format!("{object}: {why}"))
            };
            Ok(found.map(read).transpose()?)
        })
    }

    fn cordoned(&self) -> Reading<'_, BTreeSet<Name>> {
        Box::pin(async move {
            let which = Which { metadata: true, cordoned: true, ..Which::default() };
            let mut pages = self.0.pages(Kind::Host, which);
            let mut cordoned = BTreeSet::new();
            while let Some(hosts) = pages.next().await? {
                cordoned.extend(hosts.iter().map(|host| Name::from(host.key().as_str())));
            }
            Ok(cordoned)
        })
    }
}

/// The objects of manifests.
struct Files {
    manifests: Option<Arc<Manifests>>,
    snapshots: Snapshots,
    /// The cordoned hosts, and of which version of the snapshot. All files are read for them.
    cordoned: Mutex<Option<(u64, BTreeSet<Name>)>>,
}

impl Files {
    async fn read(&self) -> Result<BTreeMap<ObjectRef, Value>, BoxError> {
        let Some(manifests) = self.manifests.clone() else { return Ok(BTreeMap::new()) };
        let read = off_thread(true, move || manifests.objects());
        Ok(read.await??)
    }
}

impl Objects for Files {
    fn object<'a>(&'a self, object: &'a ObjectRef) -> Reading<'a, Option<Value>> {
        Box::pin(async move { Ok(self.read().await?.remove(object)) })
    }

    fn cordoned(&self) -> Reading<'_, BTreeSet<Name>> {
        Box::pin(async move {
            let mut known = self.cordoned.lock().await;
            let now = match &*self.snapshots.current() {
                Published::Synced { version, .. } => *version,
                Published::Waiting(_) => 0,
            };
            if let Some((version, cordoned)) = &*known
                && *version == now
            {
                return Ok(cordoned.clone());
            }
            let is_cordoned = |(object, value): &(ObjectRef, Value)| {
                object.kind == Kind::Host
                    && value.pointer("/spec/unschedulable").and_then(Value::as_bool) == Some(true)
            };
            let objects = self.read().await?.into_iter().filter(is_cordoned);
            let cordoned: BTreeSet<Name> =
                objects.map(|(object, _)| Name::from(object.key.as_str())).collect();
            *known = Some((now, cordoned.clone()));
            Ok(cordoned)
        })
    }
}
