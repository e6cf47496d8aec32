//! What an outside failure means for a job.
//!
//! Promise: an outage of Postgres spends no attempt; a provider's Retry-After is kept to; what cannot get better by
//! waiting goes to the dead letters at once.

use std::time::Duration;

use engine::{
    outcome::JobError,
    store::{StoreError, StoreErrorKind},
};

use crate::embedders::EmbedError;

/// How long a job waits when Postgres is away.
const OUTAGE: Duration = Duration::from_secs(2);

/// What an embedder's failure means for a job.
pub(crate) fn embedder_failed(error: &EmbedError) -> JobError {
    let source = error.to_string();
    match error.retry_after() {
        _ if !error.is_retryable() => JobError::discard(source).class("embedder"),
        Some(delay) => JobError::retry(source).after(delay).class("embedder"),
        None => JobError::retry(source).class("embedder"),
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
        let refused = EmbedError::Permanent { failure: failure() };
        assert_eq!(embedder_failed(&refused).action(), Action::Discard);
    }
}
