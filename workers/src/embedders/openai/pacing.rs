//! Time and chance for the retries, so that a test can put its own in their place.
//! Promise: [`Pacing::system`] is the real clock, the real timer and a fair random number.
//! Never decides anything: `retry` does.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;

/// Where the retries take the time, their pauses and their jitter from.
pub struct Pacing {
    /// A number in 0..1.
    pub random: Box<dyn Fn() -> f64 + Send + Sync>,
    /// The time of day, for `retry-after` dates.
    pub now: Box<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    /// Waits that long.
    pub wait: Box<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>,
}

impl Pacing {
    /// The real ones.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "a Retry-After date of an outside service is held against this clock")]
    pub fn system() -> Self {
        Self {
            random: Box::new(fastrand::f64),
            now: Box::new(Utc::now),
            wait: Box::new(|pause| tokio::time::sleep(pause).boxed()),
        }
    }
}

impl fmt::Debug for Pacing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pacing")
    }
}
