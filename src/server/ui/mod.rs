//! The web page and its JSON API (docs/reference.md, "The web page"). Both only read: nothing here
//! writes to the cluster.

mod answers;
mod assets;
mod events;
mod objects;
mod openapi;
mod plans;
mod refused;
mod state;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderValue, Method, Request, StatusCode, header};

pub use objects::{Objects, Reading};
pub use openapi::document as openapi;
use refused::Refused;
pub use state::Ui;

/// What a browser may do with the page: it loads only what we serve, runs no script of a text that
/// the page shows, and is shown in no frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

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
    let refused = if ui.is_local && !names_this_machine(&request) {
        Some("this port answers only requests whose Host header is localhost, 127.0.0.1 or [::1]")
    } else if request.method() == Method::POST && is_from_another_site(&request) {
        Some("a page of another site sent this request")
    } else {
        None
    };
    let mut response = match refused {
        Some(why) => Refused::new(StatusCode::FORBIDDEN, why).into_response(),
        None => next.run(request).await,
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

/// Returns whether a browser says that another site's page makes this request. Such a page can't read the
/// answer, but it must not make us work.
fn is_from_another_site(request: &Request<Body>) -> bool {
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    site.is_some_and(|site| ![&b"same-origin"[..], b"none"].contains(&site))
}

/// Returns whether the request is for this machine by name. A foreign page whose name was made to
/// point to this machine still sends that name.
fn names_this_machine(request: &Request<Body>) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = host.and_then(|host| host.parse::<http::uri::Authority>().ok());
    let own = ["localhost", "127.0.0.1", "[::1]"];
    authority.is_some_and(|it| own.iter().any(|own| it.host().eq_ignore_ascii_case(own)))
}
