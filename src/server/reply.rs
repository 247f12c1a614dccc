//! Answers, and why there is none.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use tokio::task::JoinError;

use crate::k8s::Malformed;

/// How much is said of why a request is not answered, in bytes.
const MAX_SAID: usize = 1024;
/// What there is to say while there is no snapshot.
pub(super) const NOT_SYNCED: &str = "not synced yet: the cluster's objects are still being read";

pub(super) fn json(body: impl IntoResponse) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body.into() + "\n")
        .into_response()
}

/// Why a request is not answered.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: StatusCode,
    why: String,
}

impl Refusal {
    /// What is said is cut: it may quote what was sent.
    pub fn new(status: StatusCode, why: impl Into<String>) -> Self {
        let mut why = why.into();
        if why.len() > MAX_SAID {
            why.truncate(why.floor_char_boundary(MAX_SAID));
            why.push('…');
        }
        Self { status, why }
    }

    pub fn not_synced() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, NOT_SYNCED)
    }
}

/// A body that is not what it should be.
impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::new(StatusCode::BAD_REQUEST, malformed.to_string())
    }
}

impl From<JoinError> for Refusal {
    fn from(error: JoinError) -> Self {
        let why = format!("the work was broken off: {error}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, why)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        text(self.status, self.why)
    }
}
