//! Jobs whose workers died: what kills is found, what was beside it is not harmed, and nobody waits long for that.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use engine::{
    client::Submission,
    handler::{Attempt, Job, Output},
    job::{JobId, QueueName},
    outcome::JobError,
    registry::Registry,
    store::DeadFilter,
};
use harness::{Fixture, RunningWorker, WorkerOptions, eventually};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

const TOYS: QueueName = QueueName::from_static("toys");

/// What the toys share.
struct Toys {
    begun: Mutex<HashMap<JobId, u32>>,
    gate: Semaphore,
    /// Tells the poison that its worker is dead.
    killed: Mutex<mpsc::Receiver<()>>,
}

impl Toys {
    fn begin(&self, attempt: &Attempt<Self>) -> u32 {
        let mut begun = self.begun.lock().unwrap();
        let n_begun = begun.entry(attempt.id).or_default();
        *n_begun += 1;
        *n_begun
    }

    async fn until_begun(&self, ids: &[JobId], n_times: u32) {
        eventually("jobs to begin", || async {
            let begun = self.begun.lock().unwrap();
            ids.iter().all(|id| begun.get(id) == Some(&n_times)).then_some(())
        })
        .await;
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Nothing {}
impl Output for Nothing {}

/// Waits at the gate.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Wait {}

impl Job for Wait {
    const KIND: &'static str = "toy.wait";
    const QUEUE: QueueName = TOYS;
    type Context = Toys;
    type Output = Nothing;
    async fn run(self, attempt: &Attempt<Toys>) -> Result<Nothing, JobError> {
        attempt.context().begin(attempt);
        attempt.context().gate.acquire().await?.forget();
        Ok(Nothing {})
    }
}

/// Says when it has begun, and never ends: the test kills its worker. From the second time on it holds its thread up until
/// then, as what kills a process does: nothing more happens to it in between.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Poison {}

impl Job for Poison {
    const KIND: &'static str = "toy.poison";
    const QUEUE: QueueName = TOYS;
    type Context = Toys;
    type Output = Nothing;
    async fn run(self, attempt: &Attempt<Toys>) -> Result<Nothing, JobError> {
        if attempt.context().begin(attempt) > 1 {
            let _killed = attempt.context().killed.lock().unwrap().recv();
        }
        std::future::pending().await
    }
}

/// The toys, and how to tell the poison that its worker is dead.
fn toys() -> (Arc<Toys>, mpsc::Sender<()>) {
    let (kill, killed) = mpsc::channel();
    let toys = Toys { begun: Mutex::default(), gate: Semaphore::new(0), killed: Mutex::new(killed) };
    (Arc::new(toys), kill)
}

async fn start(fixture: &Fixture, toys: &Arc<Toys>) -> RunningWorker {
    let registry = Registry::default().job::<Wait>().unwrap().job::<Poison>().unwrap();
    let options = WorkerOptions { lease: Duration::from_secs(1), n_partitions: 1, ..WorkerOptions::default() };
    RunningWorker::start(fixture, registry, Arc::clone(toys), options).await
}

#[tokio::test]
async fn a_job_that_kills_its_worker_is_given_up_and_its_neighbours_are_not() {
    let (fixture, (toys, kill)) = (Fixture::new().await, toys());
    let mut submissions: Vec<Submission> = (0..5).map(|_| Submission::job(&Wait {}).unwrap()).collect();
    submissions.push(Submission::job(&Poison {}).unwrap());
    let ids = fixture.client.submit_all(submissions).await.unwrap();
    let (neighbours, poison) = ids.split_at(5);
    // Once in company, where any of them may have been the cause.
    let first = start(&fixture, &toys).await;
    toys.until_begun(&ids, 1).await;
    first.kill();
    // Once in its turn, which comes soon: its neighbours may end from now on.
    toys.gate.add_permits(1_000);
    let second = start(&fixture, &toys).await;
    toys.until_begun(poison, 2).await;
    second.kill();
    kill.send(()).unwrap();
    let survivor = start(&fixture, &toys).await;
    for id in neighbours {
        fixture.result(*id).await;
    }
    assert_eq!(fixture.until_idle(&TOYS).await, 1);
    let dead = fixture.store.dead_jobs(&DeadFilter::default(), 10).await.unwrap();
    assert_eq!((dead[0].id, dead[0].class.as_str()), (poison[0], "crashed"));
    assert_eq!(toys.begun.lock().unwrap()[&poison[0]], 2, "two workers died of it, not one more");
    assert_eq!(fixture.number("select count(*) from job_results where attempt = 1").await, 5, "nobody was charged");
    survivor.stop().await;
}

#[tokio::test]
async fn a_long_job_whose_worker_was_killed_lets_others_run_beside_it_and_is_not_taken_for_a_killer() {
    let (fixture, (toys, _kill)) = (Fixture::new().await, toys());
    let long = fixture.client.submit(Submission::job(&Wait {}).unwrap()).await.unwrap();
    for n_deaths in 1..=2 {
        let worker = start(&fixture, &toys).await;
        toys.until_begun(&[long], n_deaths).await;
        if n_deaths == 2 {
            // It ran alone when it began; the other one gets its turn all the same.
            let other = fixture.client.submit(Submission::job(&Wait {}).unwrap()).await.unwrap();
            toys.until_begun(&[other], 1).await;
        }
        worker.kill();
    }
    let survivor = start(&fixture, &toys).await;
    toys.gate.add_permits(1_000);
    fixture.result(long).await;
    assert_eq!(fixture.until_idle(&TOYS).await, 0, "its second worker did not die while it ran alone");
    survivor.stop().await;
}
