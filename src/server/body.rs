//! Request bodies: each bounded, all in flight bounded together, and none waited for without end.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::text;

/// How long a body may take to come in.
const PATIENCE: Duration = Duration::from_secs(30);
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
    _room: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    /// Room for this many bytes.
    #[must_use]
    pub fn with_room(bytes: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))) }
    }

    /// Reads a whole body of at most `most` bytes. Room is taken as bytes come in, not as they are
    /// promised, so that no slow client can keep it from others for nothing.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub async fn read(&self, request: Request<Body>, most: usize) -> Result<Held, Response> {
        match tokio::time::timeout(PATIENCE, self.read_all(request, most)).await {
            Ok(read) => read,
            Err(_) => Err(text(
                StatusCode::REQUEST_TIMEOUT,
                format!("the body was not complete within {} s", PATIENCE.as_secs()),
            )),
        }
    }

    async fn read_all(&self, request: Request<Body>, most: usize) -> Result<Held, Response> {
        let too_large =
            || text(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {most} bytes"));
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
                text(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > most {
                return Err(too_large());
            }
            let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
            let Ok(more) = self.room.clone().try_acquire_many_owned(size) else {
                return Err(text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "too many bytes of other requests are in flight; try again",
                ));
            };
            match &mut held {
                Some(held) => held.merge(more),
                None => held = Some(more),
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Held { bytes, _room: held })
    }
}
