//! Why the page's API does not answer, as JSON.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;
use tokio::task::JoinError;

use crate::server::reply::Refusal;
use crate::view::WriteError;

/// Why a request is refused.
#[derive(Debug)]
pub(super) struct Refused(Refusal);

impl Refused {
    pub fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self(Refusal::new(status, why))
    }

    pub fn not_found(what: &str, name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no {what} {name}"))
    }

    pub fn bad(why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }
}

impl From<JoinError> for Refused {
    fn from(error: JoinError) -> Self {
        Self(error.into())
    }
}

/// The answer can't be written.
impl From<serde_json::Error> for Refused {
    fn from(error: serde_json::Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, WriteError::from(error).to_string())
    }
}

impl From<WriteError> for Refused {
    fn from(error: WriteError) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(refusal) = self;
        (refusal.status, Json(json!({ "error": refusal.why() }))).into_response()
    }
}
