//! What an outside failure means for a search.
//!
//! Promise: an outage of Postgres spends no attempt; a provider's Retry-After is kept to; what cannot get better
//! by waiting goes to the dead letters at once.

use std::time::Duration;

use engine::{
    outcome::JobError,
    store::{StoreError, StoreErrorKind},
};

use crate::embedders::EmbedError;

/// How long a job waits when Postgres is away.
const OUTAGE: Duration = Duration::from_secs(2);

/// What an embedder's failure means for a job.
pub(super) fn embedder_failed(error: &EmbedError) -> JobError {
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
