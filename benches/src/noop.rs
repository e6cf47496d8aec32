//! The job that does nothing: what is measured is everything around it.

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

/// Does nothing.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Noop {
    n: u64,
    pad: String,
}

/// Its result, a row in `job_results`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Nothing {
    n: u64,
}

impl Output for Nothing {}

impl Job for Noop {
    const KIND: &'static str = "bench.noop";
    const QUEUE: QueueName = QUEUE;
    type Context = ();
    type Output = Nothing;
    async fn run(self, _: &Attempt<()>) -> Result<Nothing, JobError> {
        Ok(Nothing { n: self.n })
    }
}

/// The kinds of a benchmark's worker.
pub(crate) fn registry() -> Result<Registry<()>, RegistryError> {
    Registry::default().job::<Noop>()
}

/// One submission with a payload padded by `pad` bytes.
pub(crate) fn submission(n: usize, pad: usize) -> Result<Submission, SubmitError> {
    Submission::job(&Noop { n: n as u64, pad: "x".repeat(pad) })
}

/// As many.
pub(crate) fn submissions(n_jobs: usize, pad: usize) -> Result<Vec<Submission>, SubmitError> {
    (0..n_jobs).map(|n| submission(n, pad)).collect()
}
