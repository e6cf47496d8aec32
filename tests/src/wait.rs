//! Waiting for what has to happen.
//!
//! Promise: what takes ten times as long as the same step took before, in this run and on this machine, has failed; what
//! is only slow because the machine is has not.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

/// How long a step may take, by how long it took earlier in this run.
pub struct Pace {
    floor: Duration,
    slowest_ms: AtomicU64,
}

/// How much longer than before a step may take.
const TIMES: u32 = 10;

/// Making what a test has for itself: both servers are asked for much of what tests ask them.
pub(crate) static SETUP: Pace = Pace::new(Duration::from_secs(60));

/// Running a command of the binary to its end.
pub(crate) static COMMAND: Pace = Pace::new(Duration::from_secs(60));

impl Pace {
    /// A step that has never been taken may take so long, and no later one has to be faster.
    pub const fn new(floor: Duration) -> Self {
        Self { floor, slowest_ms: AtomicU64::new(0) }
    }

    /// The longest that the step may take now.
    pub fn limit(&self) -> Duration {
        self.floor.max(Duration::from_millis(self.slowest_ms.load(Ordering::Relaxed)) * TIMES)
    }

    /// Takes the step, and remembers how long it took.
    ///
    /// # Errors
    /// The limit, when it is reached.
    pub async fn time<T>(&self, step: impl Future<Output = T>) -> Result<T, Duration> {
        let (begun, limit) = (Instant::now(), self.limit());
        let ended = timeout(limit, step).await.map_err(|_| limit)?;
        self.note(begun.elapsed());
        Ok(ended)
    }

    fn note(&self, took: Duration) {
        self.slowest_ms.fetch_max(u64::try_from(took.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

/// The longest that anything is waited for which comes by itself: a completion, a stop, a line of a log.
pub fn patience() -> Duration {
    SETUP.limit()
}

/// Asks until the answer is some; panics when it is still none after [`patience`].
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begun.elapsed() < patience(), "waited {:?} for: {what}", begun.elapsed());
        sleep(Duration::from_millis(10)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_may_take_ten_times_as_long_as_it_took_and_never_less_than_its_floor() {
        let pace = Pace::new(Duration::from_secs(5));
        pace.note(Duration::from_millis(400));
        assert_eq!(pace.limit(), Duration::from_secs(5));
        pace.note(Duration::from_secs(2));
        pace.note(Duration::from_secs(1));
        assert_eq!(pace.limit(), Duration::from_secs(20));
    }
}
