//! Work that must not hold up the threads that serve connections.

use tokio::task::JoinError;
use tracing::Span;

/// Does some work here and now, or, where there may be much of it, off the threads that serve
/// connections, in the span that it was asked in.
///
/// # Errors
/// If the work panicked, or the process is about to end.
pub async fn off_thread<T: Send + 'static>(
    is_large: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    if !is_large {
        return Ok(work());
    }
    let span = Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work)).await
}
