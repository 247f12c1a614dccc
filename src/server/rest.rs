//! The rest of a request's body, if the request was refused before the body was read.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::runtime::Handle;

/// How long the rest of a body is read at most.
const MAX_TIME: Duration = Duration::from_secs(30);
/// How many bytes of it are read at most.
const MAX_BYTES: usize = 256 << 20;

/// A body whose rest is read and thrown away if it is dropped before its end. Otherwise the connection
/// would be closed while the client is still sending, and the client would report that in place of our
/// answer, which says what is wrong.
pub(super) struct WithRest<B: Unread>(Option<B>);

/// A body that can be read to its end in a task of its own.
pub(super) trait Unread: Body<Data = Bytes> + Unpin + Send + 'static {}

impl<B: Body<Data = Bytes> + Unpin + Send + 'static> Unread for B {}

impl<B: Unread> WithRest<B> {
    pub fn of(body: B) -> Self {
        Self(Some(body))
    }
}

impl<B: Unread> Body for WithRest<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), B::size_hint)
    }
}

impl<B: Unread> Drop for WithRest<B> {
    fn drop(&mut self) {
        if let Some(body) = self.0.take()
            && !body.is_end_stream()
            // There is none while the process ends.
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(tokio::time::timeout(MAX_TIME, throw_away(body)));
        }
    }
}

async fn throw_away(mut body: impl Unread) {
    let mut left = MAX_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(less) = left.checked_sub(length) else { return };
        left = less;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::stream;
    use http_body_util::StreamBody;

    use super::*;

    const PIECE: usize = 1 << 20;
    static ZEROS: [u8; PIECE] = [0; PIECE];

    /// How many pieces are read of a body that is dropped, once nothing holds it any more. It has this
    /// many, and then never ends.
    async fn read_of(pieces: usize) -> usize {
        let read = Arc::new(AtomicUsize::new(0));
        let (counter, mut left) = (Arc::clone(&read), pieces);
        let frames = stream::poll_fn(move |_| {
            if left == 0 {
                return Poll::Pending;
            }
            left -= 1;
            counter.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(Some(Ok::<_, Infallible>(Frame::data(Bytes::from_static(&ZEROS)))))
        });
        drop(WithRest::of(StreamBody::new(frames)));
        while Arc::strong_count(&read) > 1 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        read.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_of_a_body_is_read_to_a_limit_of_bytes_and_of_time() {
        assert_eq!(read_of(3).await, 3);
        let most = MAX_BYTES / PIECE;
        assert_eq!(read_of(most).await, most);
        assert_eq!(read_of(most + 2).await, most + 1);
        let begun = tokio::time::Instant::now();
        read_of(0).await;
        assert!((MAX_TIME..=MAX_TIME + Duration::from_secs(2)).contains(&begun.elapsed()));
    }

    #[tokio::test]
    async fn a_body_that_was_read_has_no_rest() {
        let mut body = WithRest::of(axum::body::Body::from("abc"));
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        assert!(body.frame().await.is_none());
        assert!(body.0.is_none() && body.is_end_stream());
    }
}
