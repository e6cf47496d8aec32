//! Waiting for what has to happen.

use std::time::{Duration, Instant};

/// Asks until the answer is some; panics when it is still none after half a minute.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited half a minute for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
