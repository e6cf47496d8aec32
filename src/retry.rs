//! How long to wait before the next attempt, by what went wrong. Pure: time and chance are parameters.
//!
//! Promise: a wait is never shorter than [`MIN_DELAY`] or than what a provider asked for (Retry-After), and otherwise
//! never longer than its policy's cap; attempts end. Never knows what an error means: its class chooses the policy.

use std::time::Duration;

/// When and how often a kind is tried again.
///
/// Built from a constant: `RetryPolicy { max_attempts: 3, ..RetryPolicy::DEFAULT }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many attempts a job gets in all, whatever they failed of; at least 1.
    pub max_attempts: u32,
    /// No attempt begins later than this after the first one failed, by the server's clock; none: no such limit.
    ///
    /// It counts from the first failure, not from the job's acceptance: the time that a job was to wait (a delay, a
    /// backlog) is no fault of its own, and a job put back from the dead letters begins anew.
    pub max_age: Option<Duration>,
    /// The bound of the first wait; its unit of growth.
    pub base: Duration,
    /// How the bound grows from wait to wait.
    pub backoff: Backoff,
    /// How a wait is drawn under its bound.
    pub jitter: Jitter,
    /// The upper bound of every wait.
    pub cap: Duration,
}

/// How the bound of a wait grows with the attempts that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backoff {
    /// `base`, `base * factor`, `base * factor²`, …
    Exponential {
        /// What each bound is multiplied by.
        factor: u32,
    },
    /// `base`, `2 * base`, `3 * base`, …
    Linear,
    /// `base` every time.
    Fixed,
}

/// How a wait is drawn under its bound, so that jobs that failed together do not come back together.
///
/// Names and formulas: AWS Architecture Blog, "Exponential Backoff And Jitter", 2015.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Evenly from `[0, bound]`: spreads best.
    Full,
    /// Evenly from `[bound / 2, bound]`: always some pause.
    Equal,
    /// Evenly from `[base, 3 * previous wait]`, at most `cap`; the backoff plays no part. The previous wait is read as
    /// the time since the failure before this one, which is what the provider has felt.
    Decorrelated,
    /// The bound itself: for tests, and for what must come at a steady pace.
    None,
}

/// A failed attempt, as far as the next wait depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub struct FailedAttempt {
    /// Which attempt failed; the first is 1.
    pub attempt: u32,
    /// The job's own limit of attempts, which overrides the policy's.
    pub job_max_attempts: Option<u32>,
    /// What a provider asked for (Retry-After), honoured beyond the cap.
    pub at_least: Option<Duration>,
    /// Since the first attempt failed; zero for the first.
    pub age: Duration,
    /// Since the attempt before this one failed; none for the first.
    pub since_previous: Option<Duration>,
    /// Drawn evenly from `[0, 1)`.
    pub chance: f64,
}

/// No wait is shorter than this: an error that repeats at once would only burn its attempts.
pub const MIN_DELAY: Duration = Duration::from_millis(10);

impl RetryPolicy {
    /// Five attempts; half a second doubling up to five minutes, full jitter; no limit of age.
    pub const DEFAULT: Self = Self {
        max_attempts: 5,
        max_age: None,
        base: Duration::from_millis(500),
        backoff: Backoff::Exponential { factor: 2 },
        jitter: Jitter::Full,
        cap: Duration::from_secs(300),
    };

    /// One attempt.
    pub const NEVER: Self = Self { max_attempts: 1, ..Self::DEFAULT };

    /// The wait before the next attempt, or none when attempts or time are used up.
    pub fn delay(&self, failed: &FailedAttempt) -> Option<Duration> {
        if failed.attempt >= failed.job_max_attempts.unwrap_or(self.max_attempts).max(1) {
            return None;
        }
        let wait = self.drawn(failed).max(MIN_DELAY).max(failed.at_least.unwrap_or_default());
        self.is_young_enough(failed.age, wait).then_some(wait)
    }

    /// Whether an attempt after `wait` would still begin before the job is too old.
    pub fn is_young_enough(&self, age: Duration, wait: Duration) -> bool {
        self.max_age.is_none_or(|max_age| age.saturating_add(wait) <= max_age)
    }

    /// The upper bound of the wait after this attempt.
    fn bound(&self, attempt: u32) -> Duration {
        let n_before = attempt.saturating_sub(1);
        let grown = match self.backoff {
            Backoff::Exponential { factor } => self.base.saturating_mul(factor.saturating_pow(n_before)),
            Backoff::Linear => self.base.saturating_mul(attempt.max(1)),
            Backoff::Fixed => self.base,
        };
        grown.min(self.cap)
    }

    fn drawn(&self, failed: &FailedAttempt) -> Duration {
        let bound = self.bound(failed.attempt);
        match self.jitter {
            Jitter::Full => between(Duration::ZERO, bound, failed.chance),
            Jitter::Equal => between(bound / 2, bound, failed.chance),
            Jitter::Decorrelated => {
                let low = self.base.min(self.cap);
                let previous = failed.since_previous.unwrap_or(low).max(low);
                between(low, previous.saturating_mul(3).min(self.cap), failed.chance)
            }
            Jitter::None => bound,
        }
    }
}

fn between(low: Duration, high: Duration, chance: f64) -> Duration {
    low + high.saturating_sub(low).mul_f64(chance.clamp(0.0, 1.0))
}

/// A kind's policies: one for each class of error that has its own, and one for all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryTable {
    /// For every class without a row.
    pub usual: RetryPolicy,
    /// Class of error → its policy.
    pub by_class: &'static [(&'static str, RetryPolicy)],
}

impl RetryTable {
    /// For what is never tried again.
    pub const NEVER: Self = Self { usual: RetryPolicy::NEVER, by_class: &[] };

    /// The policy for an error of this class. That of the latest error decides: its `max_attempts` is held against all
    /// attempts, so a job that fails of many things ends too.
    pub fn of(&self, class: &str) -> &RetryPolicy {
        self.by_class.iter().find(|(name, _)| *name == class).map_or(&self.usual, |(_, policy)| policy)
    }

    /// Every row: the class (none for all others) and its policy, as it is shown to an operator.
    pub fn rows(&self) -> impl Iterator<Item = (Option<&'static str>, &RetryPolicy)> {
        let own = self.by_class.iter().map(|(class, policy)| (Some(*class), policy));
        own.chain(std::iter::once((None, &self.usual)))
    }
}

#[cfg(test)]
mod tests;
