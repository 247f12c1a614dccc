//! Takes every request on the HTTPS port: checks the client, gives the request an id that all its log
//! lines share, passes it on to its handler, and ends the connection while we drain.
//!
//! Five paths need no router, whose layers would take a twentieth of a filter request's CPU.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, Request, StatusCode, header};
use tower_service::Service;
use tracing::Instrument as _;

use crate::decide::review::Webhook;

use super::app::App;
use super::listen::Client;
use super::reply::Refusal;
use super::rest::{Unread, WithRest};

/// Answers the requests of the scheduler and of the API server.
#[derive(Clone)]
pub struct Calls(Arc<App>);

impl Calls {
    /// A service for this state, which its clones share.
    #[must_use]
    pub fn new(app: Arc<App>) -> Self {
        Self(app)
    }
}

impl<B> Service<Request<B>> for Calls
where
    B: Unread<Error: Into<BoxError>>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let app = self.0.clone();
        let answer =
            async move { Ok(app.call(request.map(|body| Body::new(WithRest::of(body)))).await) };
        // It is copied into the box, for each request.
        debug_assert!(size_of_val(&answer) <= 3 << 10, "{} bytes", size_of_val(&answer));
        Box::pin(answer)
    }
}

/// What is asked.
#[derive(Clone, Copy)]
enum Call {
    Filter,
    Prioritize,
    Preempt,
    Review(Webhook),
}

impl Call {
    fn of(path: &str) -> Option<Self> {
        match path {
            "/scheduler/filter" => Some(Self::Filter),
            "/scheduler/prioritize" => Some(Self::Prioritize),
            "/scheduler/preempt" => Some(Self::Preempt),
            "/validate" => Some(Self::Review(Webhook::Validate)),
            "/mutate" => Some(Self::Review(Webhook::Mutate)),
            _ => None,
        }
    }
}

impl App {
    /// Answers a request if the client may send it. An unknown client gets 401 on every path, before the
    /// body of its request is read.
    async fn call(self: Arc<Self>, request: Request<Body>) -> Response {
        static CALLS: AtomicU64 = AtomicU64::new(1);

        let is_known = request.extensions().get::<Client>().is_some_and(Client::is_known);
        if self.settings.clients_only && !is_known {
            let why = "a client certificate is required that was issued by the CA of --client-ca";
            return Refusal::new(StatusCode::UNAUTHORIZED, why).into_response();
        }
        let id = CALLS.fetch_add(1, Ordering::Relaxed);
        let path = request.uri().path();
        let call = Call::of(path);
        // Of the scheduler's requests, which come one for each pod, nothing is logged but details.
        let span = match call {
            Some(Call::Review(_)) | None => tracing::info_span!("call", id, path),
            Some(_) => tracing::debug_span!("call", id, path),
        };
        let app = self.clone();
        let mut answer = app.answer_call(call, request).instrument(span).await;
        if self.is_draining() {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    async fn answer_call(self: Arc<Self>, call: Option<Call>, request: Request<Body>) -> Response {
        let Some(call) = call else { return StatusCode::NOT_FOUND.into_response() };
        if request.method() != Method::POST {
            return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")]).into_response();
        }
        match call {
            Call::Filter => self.answer_filter(request).await,
            Call::Prioritize => self.answer_prioritize(request).await,
            Call::Preempt => self.answer_preempt(request).await,
            // In a box of its own, since else all calls would be as large as this one.
            Call::Review(webhook) => Box::pin(self.review(webhook, request)).await,
        }
    }
}
