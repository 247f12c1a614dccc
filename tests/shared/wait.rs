//! Conditions that are awaited.

use std::time::Duration;

/// Waits until something holds, for at most this time, however long a single look at it takes.
pub async fn within<T>(time: Duration, what: &str, mut holds: impl AsyncFnMut() -> Option<T>) -> T {
    let held = tokio::time::timeout(time, async {
        loop {
            if let Some(it) = holds().await {
                return it;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    held.await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}
