//! A server that starts again with nothing: a running worker goes on by itself.

use std::{sync::Arc, time::Duration};

use engine::{
    broker,
    client::Submission,
    handler::{Attempt, Job, Output},
    job::{JobId, QueueName},
    outcome::JobError,
    registry::Registry,
};
use harness::{Fixture, RedisServer, RunningWorker, WorkerOptions, eventually, patience};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const LASTING: QueueName = QueueName::from_static("lasting");

#[derive(Serialize, Deserialize, JsonSchema)]
struct Last {}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Done {}
impl Output for Done {}

impl Job for Last {
    const KIND: &'static str = "toy.last";
    const QUEUE: QueueName = LASTING;
    type Context = ();
    type Output = Done;
    async fn run(self, _attempt: &Attempt<()>) -> Result<Done, JobError> {
        Ok(Done {})
    }
}

fn lasting(n_jobs: usize) -> Vec<Submission> {
    (0..n_jobs).map(|_| Submission::job(&Last {}).unwrap()).collect()
}

/// Submits, again while there is no answer: the same id has one result.
async fn submitted(fixture: &Fixture, jobs: Vec<Submission>) -> Vec<JobId> {
    eventually("a server that accepts jobs", async || fixture.client.submit_all(jobs.clone()).await.ok()).await
}

#[tokio::test]
async fn a_worker_goes_on_when_the_server_starts_again_with_nothing() {
    let mut server = RedisServer::start(&[]).await;
    let fixture = Fixture::on(&server.url()).await;
    let registry = Registry::default().job::<Last>().unwrap();
    let options = WorkerOptions { n_partitions: 2, ..WorkerOptions::default() };
    let worker = RunningWorker::start(&fixture, registry, Arc::new(()), options).await;
    for id in submitted(&fixture, lasting(20)).await {
        fixture.result(id).await;
    }
    server.kill();
    server.start_again().await;

    for id in submitted(&fixture, lasting(20)).await {
        fixture.result(id).await;
    }
    let delayed = lasting(4).into_iter().map(|job| job.after(Duration::from_millis(50)));
    for id in submitted(&fixture, delayed.collect()).await {
        fixture.result(id).await;
    }
    let connection = fixture.connection().await;
    eventually("the fleet's list of queues", async || {
        let queues = broker::registered(&connection, &fixture.keys).await.ok()?;
        queues.get(&LASTING).filter(|tags| tags.len() == 2).map(drop)
    })
    .await;
    assert_eq!(fixture.until_idle(&LASTING).await, 0);
    let done = fixture.client.submit_and_wait(Submission::job(&Last {}).unwrap(), patience()).await;
    assert!(done.is_ok(), "completions are published again: {done:?}");
    worker.stop().await;
}
