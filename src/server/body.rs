//! Request bodies: each bounded, all in flight bounded together, and none waited for without end.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Refusal;

/// How long a body may take to come in.
const PATIENCE: Duration = Duration::from_secs(30);
/// A body of this many bytes takes a millisecond or more to work on.
const LARGE: usize = 256 << 10;
/// A buffer is made this large at most before its bytes are there.
const MOST_AHEAD: usize = 1 << 20;

/// The room for all bodies in flight.
#[derive(Clone)]
pub struct Bodies {
    room: Arc<Semaphore>,
}

/// A body, and the room that it takes until it is dropped.
pub struct Held {
    /// The body.
    pub bytes: Vec<u8>,
    room: Option<OwnedSemaphorePermit>,
}

/// An answer, and the room that its request took, until it is written.
struct Answer {
    bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Held {
    /// The body's answer, in its room: one that nobody reads holds it.
    pub fn answer(self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Answer { bytes, _room: self.room })
    }

    /// Works on the body here and now, or if it is large, away from the threads that serve
    /// connections.
    pub async fn away(self, work: impl FnOnce(Self) -> Response + Send + 'static) -> Response {
        if self.bytes.len() < LARGE {
            return work(self);
        }
        tokio::task::spawn_blocking(move || work(self)).await.unwrap_or_else(|error| {
            let why = format!("the work was broken off: {error}");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, why).into_response()
        })
    }
}

impl Bodies {
    /// Room for this many bytes.
    #[must_use]
    pub fn with_room(bytes: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))) }
    }

    /// Reads a whole body of at most `most` bytes. Room is taken as bytes come in, not as they are
    /// promised, so that no slow client can keep it from others for nothing.
    pub(super) async fn read(&self, request: Request<Body>, most: usize) -> Result<Held, Refusal> {
        match tokio::time::timeout(PATIENCE, self.read_all(request, most)).await {
            Ok(read) => read,
            Err(_) => Err(Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("the body was not complete within {} s", PATIENCE.as_secs()),
            )),
        }
    }

    async fn read_all(&self, request: Request<Body>, most: usize) -> Result<Held, Refusal> {
        let too_large = || {
            Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is larger than {most} bytes"),
            )
        };
        let promised = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok())
            .unwrap_or(0_usize);
        if promised > most {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(promised.min(MOST_AHEAD));
        let mut held: Option<OwnedSemaphorePermit> = None;
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Refusal::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > most {
                return Err(too_large());
            }
            let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
            let Ok(more) = self.room.clone().try_acquire_many_owned(size) else {
                return Err(Refusal::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the bodies in flight would take more than --max-body-memory; try again",
                ));
            };
            match &mut held {
                Some(held) => held.merge(more),
                None => held = Some(more),
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Held { bytes, room: held })
    }
}
