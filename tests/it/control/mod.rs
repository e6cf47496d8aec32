//! What an operator does while jobs run: pausing, limiting, taking back, looking.

mod cancel;
mod empty;
mod pause;
mod state;
mod tool;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use engine::{
    broker::sampling,
    client::Submission,
    completion::Format,
    handler::{Attempt, BatchJob, Job, Output},
    job::{JobId, QueueName},
    operator::Operator,
    outcome::JobError,
    registry::Registry,
    store::{StoreError, Tx, statement},
};
use harness::{Fixture, RunningWorker, WorkerOptions, eventually};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Semaphore};

const GOVERNED: QueueName = QueueName::from_static("governed");

/// What the toys share.
struct Toys {
    runs: Mutex<HashMap<JobId, u32>>,
    gate: Semaphore,
    running: AtomicUsize,
}

impl Toys {
    fn new() -> Arc<Self> {
        Arc::new(Self { runs: Mutex::default(), gate: Semaphore::new(0), running: AtomicUsize::new(0) })
    }

    async fn n_runs(&self) -> u32 {
        self.runs.lock().await.values().sum()
    }

    fn n_running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    /// Counts a run for as long as it lasts, however it ends.
    async fn begin(&self, id: JobId) -> Running<'_> {
        *self.runs.lock().await.entry(id).or_default() += 1;
        self.running.fetch_add(1, Ordering::SeqCst);
        Running(self)
    }
}

struct Running<'a>(&'a Toys);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Nothing {}
impl Output for Nothing {}

/// Ends at once.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Quick {}

impl Job for Quick {
    const KIND: &'static str = "toy.quick";
    const QUEUE: QueueName = GOVERNED;
    type Context = Toys;
    type Output = Nothing;
    async fn run(self, attempt: &Attempt<Toys>) -> Result<Nothing, JobError> {
        drop(attempt.context().begin(attempt.id).await);
        Ok(Nothing {})
    }
}

/// Waits at the gate.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Slow {}

impl Job for Slow {
    const KIND: &'static str = "toy.slow";
    const QUEUE: QueueName = GOVERNED;
    type Context = Toys;
    type Output = Nothing;
    async fn run(self, attempt: &Attempt<Toys>) -> Result<Nothing, JobError> {
        let _running = attempt.context().begin(attempt.id).await;
        attempt.context().gate.acquire().await?.forget();
        Ok(Nothing {})
    }
}

/// Fails its first attempt and then waits an hour for the next.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Fails {
    fatal: bool,
}

impl Job for Fails {
    const KIND: &'static str = "toy.fails";
    const QUEUE: QueueName = GOVERNED;
    type Context = Toys;
    type Output = Nothing;
    async fn run(self, attempt: &Attempt<Toys>) -> Result<Nothing, JobError> {
        drop(attempt.context().begin(attempt.id).await);
        match (self.fatal, attempt.number) {
            (true, _) => Err(JobError::discard("it never works")),
            (false, 1) => Err(JobError::retry("not yet").after(Duration::from_secs(3_600))),
            _ => Ok(Nothing {}),
        }
    }
}

/// Says how far it has come, then waits at the gate.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Steps {}

impl Job for Steps {
    const KIND: &'static str = "toy.steps";
    const QUEUE: QueueName = GOVERNED;
    type Context = Toys;
    type Output = Nothing;
    async fn run(self, attempt: &Attempt<Toys>) -> Result<Nothing, JobError> {
        let _running = attempt.context().begin(attempt.id).await;
        attempt.progress(3, Some(9), "embedding").await;
        attempt.progress(4, Some(9), "too soon to be told").await;
        attempt.context().gate.acquire().await?.forget();
        attempt.progress(9, Some(9), "").await;
        Ok(Nothing {})
    }
}

/// Waits at the gate, then writes a row.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Effect {}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Row {}

impl Output for Row {
    const HAS_ROWS: bool = true;
    async fn write_rows(outputs: Vec<(JobId, &mut Self)>, tx: &mut Tx) -> Result<(), StoreError> {
        let ids: Vec<uuid::Uuid> = outputs.iter().map(|(id, _)| id.0).collect();
        tx.execute(statement("insert into effects select unnest($1::uuid[])").bind(ids)).await.map(drop)
    }
}

impl Job for Effect {
    const KIND: &'static str = "toy.effect";
    const QUEUE: QueueName = GOVERNED;
    type Context = Toys;
    type Output = Row;
    async fn run(self, attempt: &Attempt<Toys>) -> Result<Row, JobError> {
        let _running = attempt.context().begin(attempt.id).await;
        attempt.context().gate.acquire().await?.forget();
        Ok(Row {})
    }
}

/// A batch that waits at the gate once.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Together {}

impl BatchJob for Together {
    const KIND: &'static str = "toy.together";
    const QUEUE: QueueName = GOVERNED;
    const MAX_BATCH: usize = 3;
    const LINGER: Duration = Duration::from_secs(5);
    type Context = Toys;
    type Output = Row;
    async fn run_batch(batch: Vec<(Self, Attempt<Toys>)>) -> Vec<Result<Row, JobError>> {
        let toys = batch[0].1.context();
        let _running = toys.begin(batch[0].1.id).await;
        toys.gate.acquire().await.unwrap().forget();
        batch.iter().map(|_| Ok(Row {})).collect()
    }
}

fn registry() -> Registry<Toys> {
    let registry = Registry::default().job::<Quick>().unwrap().job::<Slow>().unwrap().job::<Fails>().unwrap();
    registry.job::<Steps>().unwrap().job::<Effect>().unwrap().batch_job::<Together>().unwrap()
}

async fn with_effects(fixture: &Fixture) {
    sqlx::query("create table effects (id uuid primary key)").execute(&fixture.pool).await.unwrap();
}

async fn started(fixture: &Fixture, toys: &Arc<Toys>, options: WorkerOptions) -> RunningWorker {
    RunningWorker::start(fixture, registry(), Arc::clone(toys), options).await
}

/// An operator who knows the queues that the workers have registered by now.
async fn operator(fixture: &Fixture) -> Operator {
    Operator::new(&fixture.client, fixture.store.clone(), Format::MsgPack).await.unwrap()
}

fn quick(n_jobs: usize) -> Vec<Submission> {
    (0..n_jobs).map(|_| Submission::job(&Quick {}).unwrap()).collect()
}

fn slow(n_jobs: usize) -> Vec<Submission> {
    (0..n_jobs).map(|_| Submission::job(&Slow {}).unwrap()).collect()
}

/// The server's own clock says that this long has passed.
async fn passed(fixture: &Fixture, span: Duration) {
    let begun_ms = fixture.client.connection().now_ms().await.unwrap();
    let until_ms = begun_ms + u64::try_from(span.as_millis()).unwrap();
    eventually("time to pass", || async {
        (fixture.client.connection().now_ms().await.unwrap() > until_ms).then_some(())
    })
    .await;
}

/// What stands in the queue: (ready, in flight, later).
async fn standing(fixture: &Fixture) -> (u64, u64, u64) {
    let queues = engine::broker::registered(fixture.client.connection(), &fixture.keys).await.unwrap();
    let mut standing = (0, 0, 0);
    for tag in &queues[&GOVERNED] {
        let depths = sampling::depths(fixture.client.connection(), &fixture.keys.partition(tag)).await.unwrap();
        standing.0 += depths.ready();
        standing.1 += depths.in_flight;
        standing.2 += depths.later;
    }
    standing
}
