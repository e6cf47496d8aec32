//! How much of a worker's work may be second tries: one budget for each queue. Pure: time is a parameter.
//!
//! Promise: an exhausted budget stretches waits and drops nothing. When many jobs fail together, their next attempts
//! come no faster than the floor, however short their policies' waits. Never spends a token for a first attempt.
//!
//! A token bucket: every success brings a share of a token, every second brings some; a retry takes one. When there is
//! none left, a retry takes it on credit and waits, besides its policy's wait, for as long as the floor needs to earn it.

use std::time::Duration;

/// How a budget is fed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryLimits {
    /// Retries earned by a success.
    pub ratio: f64,
    /// Retries earned each second, whatever succeeds; at least 1.
    pub per_second: u32,
}

impl Default for RetryLimits {
    /// One retry for five successes, and ten a second.
    fn default() -> Self {
        Self { ratio: 0.2, per_second: 10 }
    }
}

/// So many seconds of the floor can be saved up for a burst.
const SAVED_SECONDS: f64 = 10.0;

/// No wait is stretched by more: a job must not seem lost.
const LONGEST_STRETCH: Duration = Duration::from_secs(3600);

/// The budget of one queue on one worker.
#[derive(Clone, Copy, Debug)]
pub struct RetryBudget {
    limits: RetryLimits,
    /// Below zero: retries that are waiting for their tokens.
    tokens: f64,
    at_ms: u64,
}

impl RetryBudget {
    /// A full budget; `now_ms` is the time now, in ms.
    pub fn new(limits: RetryLimits, now_ms: u64) -> Self {
        let mut budget = Self { limits, tokens: 0.0, at_ms: now_ms };
        budget.tokens = budget.capacity();
        budget
    }

    /// A job succeeded.
    pub fn succeeded(&mut self) {
        self.tokens = (self.tokens + self.limits.ratio).min(self.capacity());
    }

    /// Takes a token for a retry; gives by how much its wait is to be stretched.
    pub fn take(&mut self, now_ms: u64) -> Duration {
        self.earn(now_ms);
        self.tokens = (self.tokens - 1.0).max(-LONGEST_STRETCH.as_secs_f64() * self.floor());
        Duration::from_secs_f64((-self.tokens).max(0.0) / self.floor())
    }

    fn earn(&mut self, now_ms: u64) {
        let passed = Duration::from_millis(now_ms.saturating_sub(self.at_ms));
        self.at_ms = self.at_ms.max(now_ms);
        self.tokens = (self.tokens + passed.as_secs_f64() * self.floor()).min(self.capacity());
    }

    fn floor(&self) -> f64 {
        f64::from(self.limits.per_second.max(1))
    }

    fn capacity(&self) -> f64 {
        SAVED_SECONDS * self.floor()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: RetryLimits = RetryLimits { ratio: 0.2, per_second: 10 };

    #[test]
    fn the_first_retries_go_at_once_and_the_next_are_a_floor_apart() {
        let mut budget = RetryBudget::new(LIMITS, 0);
        assert!((0..100).all(|_| budget.take(0) == Duration::ZERO));
        assert_eq!(budget.take(0), Duration::from_millis(100));
        assert_eq!(budget.take(0), Duration::from_millis(200));
        assert_eq!(budget.take(200), Duration::from_millis(100));
    }

    #[test]
    fn five_successes_earn_a_retry() {
        let mut budget = RetryBudget::new(LIMITS, 0);
        for _ in 0..100 {
            budget.take(0);
        }
        (0..5).for_each(|_| budget.succeeded());
        assert!(budget.take(0) < Duration::from_millis(1));
        assert!(budget.take(0) >= Duration::from_millis(100));
    }

    #[test]
    fn no_wait_is_stretched_beyond_an_hour() {
        let mut budget = RetryBudget::new(RetryLimits { ratio: 0.0, per_second: 1 }, 0);
        assert!((0..10_000).all(|_| budget.take(0) <= LONGEST_STRETCH));
    }

    proptest! {
        #[test]
        fn no_second_sees_more_retries_than_were_saved_and_earned(per_second in 1_u32..50, gaps_ms in proptest::collection::vec(0_u64..200, 1..600)) {
            let mut budget = RetryBudget::new(RetryLimits { ratio: 0.2, per_second }, 0);
            let (mut now_ms, mut runs_ms) = (0, Vec::new());
            for gap_ms in gaps_ms {
                now_ms += gap_ms;
                runs_ms.push(now_ms + u64::try_from(budget.take(now_ms).as_millis()).expect("at most an hour"));
            }
            runs_ms.sort_unstable();
            let allowed = 11 * u64::from(per_second) + 1;
            for (place, begin) in runs_ms.iter().enumerate() {
                let within = runs_ms[place..].iter().take_while(|at| **at < begin + 1_000).count() as u64;
                prop_assert!(within <= allowed, "{within} retries in a second, {allowed} allowed");
            }
        }
    }
}
