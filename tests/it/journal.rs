//! Journaled jobs: accepted by a committed transaction, they outlive Dragonfly's memory, and run once.

mod crowds;
mod in_sql;
mod lost_memory;
mod relays;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use engine::{
    broker::sampling,
    client::{Client, Submission},
    handler::{Attempt, Job, Output},
    job::{JobId, QueueName},
    outcome::JobError,
    partition::tags,
    policy::{Durability, Policy},
    registry::Registry,
    retry::RetryPolicy,
    store::Store,
};
use harness::{Fixture, RunningWorker, WorkerOptions, eventually};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Semaphore};

const LEDGER: QueueName = QueueName::from_static("ledger");

/// How often each job ran, whether jobs fail, and a gate that they wait at while it is shut.
struct Book {
    runs: Mutex<HashMap<JobId, u32>>,
    failing: AtomicBool,
    gate: Semaphore,
}

impl Book {
    fn open() -> Arc<Self> {
        Arc::new(Self {
            runs: Mutex::default(),
            failing: AtomicBool::new(false),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    fn shut() -> Arc<Self> {
        Arc::new(Self { runs: Mutex::default(), failing: AtomicBool::new(false), gate: Semaphore::new(0) })
    }

    async fn runs(&self, id: JobId) -> u32 {
        self.runs.lock().await.get(&id).copied().unwrap_or_default()
    }

    async fn n_started(&self) -> usize {
        self.runs.lock().await.len()
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Enter {}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Entered {}
impl Output for Entered {}

impl Job for Enter {
    const KIND: &'static str = "toy.enter";
    const QUEUE: QueueName = LEDGER;
    const RETRY: RetryPolicy = RetryPolicy::NEVER;
    type Context = Book;
    type Output = Entered;
    async fn run(self, attempt: &Attempt<Book>) -> Result<Entered, JobError> {
        let book = attempt.context();
        *book.runs.lock().await.entry(attempt.id).or_default() += 1;
        drop(book.gate.acquire().await?);
        if book.failing.load(Ordering::SeqCst) { Err("not today".into()) } else { Ok(Entered {}) }
    }
}

fn registry() -> Registry<Book> {
    Registry::default().job::<Enter>().unwrap()
}

fn entries(n_jobs: usize) -> Vec<Submission> {
    (0..n_jobs).map(|_| Submission::job(&Enter {}).unwrap()).collect()
}

async fn worker(fixture: &Fixture, book: &Arc<Book>) -> RunningWorker {
    RunningWorker::start(fixture, registry(), Arc::clone(book), WorkerOptions::default()).await
}

/// A client of the queue, which is journaled from now on.
async fn journaling(fixture: &Fixture, store: &Store) -> Client {
    let policy = Policy { durability: Some(Durability::Journaled), ..Policy::default() };
    fixture.store.set_policy(&LEDGER, &policy).await.unwrap();
    Client::connect(fixture.client.options().clone()).await.unwrap().with_journal(store.clone())
}

/// A worker whose reconciler has met its server: nothing is brought again for want of acquaintance.
async fn acquainted_worker(fixture: &Fixture, book: &Arc<Book>) -> RunningWorker {
    let worker = worker(fixture, book).await;
    eventually("a worker that met its server", || async {
        (fixture.number("select generation from broker_generation").await > 1).then_some(())
    })
    .await;
    worker
}

/// Rows of the journal.
async fn journaled(fixture: &Fixture) -> i64 {
    fixture.number("select count(*) from job_journal").await
}

async fn until_the_journal_is_empty(fixture: &Fixture) {
    eventually("an empty journal", || async { (journaled(fixture).await == 0).then_some(()) }).await;
}

/// Every job has its result, and nothing else is left of any.
async fn all_are_done_once(fixture: &Fixture, ids: &[JobId]) {
    for id in ids {
        fixture.result(*id).await;
    }
    until_the_journal_is_empty(fixture).await;
    assert_eq!(fixture.until_idle(&LEDGER).await, 0, "no dead letters");
    let n_results = fixture.number("select count(*) from job_results").await;
    assert_eq!(n_results, i64::try_from(ids.len()).unwrap());
}

#[tokio::test]
async fn every_job_of_a_large_batch_has_its_row_and_its_entry() {
    let fixture = Fixture::new().await;
    let client = journaling(&fixture, &fixture.store).await;
    let batch = entries(2_500);
    let submitted: Vec<JobId> = batch.iter().map(|job| job.envelope.id).collect();
    assert_eq!(client.submit_all(batch).await.unwrap(), submitted);
    assert_eq!(journaled(&fixture).await, 2_500);
    let partition = fixture.keys.partition(&tags(&LEDGER, 1, 1)[0]);
    let depths = sampling::depths(client.connection(), &partition).await.unwrap();
    assert_eq!(depths.lanes.iter().sum::<u64>(), 2_500);
}

#[tokio::test]
async fn a_journaled_job_has_a_row_until_it_is_settled_and_is_looked_up_before_it_runs() {
    let (fixture, book) = (Fixture::new().await, Book::shut());
    let client = journaling(&fixture, &fixture.store).await;
    let worker = acquainted_worker(&fixture, &book).await;
    let ids = client.submit_all(entries(20)).await.unwrap();
    eventually("all jobs to run", || async { (book.n_started().await == 20).then_some(()) }).await;
    assert_eq!(journaled(&fixture).await, 20);
    assert_eq!(fixture.number("select count(*) from job_journal where generation = 0").await, 0, "Dragonfly has them");
    book.gate.add_permits(1_000);
    all_are_done_once(&fixture, &ids).await;

    let mut again = entries(1).remove(0);
    again.envelope.id = ids[0];
    client.submit(again).await.unwrap();
    all_are_done_once(&fixture, &ids).await;
    assert_eq!(book.runs(ids[0]).await, 1, "what is settled does not run again");
    worker.stop().await;
}

#[tokio::test]
async fn a_retry_keeps_its_row_and_a_dead_letter_takes_it() {
    let (fixture, book) = (Fixture::new().await, Book::open());
    book.failing.store(true, Ordering::SeqCst);
    let client = journaling(&fixture, &fixture.store).await;
    let worker = acquainted_worker(&fixture, &book).await;
    let mut patient = entries(1).remove(0);
    patient.envelope.options.max_attempts = Some(2);
    client.submit(patient).await.unwrap();
    eventually("a retry", || async {
        (fixture.depth(&LEDGER).await.0 == 1 && book.n_started().await == 1).then_some(())
    })
    .await;
    client.submit(entries(1).remove(0)).await.unwrap();
    eventually("a dead letter", || async { (fixture.depth(&LEDGER).await.1 >= 1).then_some(()) }).await;
    eventually("no row of the dead", || async {
        let dead = "select count(*) from job_journal j join dead_jobs d using (id)";
        (fixture.number(dead).await == 0).then_some(())
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn without_a_postgres_a_client_is_told_how_to_submit_to_a_journaled_queue() {
    let (fixture, book) = (Fixture::new().await, Book::open());
    journaling(&fixture, &fixture.store).await;
    let worker = worker(&fixture, &book).await;
    let plain = eventually("the fleet's copy of the policy", || async {
        let client = Client::connect(fixture.client.options().clone()).await.unwrap();
        client.submit(entries(1).remove(0)).await.err()
    })
    .await;
    let told = plain.to_string();
    assert!(told.contains("`ledger`") && told.contains("with_journal") && told.contains("tripsage.enqueue"), "{told}");
    worker.stop().await;
}

#[tokio::test]
async fn a_queue_without_a_policy_has_the_durability_of_the_settings() {
    let fixture = Fixture::new().await;
    let mut options = fixture.client.options().clone();
    options.guarantees.durability = Durability::Journaled;
    let client = Client::connect(options).await.unwrap().with_journal(fixture.store.clone());
    client.submit_all(entries(3)).await.unwrap();
    assert_eq!(journaled(&fixture).await, 3);
}

#[tokio::test]
async fn a_settlement_faster_than_the_commit_leaves_no_row_behind() {
    let (fixture, book) = (Fixture::new().await, Book::open());
    let worker = worker(&fixture, &book).await;
    let mut job = entries(1).remove(0);
    job.envelope.options.journaled = true;
    let (id, bytes) = (job.envelope.id, job.envelope.write());
    let mut open = fixture.pool.begin().await.unwrap();
    let insert =
        "insert into job_journal (id, queue, kind, envelope, generation) values ($1, 'ledger', 'toy.enter', $2, 1000)";
    sqlx::query(insert).bind(id.0).bind(&bytes[..]).execute(&mut *open).await.unwrap();
    fixture.client.submit_bytes(&LEDGER, bytes).await.unwrap();
    fixture.result(id).await;
    fixture.until_idle(&LEDGER).await;
    let left = sqlx::query_scalar("select count(*) from job_journal").fetch_one(&mut *open).await;
    assert_eq!(left.ok(), Some(1_i64), "the settlement could not see it");
    open.commit().await.unwrap();
    until_the_journal_is_empty(&fixture).await;
    assert_eq!(book.runs(id).await, 1);
    worker.stop().await;
}
