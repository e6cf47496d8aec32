//! The server's clock, kept at hand: due times, leases and timings use it, not this machine's.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// Dragonfly's clock as last heard, carried on by this machine's.
#[derive(Debug, Default)]
pub struct ServerClock {
    ahead_ms: AtomicI64,
}

impl ServerClock {
    /// This machine's clock until the server is heard.
    pub fn new() -> Self {
        Self::default()
    }

    /// The server said what time it is.
    pub fn heard(&self, server_ms: u64) {
        self.ahead_ms.store(signed(server_ms) - signed(local_ms()), Ordering::Relaxed);
    }

    /// The server's time, milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(signed(local_ms()) + self.ahead_ms.load(Ordering::Relaxed)).unwrap_or_default()
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[allow(clippy::disallowed_methods, reason = "the one place that reads this machine's clock")]
fn local_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_time_wins_over_this_machines() {
        let clock = ServerClock::new();
        clock.heard(1_000_000);
        assert!((1_000_000..1_010_000).contains(&clock.now_ms()));
    }
}
