//! What an operator does while jobs run: pausing, limiting, taking back, looking.

mod pause;
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
    handler::{Attempt, Job, Output},
    job::{JobId, QueueName},
    operator::Operator,
    outcome::JobError,
    registry::Registry,
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

fn registry() -> Registry<Toys> {
    Registry::default().job::<Quick>().unwrap().job::<Slow>().unwrap()
}

async fn started(fixture: &Fixture, toys: &Arc<Toys>, options: WorkerOptions) -> RunningWorker {
    RunningWorker::start(fixture, registry(), Arc::clone(toys), options).await
}

/// An operator who knows the queues that the workers have registered by now.
async fn operator(fixture: &Fixture) -> Operator {
    Operator::new(&fixture.client, fixture.store.clone()).await.unwrap()
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
