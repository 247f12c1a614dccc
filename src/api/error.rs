//! Errors of requests to the API server, with a variant for each case that callers treat
//! differently.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

/// The most bytes of a message that are kept.
const MAX_MESSAGE: usize = 1024;

/// Why a request to the API server failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The API server has no such object, or serves no such kind.
    #[error("not found")]
    NotFound,
    /// The resource version, or a list's continue token, is too old: relist.
    #[error("the resource version is too old")]
    Gone,
    /// Another write came first, or the object exists already.
    #[error("conflict: {0}")]
    Conflict(String),
    /// We are not authorized, or not authenticated.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// The API server can't answer now.
    #[error("the API server is busy: {message}")]
    Busy {
        /// The API server's message.
        message: String,
        /// When to retry, if the API server says so.
        retry_after: Option<Duration>,
    },
    /// The API server does not accept the request.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// The connection failed or broke.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// No answer came in time.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The answer can't be read.
    #[error("unreadable answer: {0}")]
    Unreadable(String),
    /// Any other error of the API server.
    #[error("{message} ({code})")]
    Other {
        /// The HTTP status code.
        code: u16,
        /// The API server's message.
        message: String,
    },
}

/// The parts of Kubernetes' Status that we read.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    code: u16,
    message: String,
    details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: Option<u64>,
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let Status { code, mut message, details } = status;
        if message.len() > MAX_MESSAGE {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE));
            message.push('…');
        }
        let retry_after = details.and_then(|details| details.retry_after_seconds);
        match code {
            404 => Self::NotFound,
            410 => Self::Gone,
            409 => Self::Conflict(message),
            401 => {
                Self::Forbidden(format!("{message}: the credentials are missing or have expired"))
            }
            403 => Self::Forbidden(message),
            429 | 503 | 504 => {
                Self::Busy { message, retry_after: retry_after.map(Duration::from_secs) }
            }
            400 | 422 => Self::Invalid(message),
            code => Self::Other { code, message },
        }
    }
}

impl Error {
    /// The error in an answer whose status is not a success.
    pub(super) fn of_answer(code: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let mut status: Status = serde_json::from_slice(body).unwrap_or_default();
        status.code = code.as_u16();
        if status.message.is_empty() {
            code.canonical_reason().unwrap_or("no reason given").clone_into(&mut status.message);
        }
        let header = headers.get(header::RETRY_AFTER).and_then(|it| it.to_str().ok()?.parse().ok());
        let details = status.details.get_or_insert_default();
        details.retry_after_seconds = header.or(details.retry_after_seconds);
        status.into()
    }

    /// A failed or broken connection. The text joins the whole chain of sources, since the
    /// outermost error says only that something failed.
    pub(super) fn unreachable(error: &dyn std::error::Error) -> Self {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            let text = inner.to_string();
            if !why.contains(&text) {
                why = format!("{why}: {text}");
            }
            source = inner.source();
        }
        Self::Unreachable(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, retry_after: Option<&str>, body: &str) -> Error {
        let mut headers = HeaderMap::new();
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.parse().unwrap());
        }
        Error::of_answer(StatusCode::from_u16(code).unwrap(), &headers, body.as_bytes())
    }

    #[test]
    fn the_status_code_decides_the_variant() {
        let says = r#"{"kind":"Status","message":"says","code":1}"#;
        assert_eq!(answer(404, None, says), Error::NotFound);
        assert_eq!(answer(410, None, says), Error::Gone);
        assert_eq!(answer(409, None, says), Error::Conflict("says".into()));
        assert_eq!(answer(403, None, says), Error::Forbidden("says".into()));
        assert_eq!(
            answer(401, None, "odd").to_string(),
            "forbidden: Unauthorized: the credentials are missing or have expired"
        );
        assert_eq!(answer(422, None, says), Error::Invalid("says".into()));
        assert_eq!(answer(500, None, says).to_string(), "says (500)");
    }

    #[test]
    fn a_long_message_is_cut() {
        let says = |text: &str| answer(422, None, &format!(r#"{{"message":"{text}"}}"#));
        let longest = "x".repeat(MAX_MESSAGE);
        assert_eq!(says(&longest), Error::Invalid(longest.clone()));
        assert_eq!(says(&format!("{longest}x")), Error::Invalid(format!("{longest}…")));
        let cut = "é".repeat(MAX_MESSAGE / 2 - 1);
        assert_eq!(says(&format!("x{cut}éé")), Error::Invalid(format!("x{cut}…")));
    }

    #[test]
    fn a_busy_server_says_when_to_retry() {
        let delay = |error| match error {
            Error::Busy { retry_after, .. } => retry_after.map(|delay| delay.as_secs()),
            other => panic!("{other}"),
        };
        let body = r#"{"message":"later","details":{"retryAfterSeconds":7}}"#;
        assert_eq!(delay(answer(429, None, body)), Some(7));
        assert_eq!(delay(answer(503, Some("3"), body)), Some(3), "the header counts");
        assert_eq!(delay(answer(504, Some("soon"), "")), None);
    }
}
