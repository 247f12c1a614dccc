//! The answers about what there is.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};

use crate::cluster::{Key, Name};
use crate::server::reply::json;
use crate::view::Report;
use crate::view::page::{
    ClusterNetworkPage, HostNetworkConfigs, HostPage, NetworkConfigs, Overview, VmList,
    VmNetworkPage, VmNetworks, VmPage, VmsAsked,
};

use super::openapi::document;
use super::refused::Refused;
use super::state::{Ui, written};

/// The page's state.
type Page = State<Arc<Ui>>;
/// An answer as JSON.
type Answer = Result<Response, Refused>;

fn answer(bytes: Result<Bytes, Refused>) -> Answer {
    bytes.map(json)
}

pub(super) async fn overview(State(ui): Page) -> Answer {
    answer(
        ui.shared("overview", |snapshot, version| {
            let problems = Report::of(snapshot).count();
            written(&Overview::of(snapshot, version, problems))
        })
        .await,
    )
}

pub(super) async fn host(State(ui): Page, Path(name): Path<String>) -> Answer {
    let (snapshot, _) = ui.snapshot()?;
    let cordoned = ui.cordoned().await.map(|hosts| hosts.contains(&*name));
    let page = move || {
        let host = snapshot.host(&name).ok_or_else(|| Refused::not_found("host", &name))?;
        written(&HostPage::of(&snapshot, host, cordoned))
    };
    answer(ui.compute(page).await)
}

pub(super) async fn cluster_network(State(ui): Page, Path(name): Path<String>) -> Answer {
    let (snapshot, _) = ui.snapshot()?;
    let name = Name::from(name);
    let page = move || {
        let page = ClusterNetworkPage::of(&snapshot, &name);
        written(&page.ok_or_else(|| Refused::not_found("cluster network", &name))?)
    };
    answer(ui.compute(page).await)
}

pub(super) async fn network_configs(State(ui): Page) -> Answer {
    answer(ui.shared("network-configs", |snapshot, _| written(&NetworkConfigs::of(snapshot))).await)
}

pub(super) async fn vm_networks(State(ui): Page) -> Answer {
    answer(ui.shared("vm-networks", |snapshot, _| written(&VmNetworks::of(snapshot))).await)
}

pub(super) async fn vm_network(
    State(ui): Page,
    Path((namespace, name)): Path<(String, String)>,
) -> Answer {
    let (snapshot, _) = ui.snapshot()?;
    let key = Key::in_namespace(&namespace, &name);
    let page = move || {
        let page = VmNetworkPage::of(&snapshot, &key);
        written(&page.ok_or_else(|| Refused::not_found("VM network", key.as_str()))?)
    };
    answer(ui.compute(page).await)
}

pub(super) async fn vms(State(ui): Page, asked: Result<Query<VmsAsked>, QueryRejection>) -> Answer {
    let Query(asked) = asked.map_err(|why| Refused::bad(why.body_text()))?;
    let (snapshot, _) = ui.snapshot()?;
    answer(ui.compute(move || written(&VmList::of(&snapshot, &asked))).await)
}

pub(super) async fn vm(State(ui): Page, Path((namespace, name)): Path<(String, String)>) -> Answer {
    let (snapshot, _) = ui.snapshot()?;
    let key = Key::in_namespace(&namespace, &name);
    let page = move || {
        let page = VmPage::of(&snapshot, &key);
        written(&page.ok_or_else(|| Refused::not_found("VM or VMI", key.as_str()))?)
    };
    answer(ui.compute(page).await)
}

pub(super) async fn host_network_configs(State(ui): Page) -> Answer {
    answer(
        ui.shared("host-network-configs", |snapshot, _| written(&HostNetworkConfigs::of(snapshot)))
            .await,
    )
}

pub(super) async fn problems(State(ui): Page) -> Answer {
    answer(ui.shared("problems", |snapshot, _| written(&Report::of(snapshot))).await)
}

pub(super) async fn openapi() -> Response {
    Json(document()).into_response()
}
