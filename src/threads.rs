//! Keeps long work off the threads that serve connections.

use tokio::task::JoinError;
use tracing::Span;

/// JSON of this many bytes takes a millisecond or more to read.
pub const LARGE_JSON: usize = 256 << 10;

/// Runs `work` at once, or, if it is large, off the threads that serve connections. In both cases
/// it runs in the current tracing span.
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
