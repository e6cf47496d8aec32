//! Second tries: by what went wrong, and no faster than the budget.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use engine::{
    client::Submission,
    handler::{Attempt, Job, Output},
    job::{JobId, QueueName},
    outcome::JobError,
    registry::Registry,
    retry::{Backoff, Jitter, RetryPolicy},
    retry_budget::RetryLimits,
    store::DeadFilter,
};
use harness::{Fixture, RunningWorker, WorkerOptions, eventually};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

const TRIES: QueueName = QueueName::from_static("tries");

/// When which job ran.
#[derive(Default)]
struct Runs(Mutex<HashMap<JobId, Vec<Instant>>>);

#[derive(Serialize, Deserialize, JsonSchema)]
struct Tried {
    attempt: u32,
}
impl Output for Tried {}

/// Fails until an attempt.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Try {
    until: u32,
    class: String,
}

const QUICK: RetryPolicy = RetryPolicy {
    max_attempts: 2,
    base: Duration::from_millis(10),
    backoff: Backoff::Fixed,
    jitter: Jitter::None,
    ..RetryPolicy::DEFAULT
};

impl Job for Try {
    const KIND: &'static str = "tries.try";
    const QUEUE: QueueName = TRIES;
    const RETRY: RetryPolicy = QUICK;
    const RETRIES: &'static [(&'static str, RetryPolicy)] = &[
        ("busy", RetryPolicy { max_attempts: 6, ..QUICK }),
        ("old", RetryPolicy { max_attempts: 1_000, max_age: Some(Duration::from_millis(200)), ..QUICK }),
        ("hopeless", RetryPolicy::NEVER),
    ];
    type Context = Runs;
    type Output = Tried;
    async fn run(self, attempt: &Attempt<Runs>) -> Result<Tried, JobError> {
        attempt.context().0.lock().await.entry(attempt.id).or_default().push(Instant::now());
        let class = ["busy", "old", "hopeless"].into_iter().find(|class| *class == self.class);
        match class {
            _ if attempt.number >= self.until => Ok(Tried { attempt: attempt.number }),
            Some(class) => Err(JobError::retry("not yet").class(class)),
            None => Err("not yet".into()),
        }
    }
}

fn registry() -> Registry<Runs> {
    Registry::default().job::<Try>().unwrap()
}

fn job(class: &str, until: u32) -> Submission {
    Submission::job(&Try { until, class: class.to_owned() }).unwrap()
}

#[tokio::test]
async fn the_class_of_an_error_decides_how_often_a_job_is_tried() {
    let fixture = Fixture::new().await;
    let runs = Arc::new(Runs::default());
    let worker = RunningWorker::start(&fixture, registry(), Arc::clone(&runs), WorkerOptions::default()).await;
    let [usual, busy, old, hopeless] = [("other", 9), ("busy", 9), ("old", 2_000), ("hopeless", 9)];
    let jobs = [usual, busy, old, hopeless].map(|(class, until)| job(class, until));
    let ids = fixture.client.submit_all(jobs.into()).await.unwrap();
    eventually("all are given up", || async { (fixture.depth(&TRIES).await == (0, 4)).then_some(()) }).await;
    let runs = runs.0.lock().await;
    let n_runs: Vec<usize> = ids.iter().map(|id| runs[id].len()).collect();
    assert_eq!((n_runs[0], n_runs[1], n_runs[3]), (2, 6, 1));
    let times = &runs[&ids[2]];
    // No attempt is begun for long after the greatest age: of the two thousand that its policy allows most are never made.
    let lasted = *times.last().unwrap() - times[0];
    let slowest = times.windows(2).map(|two| two[1] - two[0]).max().unwrap_or_default();
    assert!(n_runs[2] > 1 && lasted < Duration::from_secs(2).max(10 * slowest), "{} attempts in {lasted:?}", n_runs[2]);
    let filter = DeadFilter { class: Some("old".to_owned()), ..DeadFilter::default() };
    assert_eq!(fixture.store.dead_jobs(&filter, 9).await.unwrap().len(), 1);
    worker.stop().await;
}

#[tokio::test]
async fn a_storm_of_failing_jobs_comes_back_no_faster_than_the_budget_and_all_of_it_ends() {
    const FLOOR: u32 = 25;
    const N_JOBS: usize = 350;
    let fixture = Fixture::new().await;
    let runs = Arc::new(Runs::default());
    let retry_limits = RetryLimits { ratio: 0.0, per_second: FLOOR };
    let options = WorkerOptions { retry_limits, ..WorkerOptions::default() };
    let worker = RunningWorker::start(&fixture, registry(), Arc::clone(&runs), options).await;
    fixture.client.submit_all((0..N_JOBS).map(|_| job("other", 2)).collect()).await.unwrap();
    eventually("all are done", || async {
        (fixture.number("select count(*) from job_results").await == N_JOBS as i64).then_some(())
    })
    .await;
    assert_eq!(fixture.until_idle(&TRIES).await, 0, "nothing is given up");
    let runs = runs.0.lock().await;
    assert!(runs.len() == N_JOBS && runs.values().all(|times| times.len() == 2), "each failed once, then succeeded");
    let begin = runs.values().map(|times| times[0]).min().unwrap();
    let mut again: Vec<Duration> = runs.values().map(|times| times[1] - begin).collect();
    again.sort_unstable();
    for (n_before, at) in again.iter().enumerate() {
        // Ten seconds' worth is saved up at the start; the server's clock counts whole milliseconds.
        let allowed = f64::from(FLOOR) * (10.0 + at.as_secs_f64()) + 2.0;
        assert!(n_before as f64 <= allowed, "{n_before} second tries within {at:?}, {allowed} are allowed");
    }
    assert!(again[N_JOBS - 1] > Duration::from_secs(3), "{:?}", again[N_JOBS - 1]);
    worker.stop().await;
}
