//! Bodies of requests and of their answers. Each has a limit and a timeout, and all requests in
//! flight share one memory budget.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use simdutf8::compat::from_utf8;

use crate::k8s::replies::{Progress, Reply};
use crate::threads::LARGE_JSON;

use super::buffers;
use super::reply::{Refusal, json};

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The most room that is made for a body before it arrives, so that a promise alone holds no memory.
const MAX_PROMISED: usize = 64 << 10;
/// A longer body gets room for its whole Content-Length once one part in this many has arrived, so that
/// it need not be copied as it grows. Room that nothing was written to takes no memory.
const BELIEVED_AFTER: usize = 16;
/// A reply is sent in pieces of at most this many bytes, unless an item is very large.
const PIECE_SIZE: usize = 256 << 10;
/// How much of a piece is left for its last item, such as a Node, so that the piece need not grow.
const LAST_ITEM: usize = 32 << 10;

/// The memory budget of all requests in flight.
#[derive(Clone)]
pub struct Bodies {
    /// The number of free bytes.
    room: Arc<AtomicUsize>,
}

/// A request's body, and the memory that is reserved until its answer is written.
pub(super) struct RequestBody {
    text: Kept,
    room: Room,
}

/// A text whose buffer is used again.
#[derive(Default)]
struct Kept(String);

impl Drop for Kept {
    fn drop(&mut self) {
        buffers::give_back(std::mem::take(&mut self.0).into_bytes());
    }
}

/// Reserved memory, which is released on drop.
struct Room {
    bodies: Bodies,
    taken: usize,
}

impl Room {
    /// Reserves what is missing to this many bytes.
    fn reserve_up_to(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.reserve(bytes.saturating_sub(self.taken))
    }

    fn reserve(&mut self, bytes: usize) -> Result<(), Refusal> {
        let left = |free: usize| free.checked_sub(bytes);
        if self.bodies.room.fetch_update(Relaxed, Relaxed, left).is_err() {
            return Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the requests in flight would take more than --max-body-memory; try again",
            ));
        }
        self.taken += bytes;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.bodies.room.fetch_add(self.taken, Relaxed);
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
        Self { room: Arc::new(AtomicUsize::new(bytes)) }
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
        let whole = String::from_utf8(buffers::take()).unwrap_or_default();
        let mut text = Text { whole, cut: Vec::new() };
        text.whole.reserve_exact(promised.unwrap_or_default().min(MAX_PROMISED));
        let mut room = Room { bodies: self.clone(), taken: 0 };
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Refusal::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            let needed = text.length() + data.len();
            if needed > max {
                return Err(too_large());
            }
            room.reserve_up_to(match cost {
                Cost::Bytes => needed,
                Cost::Twice => 2 * needed,
            })?;
            let capacity = text.whole.capacity();
            if needed > capacity {
                let whole = promised.unwrap_or(max);
                let believed = promised.is_some() && needed >= whole / BELIEVED_AFTER;
                let wanted = if believed { whole } else { (2 * capacity).min(whole) };
                text.whole.reserve_exact(wanted.max(needed) - text.whole.len());
            }
            text.push(&data)?;
        }
        let text = Kept(text.finish()?);
        Ok(RequestBody { text, room })
    }
}

/// A text that arrives in pieces. Each is checked while it is still in the processor's cache.
#[derive(Default)]
struct Text {
    whole: String,
    /// The beginning of a character whose other bytes are still to come.
    cut: Vec<u8>,
}

impl Text {
    /// The number of bytes so far.
    fn length(&self) -> usize {
        self.whole.len() + self.cut.len()
    }

    fn push(&mut self, mut piece: &[u8]) -> Result<(), Refusal> {
        while !self.cut.is_empty()
            && let Some((byte, rest)) = piece.split_first()
        {
            self.cut.push(*byte);
            piece = rest;
            let character = std::mem::take(&mut self.cut);
            self.check(&character)?;
        }
        self.check(piece)
    }

    /// Adds what is whole of these bytes, and keeps the beginning of a character at their end.
    fn check(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let whole = match from_utf8(bytes) {
            Ok(whole) => whole,
            Err(error) if error.error_len().is_some() => return Err(not_utf8()),
            Err(error) => {
                let (whole, cut) = bytes.split_at(error.valid_up_to());
                self.cut.extend_from_slice(cut);
                from_utf8(whole).map_err(|_| not_utf8())?
            }
        };
        self.whole.push_str(whole);
        Ok(())
    }

    fn finish(self) -> Result<String, Refusal> {
        if self.cut.is_empty() { Ok(self.whole) } else { Err(not_utf8()) }
    }
}

fn not_utf8() -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "the body is not UTF-8")
}

impl RequestBody {
    /// The body.
    pub fn text(&self) -> &str {
        &self.text.0
    }

    /// Returns whether processing the body could hold up other connections.
    pub fn is_large(&self) -> bool {
        self.text.0.len() >= LARGE_JSON
    }

    /// Reserves memory for what is kept beside the body.
    pub fn charge(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.room.reserve(bytes)
    }

    /// Frees the body but keeps the reservation, which covers what was read from it.
    pub fn free(&mut self) {
        self.text = Kept::default();
    }

    /// The answer. It keeps the reservation until the client has read it.
    pub fn answer(self, bytes: Vec<u8>) -> Response {
        json(Body::from(Bytes::from_owner(Whole { bytes, _room: self.room })))
    }

    /// An answer that is written from the request's body. If it is larger than a piece, each
    /// further piece is written only when the client has read the one before.
    pub fn reply(self, reply: Reply) -> Response {
        let length = reply.length(self.text());
        if length <= PIECE_SIZE {
            let mut whole = buffers::take();
            whole.reserve_exact(length);
            reply.write(self.text(), &mut Progress::default(), &mut whole, length);
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

impl Drop for Whole {
    fn drop(&mut self) {
        buffers::give_back(std::mem::take(&mut self.bytes));
    }
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
        let mut piece = Vec::with_capacity(PIECE_SIZE);
        let enough = PIECE_SIZE - LAST_ITEM;
        this.reply.write(this.body.text(), &mut this.progress, &mut piece, enough);
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use crate::decide::filter::Verdict;
    use crate::k8s::extender::args;
    use crate::k8s::replies::filter_result;

    use super::*;

    fn joined(pieces: &[&[u8]]) -> Option<String> {
        let mut text = Text::default();
        for piece in pieces {
            text.push(piece).ok()?;
        }
        assert_eq!(text.length(), pieces.concat().len());
        text.finish().ok()
    }

    #[test]
    fn a_text_may_be_cut_anywhere_and_must_be_utf_8() {
        let whole = "a é € 🦀 \u{0}z".as_bytes();
        for first in 0..=whole.len() {
            for second in first..=whole.len() {
                let pieces = [&whole[..first], &whole[first..second], &[], &whole[second..]];
                assert_eq!(joined(&pieces).unwrap().as_bytes(), whole, "{first} {second}");
            }
        }
        let bytes: Vec<_> = whole.iter().map(std::slice::from_ref).collect();
        assert_eq!(joined(&bytes).unwrap().as_bytes(), whole);
        for wrong in [&b"\xff"[..], b"a\xc3", b"\xc3a", b"\xed\xa0\x80", b"\xf0\x9f\xa6"] {
            for at in 0..=wrong.len() {
                assert_eq!(joined(&[&wrong[..at], &wrong[at..]]), None, "{wrong:x?}");
            }
        }
        let mut text = Text::default();
        text.push(b"a\xf0\x9f").unwrap();
        assert!(text.push(b"a").is_err(), "what can't become a character is refused at once");
    }

    /// A body that promises its length, and notes how much memory is free when each piece is read.
    struct Promised {
        pieces: Vec<usize>,
        length: u64,
        bodies: Bodies,
        free: Arc<Mutex<Vec<usize>>>,
    }

    impl HttpBody for Promised {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let free = self.bodies.room.load(Relaxed);
            self.free.lock().unwrap().push(free);
            Poll::Ready(self.pieces.pop().map(|size| Ok(Frame::data(vec![b' '; size].into()))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.length)
        }
    }

    /// How much memory is taken before each piece of a body, and at its end.
    async fn taken(pieces: &[usize], cost: Cost) -> Vec<usize> {
        // A buffer that is used again has room already.
        while buffers::take().capacity() > 0 {}
        let bodies = Bodies::with_room(1 << 30);
        let free = Arc::default();
        let body = Promised {
            pieces: pieces.iter().rev().copied().collect(),
            length: pieces.iter().sum::<usize>() as u64,
            bodies: bodies.clone(),
            free: Arc::clone(&free),
        };
        let read = bodies.read(Request::new(Body::new(body)), 1 << 20, cost).await;
        assert_eq!(read.ok().unwrap().text().len(), pieces.iter().sum::<usize>());
        assert_eq!(bodies.room.load(Relaxed), 1 << 30, "all is given back");
        free.lock().unwrap().iter().map(|free| (1 << 30) - free).collect()
    }

    #[tokio::test]
    async fn a_body_is_paid_for_as_it_arrives_whatever_it_promises() {
        const KIB: usize = 1 << 10;
        let short = [1, 62, 1].map(|it| it * KIB);
        assert_eq!(taken(&short, Cost::Bytes).await, [0, 1, 63, 64].map(|it| it * KIB));
        let long = [1, 63, 1, 100].map(|it| it * KIB);
        assert_eq!(taken(&long, Cost::Bytes).await, [0, 1, 64, 65, 165].map(|it| it * KIB));
        assert_eq!(taken(&long, Cost::Twice).await, [0, 2, 128, 130, 330].map(|it| it * KIB));
    }

    #[tokio::test]
    async fn no_piece_of_a_reply_outgrows_its_buffer() {
        let annotation = "x".repeat(10_000);
        let node = |host| {
            // Behind a comma without a space, the next item is copied together with this one.
            let end = if host % 15 == 14 { ", " } else { "," };
            let metadata =
                format!(r#"{{"name":"host{host}","annotations":{{"a":"{annotation}"}}}}"#);
            format!(r#"{{"metadata":{metadata}}}{end}"#)
        };
        let nodes: String = (0..200).map(node).collect();
        let nodes = nodes.trim_end_matches(',');
        let text = format!(r#"{{"Pod":{{}},"NodeNames":null,"Nodes":{{"items":[{nodes}]}}}}"#);
        let bodies = Bodies::with_room(1 << 30);
        let reply = || {
            let candidates = args(&text).unwrap().candidates;
            filter_result(candidates, Verdict::all_kept(200))
        };
        let request = Request::new(Body::from(text.clone()));
        let body = bodies.read(request, 1 << 30, Cost::Bytes).await.ok().unwrap();
        let mut answer = body.reply(reply()).into_body();
        let mut whole = Vec::new();
        while let Some(frame) = answer.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE_SIZE, "{}", piece.len());
            whole.extend_from_slice(&piece);
        }
        assert!(whole == reply().to_vec(&text));
    }
}
