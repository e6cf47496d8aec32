//! A queue takes as much as it may, and says when to come again.

use std::{sync::Arc, time::Duration};

use engine::{
    broker::{Budgets, Verb, govern},
    client::{Client, SubmitError},
    completion::Format,
    dedup::Mode,
    handler::{Attempt, Job, Output},
    job::QueueName,
    outcome::JobError,
    partition::tags,
    policy::Policy,
    registry::Registry,
};

use harness::{RunningWorker, WorkerOptions, eventually, resp::Resp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Corner, HOUR, TOYS, job, job_with};

/// What an operator decides, and a client that knows it.
async fn decide(corner: &mut Corner, policy: &Policy) {
    let client = Client::connect(corner.fixture.client.options().clone()).await.unwrap();
    govern(client.connection(), &corner.fixture.keys, (&TOYS, &tags(&TOYS, 1, 1)), policy).await.unwrap();
    corner.fixture.client = client;
}

fn busy(error: SubmitError) -> Duration {
    let SubmitError::Busy { queue, retry_after } = error else { panic!("{error}") };
    assert_eq!(queue, TOYS);
    retry_after
}

#[tokio::test]
async fn as_many_jobs_as_fit_are_accepted_in_order_and_the_rest_are_told_to_wait() {
    let mut corner = Corner::new().await;
    decide(&mut corner, &Policy { max_depth: Some(200), ..Policy::default() }).await;
    corner.submit(job().after(HOUR)).await.unwrap();
    let submissions: Vec<_> = (0..300).map(|_| job()).collect();
    let submitted = corner.fixture.client.submit_each(submissions.clone()).await.unwrap();
    for (number, (submitted, submission)) in submitted.into_iter().zip(&submissions).enumerate() {
        match submitted {
            Ok(accepted) => assert!(number < 199 && accepted.id == submission.envelope.id),
            Err(error) => assert!(number >= 199 && busy(error) >= Duration::from_millis(100)),
        }
    }
    assert_eq!(corner.depth().await, (199, 1));
    let (entry, _) = corner.begin().await;
    assert!(corner.submit(job()).await.is_err(), "what runs counts too");
    corner.settle(&entry, Verb::Done).await;
    assert!(corner.submit(job()).await.is_ok());
}

#[tokio::test]
async fn a_full_queue_still_answers_for_what_it_holds_and_takes_a_replacement() {
    let mut corner = Corner::new().await;
    decide(&mut corner, &Policy { max_depth: Some(1), ..Policy::default() }).await;
    let first = corner.submit(job_with("k", Mode::Existing, HOUR)).await.unwrap().id;
    assert_eq!(corner.submit(job_with("k", Mode::Existing, HOUR)).await.unwrap().id, first);
    let second = corner.submit(job_with("k", Mode::Replace, HOUR)).await.unwrap();
    assert_eq!((second.replaced, corner.depth().await), (Some(first), (1, 0)));
    busy(corner.submit(job_with("other", Mode::Reject, HOUR)).await.unwrap_err());
    decide(&mut corner, &Policy { max_depth: Some(2), ..Policy::default() }).await;
    assert!(corner.submit(job_with("other", Mode::Reject, HOUR)).await.is_ok(), "a refusal took no key");
}

#[tokio::test]
async fn a_closed_queue_takes_nothing() {
    let mut corner = Corner::new().await;
    decide(&mut corner, &Policy { closed: true, ..Policy::default() }).await;
    for submission in [job(), job().after(HOUR), job_with("k", Mode::Reject, HOUR)] {
        let refused = corner.submit(submission).await.unwrap_err();
        assert!(matches!(&refused, SubmitError::Closed(queue) if *queue == TOYS), "{refused}");
    }
    assert_eq!(corner.depth().await, (0, 0));
    decide(&mut corner, &Policy::default()).await;
    assert!(corner.submit(job_with("k", Mode::Reject, HOUR)).await.is_ok());
}

#[tokio::test]
async fn a_budget_of_bytes_holds_and_one_large_job_can_still_come_in() {
    let mut corner = Corner::new().await;
    let size = u64::try_from(job().envelope.write().len()).unwrap();
    decide(&mut corner, &Policy { max_bytes: Some(3 * size - 1), ..Policy::default() }).await;
    let submitted = corner.fixture.client.submit_each((0..5).map(|_| job()).collect()).await.unwrap();
    assert_eq!(submitted.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, true, false, false]);
    busy(corner.submit(job()).await.unwrap_err());
}

#[tokio::test]
async fn measured_bytes_make_room_again_and_the_wait_follows_the_rate() {
    let mut corner = Corner::new().await;
    let policy = Policy { max_depth: Some(10_000), max_bytes: Some(60_000), ..Policy::default() };
    decide(&mut corner, &policy).await;
    let (connection, mut budgets) = (corner.fixture.connection().await, Budgets::default());
    let fill = async || {
        let submitted = corner.fixture.client.submit_each((0..1_000).map(|_| job()).collect()).await.unwrap();
        submitted.into_iter().filter_map(Result::err).map(busy).collect::<Vec<_>>()
    };
    let refused = fill().await;
    let n_accepted = 1_000 - refused.len();
    assert!((1..1_000).contains(&n_accepted) && refused[0] == Duration::from_secs(1), "no rate is known yet");
    budgets.measure(&connection, &corner.partition.keys, Format::Json).await.unwrap();
    assert!(corner.submit(job()).await.is_err(), "it is as full as it was counted, or fuller");

    for _ in 0..n_accepted {
        let (entry, _) = corner.begin().await;
        corner.settle(&entry, Verb::Done).await;
    }
    let now_ms = async || corner.fixture.client.connection().now_ms().await.unwrap();
    let begun_ms = now_ms().await;
    eventually("some time for a rate", async || (now_ms().await > begun_ms + 5).then_some(())).await;
    budgets.measure(&connection, &corner.partition.keys, Format::Json).await.unwrap();
    let refused = fill().await;
    assert!(refused.len() < 1_000, "what left makes room");
    assert_ne!(refused[0], Duration::from_secs(1), "by the rate at which jobs left");
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Nothing {}
impl Output for Nothing {}

impl Job for Nothing {
    const KIND: &'static str = "toy.nothing";
    const QUEUE: QueueName = TOYS;
    type Context = ();
    type Output = Nothing;
    async fn run(self, _attempt: &Attempt<()>) -> Result<Nothing, JobError> {
        Ok(self)
    }
}

#[tokio::test]
async fn a_worker_measures_a_queue_while_it_has_a_budget() {
    let mut corner = Corner::new().await;
    let registry = Registry::default().job::<Nothing>().unwrap();
    let options = WorkerOptions { n_partitions: 1, format: Format::Json, ..WorkerOptions::default() };
    let worker = RunningWorker::start(&corner.fixture, registry, Arc::new(()), options).await;
    let url: url::Url = corner.fixture.dragonfly_url.parse().unwrap();
    let control = corner.partition.keys.control.clone();
    let known = async |field: &str| {
        let mut plain = Resp::connect(url.port().unwrap()).await.unwrap();
        plain.ask(&["HGET", &control, field]).await.unwrap()
    };
    eventually("the format of completions", async || (known("format").await == "j").then_some(())).await;
    assert_eq!(known("bytes").await, "$-1", "nothing is measured without a budget");
    decide(&mut corner, &Policy { max_bytes: Some(1_000_000), ..Policy::default() }).await;
    for field in ["bytes", "rate"] {
        eventually(field, async || known(field).await.parse::<u64>().ok()).await;
    }
    worker.stop().await;
}
