//! What an outside failure means for a job.
//!
//! Promise: an outage of Postgres spends no attempt; a provider's Retry-After is kept to; what cannot get better by
//! waiting goes to the dead letters at once.

use std::time::Duration;

use engine::{
    outcome::JobError,
    retry::{Jitter, RetryPolicy},
    store::{StoreError, StoreErrorKind},
};

use crate::embedders::EmbedError;

/// How long a job waits when Postgres is away.
const OUTAGE: Duration = Duration::from_secs(2);

/// The class of an error by which a table that searches need is missing.
pub(crate) const NOT_LOADED: &str = "not_loaded";

/// The class of an error by which a provider says that it is asked too often.
const RATE_LIMITED: &str = "rate_limited";

/// Work that nobody waits for is patient with a provider, and soon gives up on what no waiting mends.
pub(crate) const PATIENT: &[(&str, RetryPolicy)] = &[
    (
        RATE_LIMITED,
        RetryPolicy {
            max_attempts: 15,
            max_age: Some(Duration::from_secs(6 * 3600)),
            base: Duration::from_secs(2),
            jitter: Jitter::Decorrelated,
            ..RetryPolicy::DEFAULT
        },
    ),
    ("embedder", RetryPolicy { max_attempts: 8, base: Duration::from_secs(1), ..RetryPolicy::DEFAULT }),
    TIMEOUT,
    PANIC,
    ROWS,
];

/// Somebody waits for the answer: what does not come soon is of no use.
pub(crate) const SOON: &[(&str, RetryPolicy)] = &[
    (
        RATE_LIMITED,
        RetryPolicy {
            max_attempts: 8,
            max_age: Some(Duration::from_secs(120)),
            cap: Duration::from_secs(20),
            jitter: Jitter::Decorrelated,
            ..RetryPolicy::DEFAULT
        },
    ),
    (
        "embedder",
        RetryPolicy { max_age: Some(Duration::from_secs(120)), cap: Duration::from_secs(20), ..RetryPolicy::DEFAULT },
    ),
    (
        NOT_LOADED,
        RetryPolicy {
            max_attempts: 60,
            max_age: Some(Duration::from_secs(120)),
            cap: Duration::from_secs(20),
            ..RetryPolicy::DEFAULT
        },
    ),
    TIMEOUT,
    PANIC,
    ROWS,
];

/// A time-out is dear: it held a slot for all its time.
const TIMEOUT: (&str, RetryPolicy) = (
    "timeout",
    RetryPolicy { max_attempts: 3, base: Duration::from_secs(2), jitter: Jitter::Equal, ..RetryPolicy::DEFAULT },
);

/// A panic is a fault in the code: the second look is for one that chance made.
const PANIC: (&str, RetryPolicy) = ("panic", RetryPolicy { max_attempts: 2, ..RetryPolicy::DEFAULT });

/// Rows that Postgres refuses are refused again, unless a neighbour was the cause.
const ROWS: (&str, RetryPolicy) = ("rows", RetryPolicy { max_attempts: 2, ..RetryPolicy::DEFAULT });

/// What an embedder's failure means for a job.
pub(crate) fn embedder_failed(error: &EmbedError) -> JobError {
    let source = error.to_string();
    let class = if error.failure().status == Some(429) { RATE_LIMITED } else { "embedder" };
    match error.retry_after() {
        _ if !error.is_retryable() => JobError::discard(source).class("embedder"),
        Some(delay) => JobError::retry(source).after(delay).class(class),
        None => JobError::retry(source).class(class),
    }
}

/// What Postgres' refusal or absence means for a job.
pub(crate) fn store_failed(error: &StoreError) -> JobError {
    match error.kind() {
        StoreErrorKind::Infrastructure => JobError::snooze(OUTAGE),
        StoreErrorKind::Data => JobError::retry(error.to_string()).class("postgres"),
    }
}

#[cfg(test)]
mod tests {
    use engine::outcome::Action;

    use super::*;
    use crate::embedders::Failure;

    fn failure() -> Failure {
        Failure { provider: "p".into(), status: Some(429), request_id: None, message: "slow down".into() }
    }

    #[test]
    fn a_providers_wish_is_kept_to_and_a_refusal_is_final() {
        let after = Some(Duration::from_secs(7));
        let busy = EmbedError::Retryable { failure: failure(), retry_after: after };
        assert_eq!(embedder_failed(&busy).action(), Action::Retry { after });
        assert_eq!(embedder_failed(&busy).class_name(), RATE_LIMITED);
        let refused = EmbedError::Permanent { failure: failure() };
        assert_eq!(embedder_failed(&refused).action(), Action::Discard);
    }
}
