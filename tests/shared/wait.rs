//! Conditions that are awaited.

use std::time::{Duration, Instant};

/// Waits until something holds, for at most this time.
pub async fn within<T>(time: Duration, what: &str, mut holds: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(it) = holds().await {
            return it;
        }
        assert!(started.elapsed() < time, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
