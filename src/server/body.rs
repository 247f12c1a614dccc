//! Bodies of requests and of their answers. Each has a limit and a timeout, and all requests in
//! flight share one memory budget.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::k8s::replies::{Progress, Reply};
use crate::threads::LARGE_JSON;

use super::reply::{Refusal, json};

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Never pre-allocate more than this, whatever Content-Length promises.
const MAX_PROMISED: usize = 1 << 20;
/// A reply is sent in pieces of about this many bytes.
const PIECE_SIZE: usize = 256 << 10;

/// The memory budget of all requests in flight.
#[derive(Clone)]
pub struct Bodies {
    /// One permit for each free byte.
    room: Arc<Semaphore>,
}

/// A request's body, and the memory that is reserved until its answer is written.
pub(super) struct RequestBody {
    text: String,
    room: Room,
}

/// Reserved memory, which is released on drop.
struct Room {
    bodies: Bodies,
    taken: Option<OwnedSemaphorePermit>,
}

impl Room {
    fn reserve(&mut self, bytes: usize) -> Result<(), Refusal> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(more) = self.bodies.room.clone().try_acquire_many_owned(bytes) else {
            return Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the requests in flight would take more than --max-body-memory; try again",
            ));
        };
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        Ok(())
    }
}

/// How much memory reading a request reserves.
#[derive(Clone, Copy)]
pub(super) enum Cost {
    /// The size of its body. [`RequestBody::charge`] reserves what is kept beside the body.
    Bytes,
    /// Twice the size of its body, since what is read from the body is kept beside it.
    Twice,
}

impl Bodies {
    /// A budget of this many bytes.
    #[must_use]
    pub fn with_room(bytes: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))) }
    }

    /// Reads a whole body of at most `max` bytes. Memory is reserved as bytes arrive, whatever
    /// Content-Length promises, so that a slow client can't hold memory that it does not use.
    pub(super) async fn read(
        &self,
        request: Request<Body>,
        max: usize,
        cost: Cost,
    ) -> Result<RequestBody, Refusal> {
        match tokio::time::timeout(BODY_TIMEOUT, self.read_all(request, max, cost)).await {
            Ok(read) => read,
            Err(_) => Err(Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("the body was not complete within {} s", BODY_TIMEOUT.as_secs()),
            )),
        }
    }

    async fn read_all(
        &self,
        request: Request<Body>,
        max: usize,
        cost: Cost,
    ) -> Result<RequestBody, Refusal> {
        let too_large = || {
            let why = format!("the body is larger than {max} bytes");
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why)
        };
        let mut body = request.into_body();
        let promised =
            body.size_hint().exact().map(|length| usize::try_from(length).unwrap_or(max + 1));
        if promised.is_some_and(|promised| promised > max) {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(promised.unwrap_or_default().min(MAX_PROMISED));
        let mut room = Room { bodies: self.clone(), taken: None };
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Refusal::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            let needed = bytes.len() + data.len();
            if needed > max {
                return Err(too_large());
            }
            room.reserve(match cost {
                Cost::Bytes => data.len(),
                Cost::Twice => 2 * data.len(),
            })?;
            if needed > bytes.capacity() {
                // A vector doubles by itself, beyond the promised size and what was reserved.
                let more = match promised {
                    Some(promised) => (4 * bytes.capacity()).min(promised),
                    None => bytes.capacity() + bytes.capacity() / 4,
                };
                bytes.reserve_exact(more.max(needed) - bytes.len());
            }
            bytes.extend_from_slice(&data);
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the body is not UTF-8"))?;
        Ok(RequestBody { text, room })
    }
}

impl RequestBody {
    /// The body.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns whether processing the body could hold up other connections.
    pub fn is_large(&self) -> bool {
        self.text.len() >= LARGE_JSON
    }

    /// Reserves memory for what is kept beside the body.
    pub fn charge(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.room.reserve(bytes)
    }

    /// Frees the body but keeps the reservation, which covers what was read from it.
    pub fn free(&mut self) {
        self.text = String::new();
    }

    /// The answer. It keeps the reservation until the client has read it.
    pub fn answer(self, bytes: Vec<u8>) -> Response {
        json(Body::from(Bytes::from_owner(Whole { bytes, _room: self.room })))
    }

    /// An answer that is written from the request's body. If it is larger than a piece, each
    /// further piece is written only when the client has read the one before.
    pub fn reply(self, reply: Reply) -> Response {
        let length = reply.length(&self.text);
        if length <= PIECE_SIZE {
            let mut whole = Vec::with_capacity(length);
            reply.write(&self.text, &mut Progress::default(), &mut whole, length);
            return self.answer(whole);
        }
        let left = length as u64;
        let pieces = Pieces { body: self, reply, progress: Progress::default(), left };
        let mut response = json(Body::new(pieces));
        // Old Go clients close the connection after an answer without a Content-Length.
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        response
    }
}

/// A complete answer, and the reservation of its request.
struct Whole {
    bytes: Vec<u8>,
    _room: Room,
}

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// An answer that is written while the client reads it.
struct Pieces {
    body: RequestBody,
    reply: Reply,
    progress: Progress,
    /// How many bytes are still to come.
    left: u64,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        let mut piece = Vec::with_capacity(PIECE_SIZE + 256);
        this.reply.write(&this.body.text, &mut this.progress, &mut piece, PIECE_SIZE);
        this.left = this.left.saturating_sub(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
