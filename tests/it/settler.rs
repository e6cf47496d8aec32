//! A queue settles in two lanes: what comes while one is at work goes together, and waits no longer than that one works.
//!
//! A lock on the table of results stands in for a slow Postgres: a settlement is at work until the test lets go. A proxy
//! that holds everything up stands in for a slow Dragonfly.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use engine::{
    broker::Address,
    client::Submission,
    handler::{Attempt, Job, Output},
    job::{JobId, QueueName},
    outcome::JobError,
    registry::Registry,
};
use harness::{Fixture, Proxy, RunningWorker, Servers, WorkerOptions, authority, eventually};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{Postgres, Transaction};

const TOYS: QueueName = QueueName::from_static("toys");

/// Half of what the harness lets a worker settle at once.
const HALF_A_BATCH: usize = 256;

/// Connections that a worker keeps for good: one hears what is new in the journal.
const LISTENING: usize = 1;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Tick {}

#[derive(Serialize, JsonSchema)]
struct Ticked {}
impl Output for Ticked {}

impl Job for Tick {
    const KIND: &'static str = "toy.tick";
    const QUEUE: QueueName = TOYS;
    type Context = AtomicUsize;
    type Output = Ticked;
    async fn run(self, attempt: &Attempt<AtomicUsize>) -> Result<Ticked, JobError> {
        attempt.context().fetch_add(1, Ordering::SeqCst);
        Ok(Ticked {})
    }
}

struct Corner {
    fixture: Fixture,
    worker: RunningWorker,
    n_runs: Arc<AtomicUsize>,
}

impl Corner {
    async fn new(concurrency: usize) -> Self {
        let options = WorkerOptions { concurrency, ..WorkerOptions::default() };
        Self::with(Fixture::new().await, options).await
    }

    async fn with(fixture: Fixture, options: WorkerOptions) -> Self {
        let n_runs = Arc::new(AtomicUsize::new(0));
        let registry = Registry::default().job::<Tick>().unwrap();
        let worker = RunningWorker::start(&fixture, registry, Arc::clone(&n_runs), options).await;
        Self { fixture, worker, n_runs }
    }

    /// Submits so many jobs and waits until they have begun to run.
    async fn run(&self, n_jobs: usize) -> Vec<JobId> {
        let wanted = self.n_runs.load(Ordering::SeqCst) + n_jobs;
        let jobs = (0..n_jobs).map(|_| Submission::job(&Tick {}).unwrap()).collect();
        let ids = self.fixture.client.submit_all(jobs).await.unwrap();
        eventually("the jobs to run", async || (self.n_runs.load(Ordering::SeqCst) == wanted).then_some(())).await;
        ids
    }

    /// Until it ends no result can be written.
    async fn lock(&self) -> Transaction<'static, Postgres> {
        let mut lock = self.fixture.pool.begin().await.unwrap();
        let table = "lock table job_results in share row exclusive mode";
        sqlx::query(table).execute(&mut *lock).await.unwrap();
        lock
    }

    /// Settlements that wait for the lock.
    async fn n_at_work(&self) -> i64 {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%insert into job_results%'";
        self.fixture.number(waiting).await
    }

    async fn until_at_work(&self, n_settlements: i64) {
        eventually("settlements at work", async || (self.n_at_work().await == n_settlements).then_some(())).await;
    }

    /// The transactions that these jobs' results were written in.
    async fn transactions(&self, jobs: &[JobId]) -> BTreeSet<String> {
        let ids: Vec<_> = jobs.iter().map(|id| id.0).collect();
        let select = "select xmin::text from job_results where id = any($1)";
        let written: Vec<String> = sqlx::query_scalar(select).bind(ids).fetch_all(&self.fixture.pool).await.unwrap();
        assert_eq!(written.len(), jobs.len(), "every job has its result");
        written.into_iter().collect()
    }
}

/// The first finds nobody at work and goes alone; those that come meanwhile go together as soon as it is through, though
/// they are far from half a batch.
#[tokio::test]
async fn outcomes_wait_for_the_settlement_at_work_and_no_longer() {
    let corner = Corner::new(1).await;
    let lock = corner.lock().await;
    let first = corner.run(1).await;
    corner.until_at_work(1).await;
    let mut meanwhile = Vec::new();
    for _ in 0..5 {
        meanwhile.extend(corner.run(1).await);
    }
    // One runs at a time, and leaves its place once its outcome is on its way: this is so for all but the last.
    meanwhile.pop();
    assert_eq!(corner.n_at_work().await, 1);
    lock.commit().await.unwrap();
    assert_eq!(corner.fixture.until_idle(&TOYS).await, 0);
    let (alone, together) = (corner.transactions(&first).await, corner.transactions(&meanwhile).await);
    assert_eq!(together.len(), 1);
    assert!(alone.is_disjoint(&together));
    corner.worker.stop().await;
}

#[tokio::test]
async fn half_a_batch_does_not_wait_for_the_settlement_at_work() {
    let corner = Corner::new(64).await;
    let lock = corner.lock().await;
    corner.run(1).await;
    corner.until_at_work(1).await;
    corner.run(HALF_A_BATCH).await;
    corner.until_at_work(2).await;
    lock.commit().await.unwrap();
    assert_eq!(corner.fixture.until_idle(&TOYS).await, 0);
    corner.worker.stop().await;
}

/// Postgres is free while Dragonfly is told: what waited for the first commit is committed before the first is acknowledged.
#[tokio::test]
async fn one_batch_is_committed_while_the_one_before_is_acknowledged() {
    let url = &Servers::get().dragonfly_url;
    let (mut fixture, proxy) = (Fixture::new().await, Proxy::before(authority(url)).await);
    fixture.address = Address::parse(&proxy.url(url), None).unwrap();
    // Nobody shall doubt whose the jobs are while the heart is not heard.
    let options = WorkerOptions { lease: Duration::from_secs(60), ..WorkerOptions::default() };
    let corner = Corner::with(fixture, options).await;
    let lock = corner.lock().await;
    corner.run(1).await;
    corner.until_at_work(1).await;
    corner.run(1).await;
    assert_eq!(corner.n_at_work().await, 1, "the second waits for the first's commit");
    proxy.stall();
    lock.commit().await.unwrap();
    eventually("both to be committed", async || {
        (corner.fixture.number("select count(*) from job_results").await == 2).then_some(())
    })
    .await;
    assert_eq!(corner.fixture.depth(&TOYS).await, (2, 0), "neither is acknowledged");
    proxy.heal();
    assert_eq!(corner.fixture.until_idle(&TOYS).await, 0);
    corner.worker.stop().await;
}

/// While both are at work and more comes, connections go from one settlement to the next; then all go back to the pool.
#[tokio::test]
async fn a_worker_with_nothing_left_to_settle_keeps_no_connection() {
    let corner = Corner::new(64).await;
    let lock = corner.lock().await;
    corner.run(1).await;
    corner.until_at_work(1).await;
    corner.run(HALF_A_BATCH).await;
    corner.until_at_work(2).await;
    corner.run(4 * HALF_A_BATCH).await;
    lock.commit().await.unwrap();
    assert_eq!(corner.fixture.until_idle(&TOYS).await, 0);
    eventually("the other connections to be free", async || {
        let (n_open, n_free) = corner.worker.store.connections();
        (n_open as usize == n_free + LISTENING).then_some(())
    })
    .await;
    corner.worker.stop().await;
}
