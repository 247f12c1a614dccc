//! Wraps every request: checks the client, gives the request an id that all its log lines share,
//! and ends the connection while we drain.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::State;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Request, StatusCode, header};
use tracing::Instrument as _;

use super::app::App;
use super::listen::Client;
use super::reply::Refusal;

/// Passes a request on to its handler if the client may send it. An unknown client gets 401 on
/// every path, before the body of its request is read.
pub(super) async fn admit(
    State(app): State<Arc<App>>,
    request: Request<Body>,
    next: Next,
) -> Response {
    static CALLS: AtomicU64 = AtomicU64::new(1);

    let is_known = request.extensions().get::<Client>().is_some_and(Client::is_known);
    if app.settings.clients_only && !is_known {
        let why = "a client certificate is required that was issued by the CA of --client-ca";
        return Refusal::new(StatusCode::UNAUTHORIZED, why).into_response();
    }
    let id = CALLS.fetch_add(1, Ordering::Relaxed);
    let path = request.uri().path();
    // Of the scheduler's requests, which come one for each pod, nothing is logged but details.
    let span = if path.starts_with("/scheduler/") {
        tracing::debug_span!("call", id, path)
    } else {
        tracing::info_span!("call", id, path)
    };
    let mut answer = next.run(request).instrument(span).await;
    if app.is_draining() {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}
