//! HTTP: extract, decide, encode. Everything that is decided is decided in `decide`.

pub mod admin;
mod admission;
mod body;
mod extender;
pub mod listen;

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{StatusCode, header};

use crate::k8s::extender::Rejections;
use crate::k8s::objects::Reader as ObjectReader;
use crate::metrics::Metrics;
use crate::publish::Reader;

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
}

/// What every handler has.
pub struct App {
    options: Options,
    reader: Reader,
    metrics: Arc<Metrics>,
    bodies: Bodies,
}

impl App {
    /// Everything that answers need.
    #[must_use]
    pub fn new(options: Options, reader: Reader, metrics: Arc<Metrics>, bodies: Bodies) -> Self {
        Self { options, reader, metrics, bodies }
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

fn json(body: impl IntoResponse) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn text(status: StatusCode, body: impl Into<String>) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body.into() + "\n")
        .into_response()
}

/// Why a request is not answered.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    why: String,
}

impl Refusal {
    fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
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
