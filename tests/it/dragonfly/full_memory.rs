//! A server whose memory is full: what is accepted is kept, what can end ends, and all of it goes on by itself.

use std::{collections::HashMap, sync::Arc, time::Duration};

use engine::{
    broker::BrokerErrorKind,
    client::{Submission, SubmitError},
    completions::Filter,
    handler::{Attempt, Job, Output},
    job::{JobId, QueueName},
    outcome::{JobError, Status},
    registry::Registry,
    retry::RetryPolicy,
};
use harness::{Fixture, Manners, RedisServer, RunningWorker, WorkerOptions, eventually, patience};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Semaphore};

const HEAVY: QueueName = QueueName::from_static("heavy");
const LEASE: Duration = Duration::from_secs(2);
const N_EACH: usize = 10;

struct Gates {
    runs: Mutex<HashMap<JobId, u32>>,
    failing: Semaphore,
    succeeding: Semaphore,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum Fate {
    Succeeds,
    FailsOnce,
    Dies,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Heavy {
    fate: Fate,
    ballast: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Done {}
impl Output for Done {}

impl Job for Heavy {
    const KIND: &'static str = "toy.heavy";
    const QUEUE: QueueName = HEAVY;
    const RETRY: RetryPolicy = RetryPolicy {
        max_attempts: 3,
        base: Duration::from_millis(20),
        cap: Duration::from_millis(40),
        ..RetryPolicy::DEFAULT
    };
    type Context = Gates;
    type Output = Done;
    async fn run(self, attempt: &Attempt<Gates>) -> Result<Done, JobError> {
        let gates = attempt.context();
        *gates.runs.lock().await.entry(attempt.id).or_default() += 1;
        if self.fate == Fate::Succeeds {
            gates.succeeding.acquire().await?.forget();
        } else if attempt.number == 1 {
            gates.failing.acquire().await?.forget();
        }
        match self.fate {
            Fate::Dies => Err(JobError::discard("never works")),
            Fate::FailsOnce if attempt.number == 1 => Err("not yet".into()),
            _ => Ok(Done {}),
        }
    }
}

async fn started(fixture: &Fixture, gates: &Arc<Gates>) -> RunningWorker {
    let registry = Registry::default().job::<Heavy>().unwrap();
    let options = WorkerOptions { lease: LEASE, ..WorkerOptions::default() };
    RunningWorker::start(fixture, registry, Arc::clone(gates), options).await
}

fn heavy(fate: Fate) -> Submission {
    Submission::job(&Heavy { fate, ballast: "x".repeat(20_000) }).unwrap()
}

async fn allow(server: &RedisServer, bytes: &str) {
    assert_eq!(server.connect().await.ask(&["CONFIG", "SET", "maxmemory", bytes]).await.unwrap(), "OK");
}

async fn n_runs(gates: &Gates) -> Vec<u32> {
    gates.runs.lock().await.values().copied().collect()
}

#[tokio::test]
async fn a_full_memory_refuses_producers_and_loses_nothing() {
    let server = RedisServer::start(&["--maxmemory-policy", "noeviction"]).await;
    nothing_is_lost(&server, &server.url()).await;
}

#[tokio::test]
async fn a_full_memory_loses_nothing_where_it_refuses_to_delete_consumers_too() {
    let server = RedisServer::start(&["--maxmemory-policy", "noeviction"]).await;
    let manners = Manners::before(server.port()).await;
    nothing_is_lost(&server, manners.url()).await;
}

/// Fills the server, which is reached at `url`, and gives it room again.
async fn nothing_is_lost(server: &RedisServer, url: &str) {
    let fixture = Fixture::on(url).await;
    let gates = Gates { runs: Mutex::default(), failing: Semaphore::new(0), succeeding: Semaphore::new(0) };
    let gates = Arc::new(gates);
    let first = started(&fixture, &gates).await;
    let mut completions = fixture.client.completions(&Filter::Queue(HEAVY)).await.unwrap();
    for fate in [Fate::Succeeds, Fate::FailsOnce, Fate::Dies] {
        fixture.client.submit_all((0..N_EACH).map(|_| heavy(fate)).collect()).await.unwrap();
    }
    eventually("all of them running", async || (n_runs(&gates).await.len() == 3 * N_EACH).then_some(())).await;

    allow(server, "1").await;
    let refused = fixture.client.submit(heavy(Fate::Succeeds)).await.unwrap_err();
    let SubmitError::Refused(reason) = refused else { panic!("{refused}") };
    assert_eq!(reason.kind(), BrokerErrorKind::OutOfMemory);

    // Another worker can start, and takes nothing from the first, whose heart cannot be recorded now.
    let second = started(&fixture, &gates).await;
    gates.failing.add_permits(2 * N_EACH);
    let full_ms = fixture.client.connection().now_ms().await.unwrap();
    eventually("two leases", async || {
        (fixture.client.connection().now_ms().await.unwrap() > full_ms + 4_000).then_some(())
    })
    .await;
    assert!(n_runs(&gates).await.iter().all(|&n_runs| n_runs == 1), "nothing ran again");
    assert_eq!(fixture.depth(&HEAVY).await, (3 * N_EACH as u64, 0), "retries and dead letters wait where they are");

    gates.succeeding.add_permits(N_EACH);
    eventually("what is done leaves, and frees memory", async || {
        (fixture.depth(&HEAVY).await.0 == 2 * N_EACH as u64).then_some(())
    })
    .await;
    let mut n_told = 0;
    while n_told < N_EACH {
        n_told +=
            completions.next().await.unwrap().completions.iter().filter(|told| told.status == Status::Done).count();
    }

    allow(server, "0").await;
    assert_eq!(fixture.until_idle(&HEAVY).await, N_EACH as u64, "dead letters are there now");
    assert_eq!(fixture.number("select count(*) from job_results").await, 2 * N_EACH as i64);
    assert_eq!(fixture.number("select count(*) from dead_jobs").await, N_EACH as i64);
    let runs = n_runs(&gates).await;
    assert_eq!(runs.iter().filter(|&&n_runs| n_runs == 2).count(), N_EACH, "those that failed once ran again, once");
    assert!(runs.iter().all(|&n_runs| n_runs <= 2));
    gates.succeeding.add_permits(1);
    fixture.client.submit_and_wait(heavy(Fate::Succeeds), patience()).await.unwrap();
    tokio::join!(first.stop(), second.stop());
}
