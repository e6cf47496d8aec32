//! The job that does nothing, or as good as nothing: what is measured is everything around it.

use std::{
    sync::Mutex,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use engine::{
    client::{Submission, SubmitError},
    handler::{Attempt, Job, Output},
    job::QueueName,
    outcome::JobError,
    registry::{Registry, RegistryError},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where it waits.
pub(crate) const QUEUE: QueueName = QueueName::from_static("bench");

/// An envelope of about 200 bytes.
pub(crate) const SMALL: usize = 80;

/// A payload of one KiB.
pub(crate) const KIB: usize = 1_024;

/// What its handler does.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// Nothing.
    Nothing,
    /// Waits so many milliseconds, as on a provider.
    Waits(u64),
    /// Fails at its first attempt.
    FailsOnce,
    /// Nothing, and its result is not kept.
    KeepsNothing,
}

/// Does nothing.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Noop {
    n: u64,
    pad: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fails_once: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    intended_us: Option<u64>,
}

/// Its result, a row in `job_results`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Nothing {
    n: u64,
}

impl Output for Nothing {}

/// Does nothing, and no row keeps its result.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Bare {
    n: u64,
    pad: String,
}

/// Its result, in its completion alone.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Unkept {
    n: u64,
}

impl Output for Unkept {
    const IS_KEPT: bool = false;
}

impl Job for Bare {
    const KIND: &'static str = "bench.bare";
    const QUEUE: QueueName = QUEUE;
    type Context = Starts;
    type Output = Unkept;
    async fn run(self, _attempt: &Attempt<Starts>) -> Result<Unkept, JobError> {
        Ok(Unkept { n: self.n })
    }
}

impl Job for Noop {
    const KIND: &'static str = "bench.noop";
    const QUEUE: QueueName = QUEUE;
    type Context = Starts;
    type Output = Nothing;
    async fn run(self, attempt: &Attempt<Starts>) -> Result<Nothing, JobError> {
        if let Some(intended_us) = self.intended_us {
            attempt.context().note(intended_us);
        }
        if self.fails_once.is_some() && attempt.number == 1 {
            return Err(JobError::retry("the first attempt fails").class("storm"));
        }
        if let Some(wait_ms) = self.wait_ms {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
        Ok(Nothing { n: self.n })
    }
}

/// How long jobs waited for their handlers' start, microseconds, in the order of the starts.
#[derive(Default)]
pub(crate) struct Starts(Mutex<Vec<u64>>);

impl Starts {
    fn note(&self, intended_us: u64) {
        let waited = now_us().saturating_sub(intended_us);
        self.0.lock().expect("no code panics while it holds this lock").push(waited);
    }

    /// All that were noted.
    pub(crate) fn all(&self) -> Vec<u64> {
        self.0.lock().expect("no code panics while it holds this lock").clone()
    }
}

/// The machine's clock, which submitter and worker share.
#[allow(clippy::disallowed_methods, reason = "two processes of one machine have no other clock in common")]
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The kinds of a benchmark's worker.
pub(crate) fn registry() -> Result<Registry<Starts>, RegistryError> {
    Registry::default().job::<Noop>()?.job::<Bare>()
}

fn noop(n: usize, pad: usize) -> Noop {
    Noop { n: n as u64, pad: "x".repeat(pad), wait_ms: None, fails_once: None, intended_us: None }
}

/// So many submissions, each with a payload padded by `pad` bytes.
pub(crate) fn submissions(n_jobs: usize, pad: usize) -> Result<Vec<Submission>, SubmitError> {
    at_work(n_jobs, pad, Work::Nothing)
}

/// The same with something to do.
pub(crate) fn at_work(n_jobs: usize, pad: usize, work: Work) -> Result<Vec<Submission>, SubmitError> {
    let submission = |n| match work {
        Work::Nothing => Submission::job(&noop(n, pad)),
        Work::Waits(wait_ms) => Submission::job(&Noop { wait_ms: Some(wait_ms), ..noop(n, pad) }),
        Work::FailsOnce => Submission::job(&Noop { fails_once: Some(true), ..noop(n, pad) }),
        Work::KeepsNothing => Submission::job(&Bare { n: n as u64, pad: "x".repeat(pad) }),
    };
    (0..n_jobs).map(submission).collect()
}

/// One that tells how long it waited since the moment it was meant to be submitted.
pub(crate) fn timed(n: usize, intended_us: u64) -> Result<Submission, SubmitError> {
    Submission::job(&Noop { intended_us: Some(intended_us), ..noop(n, SMALL) })
}
