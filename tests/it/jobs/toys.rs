//! Jobs that echo, wait, fail or write rows, and what a test sees of them.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use engine::{
    client::Submission,
    handler::{Attempt, BatchJob, Job, Output},
    job::{JobId, QueueName},
    outcome::JobError,
    registry::Registry,
    retry::RetryPolicy,
    store::{StoreError, Tx, statement},
};
use harness::{Fixture, RunningWorker, WorkerOptions};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Semaphore};

pub(super) const TOYS: QueueName = QueueName::from_static("toys");

/// What the toys share.
pub(super) struct Toys {
    pub(super) runs: Mutex<HashMap<JobId, u32>>,
    pub(super) order: Mutex<Vec<u32>>,
    pub(super) gate: Semaphore,
    pub(super) broken: AtomicBool,
    pub(super) batches: AtomicU32,
}

impl Toys {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            runs: Mutex::default(),
            order: Mutex::default(),
            gate: Semaphore::new(0),
            broken: AtomicBool::new(true),
            batches: AtomicU32::new(0),
        })
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct Echoed {
    pub(super) n: u32,
}
impl Output for Echoed {}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Echo {
    pub(super) n: u32,
}

impl Job for Echo {
    const KIND: &'static str = "toy.echo";
    const QUEUE: QueueName = TOYS;
    type Context = Toys;
    type Output = Echoed;
    async fn run(self, attempt: &Attempt<Toys>) -> Result<Echoed, JobError> {
        *attempt.context().runs.lock().await.entry(attempt.id).or_default() += 1;
        attempt.context().order.lock().await.push(self.n);
        Ok(Echoed { n: self.n })
    }
}

/// Waits at the gate.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct Wait {}

impl Job for Wait {
    const KIND: &'static str = "toy.wait";
    const QUEUE: QueueName = TOYS;
    type Context = Toys;
    type Output = Echoed;
    async fn run(self, attempt: &Attempt<Toys>) -> Result<Echoed, JobError> {
        *attempt.context().runs.lock().await.entry(attempt.id).or_default() += 1;
        attempt.context().gate.acquire().await?.forget();
        Ok(Echoed { n: 0 })
    }
}

/// Fails while the toys are broken.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct Fail {
    pub(super) how: String,
}

impl Job for Fail {
    const KIND: &'static str = "toy.fail";
    const QUEUE: QueueName = TOYS;
    const TIMEOUT: Duration = Duration::from_millis(200);
    const RETRY: RetryPolicy = RetryPolicy {
        max_attempts: 3,
        base: Duration::from_millis(20),
        cap: Duration::from_millis(40),
        ..RetryPolicy::DEFAULT
    };
    type Context = Toys;
    type Output = Echoed;
    async fn run(self, attempt: &Attempt<Toys>) -> Result<Echoed, JobError> {
        if !attempt.context().broken.load(Ordering::SeqCst) {
            return Ok(Echoed { n: attempt.number });
        }
        match self.how.as_str() {
            "panic" => panic!("the toy is broken"),
            "hang" => std::future::pending().await,
            "refuse" => Err(JobError::discard("never works")),
            "snooze" => {
                attempt.context().broken.store(false, Ordering::SeqCst);
                Err(JobError::snooze(Duration::from_millis(30)))
            }
            _ => Err("does not work yet".into()),
        }
    }
}

/// Writes rows of its own.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct Rows {
    pub(super) n: i32,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct Written {
    pub(super) n: i32,
    pub(super) rows: Option<u64>,
}

impl Output for Written {
    const HAS_ROWS: bool = true;
    async fn write_rows(outputs: Vec<(JobId, &mut Self)>, tx: &mut Tx) -> Result<(), StoreError> {
        let numbers: Vec<i32> = outputs.iter().map(|(_, output)| output.n).collect();
        let n_rows = tx.execute(statement("insert into toy_rows select unnest($1::int[])").bind(numbers)).await?;
        for (_, output) in outputs {
            output.rows = Some(n_rows);
        }
        Ok(())
    }
}

impl BatchJob for Rows {
    const KIND: &'static str = "toy.rows";
    const QUEUE: QueueName = TOYS;
    const RETRY: RetryPolicy = RetryPolicy::NEVER;
    const MAX_BATCH: usize = 50;
    const LINGER: Duration = Duration::from_millis(20);
    type Context = Toys;
    type Output = Written;
    async fn run_batch(batch: Vec<(Self, Attempt<Toys>)>) -> Vec<Result<Written, JobError>> {
        batch[0].1.context().batches.fetch_add(1, Ordering::SeqCst);
        batch.into_iter().map(|(job, _)| Ok(Written { n: job.n, rows: None })).collect()
    }
}

pub(super) fn registry() -> Registry<Toys> {
    let registry = Registry::default().job::<Echo>().unwrap().job::<Wait>().unwrap();
    registry.job::<Fail>().unwrap().batch_job::<Rows>().unwrap()
}

pub(super) async fn started(fixture: &Fixture, toys: &Arc<Toys>, options: WorkerOptions) -> RunningWorker {
    RunningWorker::start(fixture, registry(), Arc::clone(toys), options).await
}

pub(super) fn fails(how: &str) -> Submission {
    Submission::job(&Fail { how: how.to_owned() }).unwrap()
}
