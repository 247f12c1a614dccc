//! The web page and its JSON API (docs/reference.md, "The web page"). Both only read: nothing here
//! writes to the cluster.

mod answers;
mod assets;
mod events;
mod objects;
mod openapi;
mod plans;
mod refused;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderValue, Request, StatusCode, header};
use serde::Serialize;
use tokio::sync::{Mutex, Semaphore};

use crate::cluster::Snapshot;
use crate::decide::review::Policy;
use crate::k8s::Decoder;
use crate::publish::{Published, Snapshots};
use crate::threads::off_thread;

use super::reply::NOT_SYNCED;

pub use objects::{Objects, Reading};
pub use openapi::document as openapi;
use refused::Refused;

/// The most answers that are computed at a time. Further requests wait.
const MAX_ANSWERS: usize = 2;
/// How long a request waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);
/// What a browser may do with the page: it loads only what we serve, runs no script of a text that
/// the page shows, and is shown in no frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The state behind the page.
pub struct Ui {
    snapshots: Snapshots,
    objects: Box<dyn Objects>,
    decoder: Decoder,
    policy: Policy,
    /// Whether only this machine can connect, so that a request names it.
    is_local: bool,
    turns: Semaphore,
    /// Answers that every viewer of the page asks for, each with the version of its snapshot. While an
    /// answer is computed, the lock is held, so that it is computed once for all.
    shared: Mutex<HashMap<&'static str, (u64, Bytes)>>,
}

impl Ui {
    /// The page over these snapshots, listening on `address`. Plans are judged by `policy`.
    #[must_use]
    pub fn new(
        snapshots: Snapshots,
        objects: Box<dyn Objects>,
        decoder: Decoder,
        policy: Policy,
        address: SocketAddr,
    ) -> Self {
        Self {
            snapshots,
            objects,
            decoder,
            policy,
            is_local: address.ip().is_loopback(),
            turns: Semaphore::new(MAX_ANSWERS),
            shared: Mutex::default(),
        }
    }

    /// The current snapshot and its version.
    fn snapshot(&self) -> Result<(Snapshot, u64), Refused> {
        match &*self.snapshots.current() {
            Published::Synced { snapshot, version, .. } => Ok((snapshot.clone(), *version)),
            Published::Waiting(what) => {
                let why = format!("{NOT_SYNCED}: {}", what.join("; "));
                Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, why))
            }
        }
    }

    /// Computes an answer off the threads that serve connections, when it is its turn, and writes it
    /// as JSON.
    async fn compute<V: Serialize>(
        &self,
        answer: impl FnOnce() -> Result<V, Refused> + Send + 'static,
    ) -> Result<Bytes, Refused> {
        let turn = tokio::time::timeout(TURN_TIMEOUT, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            let why = "too many answers are being computed; try again";
            return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, why));
        };
        off_thread(true, move || Ok(serde_json::to_vec(&answer()?)?.into())).await?
    }

    /// An answer that is the same for all who ask for it of the same snapshot.
    async fn shared<V: Serialize>(
        &self,
        name: &'static str,
        answer: impl FnOnce(&Snapshot, u64) -> V + Send + 'static,
    ) -> Result<Bytes, Refused> {
        let mut shared = self.shared.lock().await;
        let (snapshot, version) = self.snapshot()?;
        if let Some((of, bytes)) = shared.get(name)
            && *of == version
        {
            return Ok(bytes.clone());
        }
        let bytes = self.compute(move || Ok(answer(&snapshot, version))).await?;
        shared.insert(name, (version, bytes.clone()));
        Ok(bytes)
    }
}

/// The routes of the page and of its API.
pub fn router(ui: Arc<Ui>) -> Router {
    let api = Router::new()
        .route("/overview", get(answers::overview))
        .route("/hosts/{name}", get(answers::host))
        .route("/cluster-networks/{name}", get(answers::cluster_network))
        .route("/network-configs", get(answers::network_configs))
        .route("/vm-networks", get(answers::vm_networks))
        .route("/vm-networks/{namespace}/{name}", get(answers::vm_network))
        .route("/vms", get(answers::vms))
        .route("/vms/{namespace}/{name}", get(answers::vm))
        .route("/host-network-configs", get(answers::host_network_configs))
        .route("/problems", get(answers::problems))
        .route("/events", get(events::events))
        .route("/openapi.json", get(answers::openapi))
        .route("/plan", post(plans::plan))
        .route("/planner", get(plans::choices))
        .route("/planner/network-config", post(plans::network_config))
        .route("/planner/cluster-network", post(plans::cluster_network))
        .route("/planner/vm-network", post(plans::vm_network))
        .route("/planner/placement", post(plans::placement))
        .fallback(async || Refused::new(StatusCode::NOT_FOUND, "there is no such path"))
        .method_not_allowed_fallback(async || {
            Refused::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not have this method")
        });
    Router::new()
        .nest("/api/v1", api)
        .fallback(get(assets::asset))
        .layer(from_fn_with_state(ui.clone(), guard))
        .with_state(ui)
}

/// Refuses what a foreign page makes a browser ask, and tells the browser how strict to be.
async fn guard(State(ui): State<Arc<Ui>>, request: Request<Body>, next: Next) -> Response {
    let mut response = if ui.is_local && !names_this_machine(&request) {
        let why =
            "this port answers only requests whose Host header is localhost, 127.0.0.1 or [::1]";
        Refused::new(StatusCode::FORBIDDEN, why).into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Returns whether the request is for this machine by name. A foreign page whose name was made to
/// point to this machine still sends that name.
fn names_this_machine(request: &Request<Body>) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = host.and_then(|host| host.parse::<http::uri::Authority>().ok());
    authority.is_some_and(|it| matches!(it.host(), "localhost" | "127.0.0.1" | "[::1]"))
}
