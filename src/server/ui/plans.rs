//! The answers about what would be: plans, and the forms of the planner.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::{Request, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cluster::{Key, Kind, ObjectRef, Snapshot};
use crate::decide::review::Policy;
use crate::k8s::{documents, read_text};
use crate::server::reply::json;
use crate::view::page::VmPage;
use crate::view::plan::{Mode, PlanView, Proposed, Unjudged};
use crate::view::planner::{
    Choices, ClusterNetworkForm, Draft, Known, NetworkConfigDraft, NetworkConfigForm,
    PlacementForm, Planned, VmNetworkForm,
};

use super::refused::Refused;
use super::state::{Ui, written};

/// The largest body: a change of some hundred objects.
const MAX_BODY: usize = 1 << 20;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The most objects of a change.
const MAX_OBJECTS: usize = 500;

/// The page's state.
type Page = State<Arc<Ui>>;
/// An answer as JSON.
type Answer = Result<Response, Refused>;

/// How a change is judged.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct PlanAsked {
    delete: bool,
    in_order: bool,
}

pub(super) async fn plan(
    State(ui): Page,
    asked: Result<Query<PlanAsked>, QueryRejection>,
    request: Request<Body>,
) -> Answer {
    let Query(PlanAsked { delete, in_order }) =
        asked.map_err(|why| Refused::bad(why.body_text()))?;
    let body = body(request).await?;
    let text = text_of(&body)?;
    // JSON is YAML too, but for some escapes in strings.
    let objects = documents::read(text, true).or_else(|_| documents::read(text, false));
    let objects = objects.map_err(|why| Refused::bad(why.to_string()))?;
    let (snapshot, _) = ui.snapshot()?;
    let mode = Mode { delete, in_order, ..ui.mode() };
    let judged = ui.judged(&snapshot, objects, mode).await?;
    ui.compute(move || written(&judged()?)).await.map(json)
}

pub(super) async fn choices(State(ui): Page) -> Answer {
    ui.shared("planner", |snapshot, _| written(&Choices::of(snapshot))).await.map(json)
}

pub(super) async fn network_config(State(ui): Page, request: Request<Body>) -> Answer {
    let form: NetworkConfigForm = form(request).await?;
    let existing = match &form.change {
        None => None,
        Some(name) => ui.existing(Kind::NetworkConfig, Key::cluster_scoped(&**name)).await?,
    };
    let known = Known { existing, cordoned: ui.cordoned().await };
    let (snapshot, _) = ui.snapshot()?;
    let draft = NetworkConfigDraft::of(&snapshot, form, known);
    let objects = draft.objects().to_vec();
    ui.planned(&snapshot, draft, objects).await
}

pub(super) async fn cluster_network(State(ui): Page, request: Request<Body>) -> Answer {
    let form: ClusterNetworkForm = form(request).await?;
    let (snapshot, _) = ui.snapshot()?;
    let draft: Draft<_> = form.draft(&snapshot);
    let objects = draft.objects().to_vec();
    ui.planned(&snapshot, draft, objects).await
}

pub(super) async fn vm_network(State(ui): Page, request: Request<Body>) -> Answer {
    let form: VmNetworkForm = form(request).await?;
    let existing = match form.changed() {
        None => None,
        Some(key) => ui.existing(Kind::VmNetwork, key).await?,
    };
    let (snapshot, _) = ui.snapshot()?;
    let draft: Draft<_> = form.draft(&snapshot, existing);
    let objects = draft.objects().to_vec();
    ui.planned(&snapshot, draft, objects).await
}

pub(super) async fn placement(State(ui): Page, request: Request<Body>) -> Answer {
    let form: PlacementForm = form(request).await?;
    let (snapshot, _) = ui.snapshot()?;
    let page = move || {
        let asked = form.asked(&snapshot);
        let asked =
            asked.ok_or_else(|| Refused::bad("name each of vmNetworks as NAMESPACE/NAME"))?;
        written(&VmPage::asking(&snapshot, &asked))
    };
    ui.compute(page).await.map(json)
}

/// Reads a form.
async fn form<F: DeserializeOwned>(request: Request<Body>) -> Result<F, Refused> {
    let body = body(request).await?;
    let text = text_of(&body)?;
    read_text(text).map_err(|why| Refused::bad(format!("the form can't be read: {why}")))
}

fn text_of(body: &Bytes) -> Result<&str, Refused> {
    std::str::from_utf8(body).map_err(|_| Refused::bad("the body is not UTF-8"))
}

async fn body(request: Request<Body>) -> Result<Bytes, Refused> {
    let read = tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), MAX_BODY)).await;
    match read {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => {
            let why = format!("the body is not complete, or has more than {MAX_BODY} bytes");
            Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, why))
        }
        Err(_) => Err(Refused::new(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
}

impl Ui {
    /// How the plans of the page are judged: as a user who is not trusted, and with the names of all
    /// VMs, since the page shows these anyway.
    fn mode(&self) -> Mode {
        let Policy { deny_unschedulable, vm_affinity_off, .. } = self.policy;
        let policy =
            Policy { deny_unschedulable, vm_affinity_off, names_all: true, ..Policy::default() };
        Mode { policy, ..Mode::default() }
    }

    /// The whole object of this kind and key.
    async fn existing(&self, kind: Kind, key: Key) -> Result<Option<Value>, Refused> {
        let object = ObjectRef { kind, key };
        self.objects.object(&object).await.map_err(|why| unreadable(&why))
    }

    /// Reads what a judgement needs. Returns the judgement, which is yet to be computed.
    async fn judged(
        &self,
        snapshot: &Snapshot,
        objects: Vec<Value>,
        mode: Mode,
    ) -> Result<impl FnOnce() -> Result<PlanView, Refused> + Send + 'static, Refused> {
        if objects.len() > MAX_OBJECTS {
            let why = format!("the change has {} objects; {MAX_OBJECTS} are judged", objects.len());
            return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        let proposed = Proposed::read(objects, &self.decoder).map_err(|why| match why {
            Unjudged::Empty => Refused::bad(format!("the change {why}")),
            Unjudged::Object { .. } => Refused::bad(why.to_string()),
        })?;
        let mut existing = BTreeMap::new();
        for object in proposed.objects() {
            let found = self.objects.object(object).await.map_err(|why| unreadable(&why))?;
            existing.extend(found.map(|found| (object.clone(), found)));
        }
        let (snapshot, decoder) = (snapshot.clone(), self.decoder.clone());
        Ok(move || Ok(proposed.judge(&snapshot, &existing, &decoder, &mode)))
    }

    /// A draft, with what its objects would do if there are any.
    async fn planned<D: serde::Serialize + Send + 'static>(
        &self,
        snapshot: &Snapshot,
        draft: D,
        objects: Vec<Value>,
    ) -> Answer {
        let judged = if objects.is_empty() {
            None
        } else {
            Some(self.judged(snapshot, objects.clone(), self.mode()).await?)
        };
        let planned = move || {
            let plan = judged.map(|judged| judged()).transpose()?;
            written(&Planned::new(draft, &objects, plan)?)
        };
        self.compute(planned).await.map(json)
    }
}

fn unreadable(why: &BoxError) -> Refused {
    Refused::new(StatusCode::BAD_GATEWAY, format!("an object of the cluster can't be read: {why}"))
}
