//! Bodies, of requests and of their answers: each bounded, all in flight bounded together by what
//! they cost, and none waited for without end.

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

use super::reply::{Refusal, json};

/// How long a body may take to come in.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// A body of this many bytes takes a millisecond or more to work on.
const LARGE: usize = 256 << 10;
/// Never pre-allocate more than this, whatever Content-Length promises.
const MAX_PROMISED: usize = 1 << 20;
/// A reply is written in pieces of about this many bytes.
const PIECE: usize = 256 << 10;

/// The room for what all requests in flight cost, in bytes.
#[derive(Clone)]
pub struct Bodies {
    room: Arc<Semaphore>,
}

/// A body, and the room that its request takes until its answer is written.
pub(super) struct Held {
    body: String,
    room: Room,
}

/// Room that is given back when this is dropped.
struct Room {
    bodies: Bodies,
    taken: Option<OwnedSemaphorePermit>,
}

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), Refusal> {
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

/// How much a request may cost, compared with its body.
#[derive(Clone, Copy)]
pub(super) enum Cost {
    /// Its bytes; what is kept beside them is told by [`Held::charge`].
    Bytes,
    /// Twice its bytes, since what is read from it is kept beside it.
    Twice,
}

impl Bodies {
    /// Room for this many bytes.
    #[must_use]
    pub fn with_room(bytes: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))) }
    }

    /// Reads a whole body of at most `max` bytes. Room is taken as bytes come in, not as they are
    /// promised, so that no slow client can keep it from others for nothing.
    pub(super) async fn read(
        &self,
        request: Request<Body>,
        max: usize,
        cost: Cost,
    ) -> Result<Held, Refusal> {
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
    ) -> Result<Held, Refusal> {
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
            room.take(match cost {
                Cost::Bytes => data.len(),
                Cost::Twice => 2 * data.len(),
            })?;
            if needed > bytes.capacity() {
                // A vector would double, beyond what was promised and without our knowing.
                let more = match promised {
                    Some(promised) => (2 * bytes.capacity()).min(promised),
                    None => bytes.capacity() + bytes.capacity() / 4,
                };
                bytes.reserve_exact(more.max(needed) - bytes.len());
            }
            bytes.extend_from_slice(&data);
        }
        let body = String::from_utf8(bytes)
            .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the body is no UTF-8"))?;
        Ok(Held { body, room })
    }
}

impl Held {
    /// The body.
    pub fn text(&self) -> &str {
        &self.body
    }

    /// Returns whether working on the body takes long enough to hold up other connections.
    pub fn is_large(&self) -> bool {
        self.body.len() >= LARGE
    }

    /// Takes room for what is kept beside the body.
    pub fn charge(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.room.take(bytes)
    }

    /// Forgets the body, of which nothing is needed any more, but keeps its room.
    pub fn forget(&mut self) {
        self.body = String::new();
    }

    /// The answer, in the request's room: one that nobody reads holds it.
    pub fn answer(self, bytes: Vec<u8>) -> Response {
        json(Body::from(Bytes::from_owner(Whole { bytes, _room: self.room })))
    }

    /// The answer that is written from the request's own bytes. What is larger than a piece is
    /// written piece by piece, as the client takes it.
    pub fn reply(self, reply: Reply) -> Response {
        let mut first = Vec::with_capacity(self.body.len().min(PIECE) + 256);
        let mut progress = Progress::default();
        if reply.write(&self.body, &mut progress, &mut first, PIECE) {
            return self.answer(first);
        }
        let mut length = first.len();
        let (mut ahead, mut piece) = (progress, Vec::with_capacity(PIECE));
        loop {
            piece.clear();
            let is_last = reply.write(&self.body, &mut ahead, &mut piece, PIECE);
            length += piece.len();
            if is_last {
                break;
            }
        }
        let left = length as u64;
        let pieces = Pieces { held: self, reply, progress, first: Some(first), left };
        let mut response = json(Body::new(pieces));
        // An older Go client drops a connection after an answer without a length.
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        response
    }
}

/// An answer that is there, and the room of its request.
struct Whole {
    bytes: Vec<u8>,
    _room: Room,
}

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// An answer that is written as it is taken.
struct Pieces {
    held: Held,
    reply: Reply,
    progress: Progress,
    /// The piece that was written first, to see whether there are more.
    first: Option<Vec<u8>>,
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
        let piece = this.first.take().unwrap_or_else(|| {
            let mut piece = Vec::with_capacity(PIECE + 256);
            this.reply.write(&this.held.body, &mut this.progress, &mut piece, PIECE);
            piece
        });
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
