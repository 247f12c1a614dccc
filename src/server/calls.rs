//! What happens around every call: who may make it, and a number by which its lines in the log are
//! found together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::State;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode};
use tracing::Instrument as _;

use super::app::App;
use super::listen::Client;
use super::reply::Refusal;

/// Passes a call on to its handler, if its client may make it. A stranger gets no further than
/// this: the body is not read, and what the answer would be is not told.
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
    let span = tracing::info_span!("call", id, path = request.uri().path());
    next.run(request).instrument(span).await
}
