//! What becomes of a delivery, decided and not yet done.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    broker::Held,
    completion::Timings,
    envelope::{Envelope, Options},
    handler::Produced,
    holding::Holding,
    job::{JobId, Kind},
    outcome::{Action, AttemptError, JobError, Status},
    retry::RetryPolicy,
    store::StoredResult,
};

/// A job in this worker's hands.
pub(crate) struct Delivery {
    pub(crate) holding: Arc<Holding>,
    pub(crate) held: Held,
    pub(crate) n_crashes: u32,
    /// When it entered its stream, by the server's clock.
    pub(crate) queued_ms: u64,
    pub(crate) envelope: Envelope,
    /// The bytes as they came, where they could not be read.
    pub(crate) unreadable: Option<Bytes>,
}

/// The kind under which a completion speaks of a job whose own could not be read.
pub(crate) const UNREADABLE: Kind = Kind::from_static("unreadable");

impl Delivery {
    /// A delivery whose bytes are no envelope.
    pub(crate) fn unreadable(holding: Arc<Holding>, held: Held, id: JobId, bytes: Bytes) -> Self {
        let envelope =
            Envelope { id, kind: UNREADABLE, payload: Bytes::new(), options: Options::default(), unknown: Vec::new() };
        Self { holding, queued_ms: held.entry.ms(), held, n_crashes: 0, envelope, unreadable: Some(bytes) }
    }

    /// The attempt that runs now; the first is 1.
    pub(crate) fn attempt(&self) -> u32 {
        self.envelope.options.failed_attempts + 1
    }
}

/// What becomes of a delivery.
pub(crate) enum Verdict {
    /// Its result is to be committed.
    Done(Produced),
    /// A result is committed already, by an earlier delivery.
    Known(StoredResult),
    /// It runs again after the wait; the error is recorded and costs an attempt.
    Retry(Duration, AttemptError),
    /// It runs again after the wait, at no cost.
    Snooze(Duration),
    /// The word came that it is cancelled: Postgres is asked whether that is so.
    Cancelled,
    /// To the dead letters.
    Dead(Status, AttemptError),
}

impl Verdict {
    /// The word used in metrics.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Known(_) => "known",
            Self::Retry(..) => "retried",
            Self::Snooze(_) => "snoozed",
            Self::Cancelled => "cancelled",
            Self::Dead(status, _) => status.as_str(),
        }
    }
}

/// A delivery and what becomes of it.
pub(crate) struct Settlement {
    pub(crate) delivery: Delivery,
    pub(crate) retry: RetryPolicy,
    pub(crate) timings: Timings,
    pub(crate) verdict: Verdict,
}

/// When and where a failure happened, and the chance its wait is drawn by.
pub(crate) struct Circumstance<'a> {
    pub(crate) now_ms: u64,
    pub(crate) worker: &'a str,
    pub(crate) chance: f64,
}

/// What follows from an attempt that failed.
pub(crate) fn after_failure(
    error: &JobError,
    options: &Options,
    policy: &RetryPolicy,
    at: &Circumstance<'_>,
) -> Verdict {
    let attempt = options.failed_attempts + 1;
    let record = error.record(attempt, at.now_ms, at.worker);
    match error.action() {
        Action::Snooze(delay) => Verdict::Snooze(delay),
        Action::Discard => Verdict::Dead(Status::Failed, record),
        Action::Retry { after } => match policy.delay(attempt, options.max_attempts, after, at.chance) {
            Some(delay) if !misses(options.deadline_ms, at.now_ms, delay) => Verdict::Retry(delay, record),
            _ => Verdict::Dead(Status::Dead, record),
        },
    }
}

fn misses(deadline_ms: Option<u64>, now_ms: u64, delay: Duration) -> bool {
    let due_ms = u128::from(now_ms) + delay.as_millis();
    deadline_ms.is_some_and(|deadline| due_ms > u128::from(deadline))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(error: &JobError, options: &Options) -> Verdict {
        after_failure(error, options, &RetryPolicy::DEFAULT, &Circumstance { now_ms: 1_000, worker: "w", chance: 0.5 })
    }

    #[test]
    fn a_snooze_costs_no_attempt_and_a_retry_costs_one() {
        let used_up = Options { failed_attempts: 4, ..Options::default() };
        assert!(matches!(after(&JobError::snooze(Duration::from_secs(1)), &used_up), Verdict::Snooze(_)));
        assert!(matches!(after(&JobError::retry("x"), &used_up), Verdict::Dead(Status::Dead, _)));
        assert!(
            matches!(after(&JobError::retry("x"), &Options::default()), Verdict::Retry(_, record) if record.attempt == 1)
        );
    }

    #[test]
    fn a_refused_job_is_failed_at_once() {
        assert!(matches!(after(&JobError::discard("x"), &Options::default()), Verdict::Dead(Status::Failed, _)));
    }

    #[test]
    fn a_retry_that_would_miss_the_deadline_is_not_made() {
        let short = Options { deadline_ms: Some(1_001), ..Options::default() };
        assert!(matches!(after(&JobError::retry("x"), &short), Verdict::Dead(Status::Dead, _)));
    }
}
