//! Answers, and refusals to answer.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use tokio::task::JoinError;

use crate::k8s::Malformed;

/// The longest reason of a refusal, in bytes.
const MAX_REASON: usize = 1024;
/// The reason while there is no snapshot.
pub(super) const NOT_SYNCED: &str = "not synced yet: the cluster's objects are still being read";

pub(super) fn json(body: impl IntoResponse) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body.into() + "\n")
        .into_response()
}

/// Why a request is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: StatusCode,
    why: String,
}

impl Refusal {
    /// Truncates a long reason, since it may quote the request.
    pub fn new(status: StatusCode, why: impl Into<String>) -> Self {
        let mut why = why.into();
        if why.len() > MAX_REASON {
            why.truncate(why.floor_char_boundary(MAX_REASON));
            why.push('…');
        }
        Self { status, why }
    }

    pub fn why(&self) -> &str {
        &self.why
    }

    pub fn not_synced() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, NOT_SYNCED)
    }
}

/// The body is malformed.
impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::new(StatusCode::BAD_REQUEST, malformed.to_string())
    }
}

impl From<JoinError> for Refusal {
    fn from(error: JoinError) -> Self {
        let why = format!("the request could not be processed: {error}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, why)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        text(self.status, self.why)
    }
}
