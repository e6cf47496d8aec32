//! The kinds of job that scenarios run: each leaves a row that can be counted, and a note that it began.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    time::Duration,
};

use engine::{
    handler::{Attempt, BatchJob, Job, Output},
    job::{JobId, QueueName},
    outcome::JobError,
    registry::Registry,
    retry::RetryPolicy,
    store::{StoreError, Tx, statement},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The queue of every scenario.
pub(super) const CHAOS: QueueName = QueueName::from_static("chaos");

/// How long the first of a batch waits for others.
pub(super) const LINGER: Duration = Duration::from_millis(400);

/// What a worker's jobs share.
pub(super) struct Context {
    worker: String,
    begun: File,
}

impl Context {
    /// Notes go to the end of the file; a short line is written whole or not at all.
    pub(super) fn new(worker: String, begun: &Path) -> Self {
        Self { worker, begun: OpenOptions::new().create(true).append(true).open(begun).unwrap() }
    }

    fn begin<C>(&self, attempt: &Attempt<C>) -> Effected {
        let now_us = chrono::Utc::now().timestamp_micros();
        (&self.begun).write_all(format!("{} {} {now_us}\n", attempt.id, self.worker).as_bytes()).unwrap();
        Effected { worker: self.worker.clone(), attempt: i32::try_from(attempt.number).unwrap(), n: 0 }
    }
}

/// What a job did: one row in `chaos_effects`, written in its settlement.
#[derive(Serialize, JsonSchema)]
pub(super) struct Effected {
    worker: String,
    attempt: i32,
    n: i32,
}

impl Output for Effected {
    const HAS_ROWS: bool = true;

    async fn write_rows(outputs: Vec<(JobId, &mut Self)>, tx: &mut Tx) -> Result<(), StoreError> {
        let insert = statement("insert into chaos_effects (job, attempt, worker, n) select * from unnest($1::uuid[], $2::int[], $3::text[], $4::int[])")
            .bind(outputs.iter().map(|(id, _)| id.0).collect::<Vec<_>>())
            .bind(outputs.iter().map(|(_, output)| output.attempt).collect::<Vec<_>>())
            .bind(outputs.iter().map(|(_, output)| output.worker.clone()).collect::<Vec<_>>())
            .bind(outputs.iter().map(|(_, output)| output.n).collect::<Vec<_>>());
        tx.execute(insert).await.map(drop)
    }
}

/// Takes its time, then leaves its row. One attempt: whatever is charged to it shows as a dead letter.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub(super) struct Effect {
    /// How long it takes, milliseconds.
    pub(super) sleep_ms: u64,
    /// Whether its row is one that Postgres refuses.
    #[serde(default)]
    pub(super) bad: bool,
    /// Weight.
    #[serde(default)]
    pub(super) ballast: String,
}

impl Job for Effect {
    const KIND: &'static str = "chaos.effect";
    const QUEUE: QueueName = CHAOS;
    const TIMEOUT: Duration = Duration::from_secs(300);
    const RETRY: RetryPolicy = RetryPolicy::NEVER;
    type Context = Context;
    type Output = Effected;

    async fn run(self, attempt: &Attempt<Context>) -> Result<Effected, JobError> {
        let effected = attempt.context().begin(attempt);
        tokio::time::sleep(Duration::from_millis(self.sleep_ms)).await;
        Ok(Effected { n: if self.bad { -1 } else { 0 }, ..effected })
    }
}

/// Waits for others before it begins, so that a worker has deliveries in hand that have not begun.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Gathered {}

impl BatchJob for Gathered {
    const KIND: &'static str = "chaos.gathered";
    const QUEUE: QueueName = CHAOS;
    const RETRY: RetryPolicy = RetryPolicy::NEVER;
    const MAX_BATCH: usize = 500;
    const LINGER: Duration = LINGER;
    type Context = Context;
    type Output = Effected;

    async fn run_batch(batch: Vec<(Self, Attempt<Context>)>) -> Vec<Result<Effected, JobError>> {
        batch.iter().map(|(_, attempt)| Ok(attempt.context().begin(attempt))).collect()
    }
}

/// Kills the process that runs it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Poison {}

impl Job for Poison {
    const KIND: &'static str = "chaos.poison";
    const QUEUE: QueueName = CHAOS;
    const RETRY: RetryPolicy = RetryPolicy::NEVER;
    type Context = Context;
    type Output = Effected;

    async fn run(self, attempt: &Attempt<Context>) -> Result<Effected, JobError> {
        drop(attempt.context().begin(attempt));
        std::process::abort()
    }
}

/// A kind that is about to get a new version.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Rolling {}

impl Job for Rolling {
    const KIND: &'static str = "chaos.rolling";
    const QUEUE: QueueName = CHAOS;
    const RETRY: RetryPolicy = RetryPolicy::NEVER;
    type Context = Context;
    type Output = Effected;

    async fn run(self, attempt: &Attempt<Context>) -> Result<Effected, JobError> {
        Ok(attempt.context().begin(attempt))
    }
}

/// Its new version, which old workers do not know.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct RollingV2 {
    /// What the old version had no word for.
    pub(super) why: String,
}

impl Job for RollingV2 {
    const KIND: &'static str = "chaos.rolling.v2";
    const QUEUE: QueueName = CHAOS;
    const RETRY: RetryPolicy = RetryPolicy::NEVER;
    type Context = Context;
    type Output = Effected;

    async fn run(self, attempt: &Attempt<Context>) -> Result<Effected, JobError> {
        Ok(attempt.context().begin(attempt))
    }
}

/// What a worker of this version can run.
pub(super) fn registry(version: u32) -> Registry<Context> {
    let registry = Registry::default().job::<Effect>().unwrap().batch_job::<Gathered>().unwrap();
    let registry = registry.job::<Poison>().unwrap().job::<Rolling>().unwrap();
    if version < 2 { registry } else { registry.job::<RollingV2>().unwrap() }
}
