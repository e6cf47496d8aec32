//! What becomes of a delivery, decided and not yet done.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    broker::{Deaths, Held},
    completion::Timings,
    envelope::{Envelope, Options},
    handler::Produced,
    holding::Holding,
    job::{JobId, Kind, QueueName},
    outcome::{Action, AttemptError, JobError, Status},
    retry::{FailedAttempt, RetryPolicy, RetryTable},
    retry_budget::RetryBudget,
    store::StoredResult,
    telemetry::metrics,
};

/// A job in this worker's hands. It goes from hand to hand in a box.
pub(crate) struct Delivery {
    pub(crate) holding: Arc<Holding>,
    pub(crate) held: Held,
    pub(crate) deaths: Deaths,
    /// Whether the server may have a note that it runs alone.
    pub(crate) noted_alone: bool,
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
        Self {
            holding,
            queued_ms: held.entry.ms(),
            held,
            deaths: Deaths::default(),
            noted_alone: false,
            envelope,
            unreadable: Some(bytes),
        }
    }

    /// The attempt that runs now; the first is 1.
    pub(crate) fn attempt(&self) -> u32 {
        self.envelope.options.failed_attempts + 1
    }

    /// How much it looks as if it killed its workers. After one death most likely not: a killed worker's jobs have hurt
    /// nobody, and each to its end, one after the other, they would take long.
    pub(crate) fn suspicion(&self) -> Suspicion {
        match self.deaths.total() {
            0 => Suspicion::None,
            1 => Suspicion::Slight,
            _ => Suspicion::Grave,
        }
    }
}

/// Whether a job may have killed its workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Suspicion {
    /// It runs beside others.
    None,
    /// It runs alone for a short while, if its turn comes soon.
    Slight,
    /// It runs alone to its end.
    Grave,
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
    pub(crate) delivery: Box<Delivery>,
    pub(crate) retry: RetryTable,
    pub(crate) timings: Timings,
    pub(crate) verdict: Verdict,
}

/// What a queue's retries may spend on this worker.
#[derive(Debug)]
pub(crate) struct SharedBudget(pub(crate) Mutex<RetryBudget>);

impl SharedBudget {
    /// A job succeeded.
    pub(crate) fn succeeded(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).succeeded();
    }

    fn take(&self, now_ms: u64) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(now_ms)
    }
}

/// When and where a failure happened, the chance its wait is drawn by, and what retries may spend.
pub(crate) struct Circumstance<'a> {
    pub(crate) queue: &'a QueueName,
    pub(crate) budget: &'a SharedBudget,
    pub(crate) now_ms: u64,
    pub(crate) worker: &'a str,
    pub(crate) chance: f64,
}

/// What follows from an attempt that failed.
pub(crate) fn after_failure(error: &JobError, options: &Options, retry: &RetryTable, at: &Circumstance<'_>) -> Verdict {
    let attempt = options.failed_attempts + 1;
    let record = error.record(attempt, at.now_ms, at.worker);
    match error.action() {
        Action::Snooze(delay) => Verdict::Snooze(delay),
        Action::Discard => Verdict::Dead(Status::Failed, record),
        Action::Retry { after } => {
            let (policy, failed) = (retry.of(error.class_name()), failed(options, after, at));
            match policy.delay(&failed) {
                Some(delay) if !misses(options.deadline_ms, at.now_ms, delay) => {
                    Verdict::Retry(stretched(delay, (policy, &failed), options.deadline_ms, at), record)
                }
                _ => Verdict::Dead(Status::Dead, record),
            }
        }
    }
}

/// The wait, longer where the queue's budget is exhausted. A budget ends no job: where the longer wait would miss the
/// deadline or the greatest age, the policy's own stays.
fn stretched(
    delay: Duration,
    (policy, failed): (&RetryPolicy, &FailedAttempt),
    deadline_ms: Option<u64>,
    at: &Circumstance<'_>,
) -> Duration {
    let longer = delay + at.budget.take(at.now_ms);
    if longer == delay || misses(deadline_ms, at.now_ms, longer) || !policy.is_young_enough(failed.age, longer) {
        return delay;
    }
    metrics::retry_stretched(at.queue);
    longer
}

fn failed(options: &Options, at_least: Option<Duration>, at: &Circumstance<'_>) -> FailedAttempt {
    let since = |earlier: &AttemptError| Duration::from_millis(at.now_ms.saturating_sub(earlier.at_ms));
    FailedAttempt {
        attempt: options.failed_attempts + 1,
        job_max_attempts: options.max_attempts,
        at_least,
        age: options.errors.first().map(since).unwrap_or_default(),
        since_previous: options.errors.last().map(since),
        chance: at.chance,
    }
}

fn misses(deadline_ms: Option<u64>, now_ms: u64, delay: Duration) -> bool {
    let due_ms = u128::from(now_ms) + delay.as_millis();
    deadline_ms.is_some_and(|deadline| due_ms > u128::from(deadline))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry_budget::RetryLimits;

    const PATIENT: RetryPolicy =
        RetryPolicy { max_attempts: 9, max_age: Some(Duration::from_secs(60)), ..RetryPolicy::DEFAULT };
    const TABLE: RetryTable = RetryTable { usual: RetryPolicy::DEFAULT, by_class: &[("rate_limited", PATIENT)] };

    fn after(error: &JobError, options: &Options) -> Verdict {
        after_many(0, error, options)
    }

    /// After so many other retries at the same time.
    fn after_many(n_before: u32, error: &JobError, options: &Options) -> Verdict {
        let budget = SharedBudget(Mutex::new(RetryBudget::new(RetryLimits::default(), 1_000)));
        for _ in 0..n_before {
            budget.take(1_000);
        }
        let queue = QueueName::from_static("q");
        let at = Circumstance { queue: &queue, budget: &budget, now_ms: 1_000, worker: "w", chance: 0.5 };
        after_failure(error, options, &TABLE, &at)
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

    #[test]
    fn the_class_of_the_error_chooses_the_policy() {
        let failed = Options { failed_attempts: 5, ..Options::default() };
        assert!(matches!(after(&JobError::retry("x").class("rate_limited"), &failed), Verdict::Retry(..)));
        assert!(matches!(after(&JobError::retry("x"), &failed), Verdict::Dead(Status::Dead, _)));
    }

    #[test]
    fn a_job_that_fails_for_too_long_is_given_up() {
        let since_1970 = JobError::retry("x").record(1, 0, "w");
        let mut options = Options { failed_attempts: 1, errors: vec![since_1970], ..Options::default() };
        let busy = |seconds| JobError::retry("x").after(Duration::from_secs(seconds)).class("rate_limited");
        assert!(matches!(after(&busy(59), &options), Verdict::Retry(..)));
        assert!(matches!(after(&busy(60), &options), Verdict::Dead(Status::Dead, _)));
        options.errors.clear();
        assert!(matches!(after(&busy(60), &options), Verdict::Retry(..)), "the age counts from the first failure");
    }

    #[test]
    fn an_exhausted_budget_stretches_a_wait_and_ends_no_job() {
        let wait = |verdict| match verdict {
            Verdict::Retry(wait, _) => wait,
            other => panic!("{}", other.outcome()),
        };
        let (error, free) = (JobError::retry("x"), Options::default());
        let usual = wait(after(&error, &free));
        assert_eq!(wait(after_many(199, &error, &free)), usual + Duration::from_secs(10));
        let short = Options { deadline_ms: Some(5_000), ..Options::default() };
        assert_eq!(wait(after_many(199, &error, &short)), usual, "the deadline is kept to");
        let busy = JobError::retry("x").class("rate_limited");
        let old = Options { failed_attempts: 1, errors: vec![busy.record(1, 0, "w")], ..Options::default() };
        assert!(wait(after_many(1_000, &busy, &old)) < Duration::from_secs(60), "the greatest age is kept to");
    }
}
