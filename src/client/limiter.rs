//! How many journaled submissions are written at once, and how long the others wait.
//!
//! Promise: half of the pool stays free of new submissions: for ending those that are under way, and for whoever shares
//! the pool. A submission that would wait longer than the pool's own time limit is told at once when to come again;
//! nothing of it is written.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use crate::store::Store;

/// The shortest and the longest time after which to come again, as for queues that are full.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Admits submissions to Postgres.
pub(super) struct Limiter {
    permits: Semaphore,
    n_permits: u32,
    n_waiting: AtomicU32,
    /// How long a submission held its permit lately, a moving average in microseconds.
    held_us: AtomicU64,
    /// How long a submission waits for its permit at most.
    max_wait: Duration,
}

/// The right to write, until it is dropped.
pub(super) struct Permit<'l> {
    limiter: &'l Limiter,
    since: Instant,
    _permit: SemaphorePermit<'l>,
}

/// One that waits; counted until it is dropped.
struct Waiting<'l>(&'l AtomicU32);

impl Limiter {
    /// For submissions over this pool.
    pub(super) fn new(store: &Store) -> Self {
        let (max_connections, max_wait) = store.limits();
        Self::of((max_connections / 2).max(1), max_wait)
    }

    fn of(n_permits: u32, max_wait: Duration) -> Self {
        let permits = Semaphore::new(n_permits as usize);
        Self { permits, n_permits, n_waiting: AtomicU32::new(0), held_us: AtomicU64::new(0), max_wait }
    }

    /// Waits for a permit, in the order of arrival.
    ///
    /// # Errors
    /// When to come again.
    pub(super) async fn admit(&self) -> Result<Permit<'_>, Duration> {
        if let Ok(permit) = self.permits.try_acquire() {
            return Ok(self.permit(permit));
        }
        let (_waiting, n_ahead) = Waiting::among(&self.n_waiting);
        let wait = self.wait_behind(n_ahead);
        if wait > self.max_wait {
            return Err(retry_after(wait - self.max_wait));
        }
        match tokio::time::timeout(self.max_wait, self.permits.acquire()).await {
            Ok(permit) => Ok(self.permit(permit.expect("nobody closes it"))),
            Err(_) => Err(retry_after(self.wait_behind(self.n_waiting.load(Ordering::Relaxed)))),
        }
    }

    fn permit<'l>(&'l self, permit: SemaphorePermit<'l>) -> Permit<'l> {
        Permit { limiter: self, since: Instant::now(), _permit: permit }
    }

    /// An eighth of the newest; of two that end at the same moment one may be lost, which does no harm.
    fn note(&self, held: Duration) {
        let held_us = u64::try_from(held.as_micros()).unwrap_or(u64::MAX).max(1);
        let average = self.held_us.load(Ordering::Relaxed);
        let next = if average == 0 { held_us } else { average - average / 8 + held_us / 8 };
        self.held_us.store(next, Ordering::Relaxed);
    }

    /// How long the wait behind so many others is, by the time that each took lately.
    fn wait_behind(&self, n_ahead: u32) -> Duration {
        Duration::from_micros(self.held_us.load(Ordering::Relaxed)).saturating_mul(n_ahead + 1) / self.n_permits
    }
}

fn retry_after(wait: Duration) -> Duration {
    wait.clamp(RETRY_AFTER.0, RETRY_AFTER.1)
}

impl<'l> Waiting<'l> {
    /// One more, and how many wait already.
    fn among(n_waiting: &'l AtomicU32) -> (Self, u32) {
        (Self(n_waiting), n_waiting.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.limiter.note(self.since.elapsed());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn who_would_wait_too_long_is_told_at_once_when_to_come_again() {
        let limiter = Limiter::of(2, SECOND * 3);
        limiter.note(SECOND * 2);
        let _both = (limiter.admit().await.ok().unwrap(), limiter.admit().await.ok().unwrap());
        limiter.n_waiting.store(2, Ordering::Relaxed);
        assert_eq!(limiter.wait_behind(2), SECOND * 3, "one second each, two at once: in time");
        limiter.n_waiting.store(3, Ordering::Relaxed);
        assert_eq!(limiter.admit().await.err(), Some(SECOND));
        limiter.n_waiting.store(1_000, Ordering::Relaxed);
        assert_eq!(limiter.admit().await.err(), Some(RETRY_AFTER.1), "asked again within half a minute");
        assert_eq!(limiter.n_waiting.load(Ordering::Relaxed), 1_000, "who was refused does not wait");
    }

    #[tokio::test]
    async fn who_waits_in_vain_is_told_when_its_time_is_over() {
        let limiter = Limiter::of(1, Duration::ZERO);
        let held = limiter.admit().await.ok().unwrap();
        assert_eq!(limiter.admit().await.err(), Some(RETRY_AFTER.0), "nothing is known of how long it takes");
        drop(held);
        assert!(limiter.admit().await.is_ok());
    }

    #[tokio::test]
    async fn who_finds_a_permit_free_never_waits_however_long_the_last_took() {
        let limiter = Limiter::of(1, SECOND);
        limiter.note(SECOND * 60);
        assert!(limiter.admit().await.is_ok());
    }

    #[test]
    fn what_is_believed_follows_what_is_seen() {
        let limiter = Limiter::of(1, SECOND);
        limiter.note(SECOND * 8);
        assert_eq!(limiter.wait_behind(0), SECOND * 8);
        limiter.note(SECOND * 16);
        assert_eq!(limiter.wait_behind(0), SECOND * 9);
    }
}
