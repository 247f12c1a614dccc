//! HTTP: extract, decide, encode. Everything that is decided is decided in `decide`.

pub mod admin;
mod admission;
mod body;
mod extender;
pub mod listen;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{Request, StatusCode, header};

use crate::k8s::extender::Rejections;
use crate::k8s::objects::Reader as ObjectReader;
use crate::metrics::Metrics;
use crate::present::Present;
use crate::publish::Reader;

use body::Held;

pub use body::Bodies;

/// How requests are answered.
#[derive(Clone, Debug)]
pub struct Options {
    /// How objects are read.
    pub objects: ObjectReader,
    /// Whether rejected hosts are always named.
    pub rejections: Rejections,
    /// The largest body of a scheduler's request, in bytes.
    pub max_filter_body: usize,
    /// The users who keep the records of `mgmt`.
    pub trusted_users: Vec<String>,
    /// Whether a VM that no host can run is refused, and not only warned about.
    pub deny_unschedulable: bool,
}

/// What every handler has.
pub struct App {
    options: Options,
    reader: Reader,
    /// The API server's present state, where there is an API server.
    present: Option<Present>,
    metrics: Arc<Metrics>,
    bodies: Bodies,
}

impl App {
    /// Everything that answers need.
    #[must_use]
    pub fn new(
        options: Options,
        reader: Reader,
        present: Option<Present>,
        metrics: Arc<Metrics>,
        bodies: Bodies,
    ) -> Self {
        Self { options, reader, present, metrics, bodies }
    }
}

/// The extender and the webhooks.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/scheduler/filter", post(extender::filter))
        .route("/scheduler/prioritize", post(extender::prioritize))
        .route("/scheduler/preempt", post(extender::preempt))
        .route("/validate", post(admission::validate))
        .route("/mutate", post(admission::mutate))
        .with_state(app)
}

/// An answer's body, or why there is none.
type Answer = Result<Vec<u8>, Refusal>;

impl App {
    /// Reads the body and decides, away from the other connections' work if there is much of it.
    /// The room that the body takes is given back when the answer is written.
    async fn decide(
        self: Arc<Self>,
        request: Request<Body>,
        most: usize,
        how: impl FnOnce(&Self, Result<&[u8], Refusal>) -> Answer + Send + 'static,
    ) -> Response {
        let held = self.bodies.read(request, most).await;
        respond(held, move |body| how(&self, body)).await
    }
}

/// Decides over a body that was read, or was not.
async fn respond(
    held: Result<Held, Refusal>,
    how: impl FnOnce(Result<&[u8], Refusal>) -> Answer + Send + 'static,
) -> Response {
    match held {
        Ok(held) => {
            held.away(move |held| match how(Ok(&held.bytes)) {
                Ok(answer) => json(held.answer(answer)),
                Err(refusal) => refusal.into_response(),
            })
            .await
        }
        Err(refusal) => match how(Err(refusal)) {
            Ok(answer) => json(answer),
            Err(refusal) => refusal.into_response(),
        },
    }
}

fn json(body: impl IntoResponse) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn text(status: StatusCode, body: impl Into<String>) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body.into() + "\n")
        .into_response()
}

/// How much is said of why a request is not answered, in bytes.
const MOST_SAID: usize = 1024;

/// Why a request is not answered.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    why: String,
}

impl Refusal {
    /// What is said is cut: it may quote what was sent.
    fn new(status: StatusCode, why: impl Into<String>) -> Self {
        let mut why = why.into();
        if why.len() > MOST_SAID {
            why.truncate(why.floor_char_boundary(MOST_SAID));
            why.push('…');
        }
        Self { status, why }
    }

    /// A body that is not what it should be.
    fn bad(why: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }

    fn not_synced() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, NOT_SYNCED)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        text(self.status, self.why)
    }
}

/// What there is to say while there is no snapshot.
const NOT_SYNCED: &str = "not synced yet: the cluster's objects are still being read";
