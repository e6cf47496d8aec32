//! How long to wait before the next attempt. Pure: time and chance are parameters.

use std::time::Duration;

/// When and how often a kind is tried again: exponential growth with full jitter.
///
/// The wait before attempt n+1 is drawn evenly from `[min, min(cap, base * 2^(n-1))]`
/// ("full jitter", AWS Architecture Blog, "Exponential Backoff And Jitter", 2015), so that
/// jobs that failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many attempts a job gets in all; at least 1.
    pub max_attempts: u32,
    /// The upper bound of the first wait.
    pub base: Duration,
    /// The upper bound of every wait.
    pub cap: Duration,
}

/// No wait is shorter than this: an error that repeats at once would only burn its attempts.
pub const MIN_DELAY: Duration = Duration::from_millis(10);

impl RetryPolicy {
    /// Five attempts, half a second doubling up to five minutes.
    pub const DEFAULT: Self = Self { max_attempts: 5, base: Duration::from_millis(500), cap: Duration::from_secs(300) };

    /// One attempt.
    pub const NEVER: Self = Self { max_attempts: 1, ..Self::DEFAULT };

    /// The wait after failed attempt `attempt` (the first is 1), or none when the attempts are used up.
    ///
    /// `chance` is drawn evenly from `[0, 1)`; `max_attempts` of the job itself overrides the policy's;
    /// `at_least` is what a provider asked for and is honoured beyond `cap`.
    pub fn delay(
        &self,
        attempt: u32,
        job_max: Option<u32>,
        at_least: Option<Duration>,
        chance: f64,
    ) -> Option<Duration> {
        if attempt >= job_max.unwrap_or(self.max_attempts).max(1) {
            return None;
        }
        let doublings = attempt.saturating_sub(1).min(31);
        let bound = self.base.saturating_mul(1 << doublings).min(self.cap);
        let drawn = bound.mul_f64(chance.clamp(0.0, 1.0));
        Some(drawn.max(MIN_DELAY).max(at_least.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_delay_stays_between_the_floor_and_the_cap(attempt in 1_u32..200, chance in 0.0_f64..1.0) {
            let policy = RetryPolicy { max_attempts: 1000, ..RetryPolicy::DEFAULT };
            let delay = policy.delay(attempt, None, None, chance).expect("attempts are left");
            prop_assert!(delay >= MIN_DELAY && delay <= policy.cap);
        }

        #[test]
        fn a_retry_after_is_always_honoured(attempt in 1_u32..5, seconds in 0_u64..10_000) {
            let policy = RetryPolicy { max_attempts: 10, ..RetryPolicy::DEFAULT };
            let asked = Duration::from_secs(seconds);
            prop_assert!(policy.delay(attempt, None, Some(asked), 0.5).expect("attempts are left") >= asked);
        }
    }

    #[test]
    fn attempts_end_where_the_policy_or_the_job_says() {
        let policy = RetryPolicy::DEFAULT;
        assert!(policy.delay(4, None, None, 0.5).is_some());
        assert!(policy.delay(5, None, None, 0.5).is_none());
        assert!(policy.delay(1, Some(1), None, 0.5).is_none());
        assert!(policy.delay(5, Some(9), None, 0.5).is_some());
        assert!(RetryPolicy::NEVER.delay(1, None, None, 0.5).is_none());
    }

    #[test]
    fn the_bound_doubles() {
        let at = |attempt| {
            RetryPolicy::DEFAULT.delay(attempt, Some(9), None, 0.999_999).expect("attempts are left").as_millis()
        };
        assert!((499..=500).contains(&at(1)) && (999..=1000).contains(&at(2)) && (1999..=2000).contains(&at(3)));
    }
}
