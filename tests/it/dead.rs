//! Dead letters: which ones a filter means, what is shown of them, and how long they are kept.

use std::{sync::Arc, time::Duration};

use engine::{
    client::Submission,
    dead_letters::{DeadLetters, Manner},
    envelope::Options,
    handler::{Attempt, Job, Output},
    job::{JobId, QueueName},
    letter::Letter,
    outcome::JobError,
    registry::Registry,
    retry::{Jitter, RetryPolicy},
    store::DeadFilter,
};
use harness::{Fixture, RunningWorker, WorkerOptions, eventually};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const GRAVES: QueueName = QueueName::from_static("graves");
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[derive(Serialize, Deserialize, JsonSchema)]
struct Never {}
impl Output for Never {}

/// Fails twice, of one of two classes.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Fail {
    wet: bool,
}

impl Job for Fail {
    const KIND: &'static str = "graves.fail";
    const QUEUE: QueueName = GRAVES;
    const RETRY: RetryPolicy =
        RetryPolicy { max_attempts: 2, base: Duration::from_millis(10), jitter: Jitter::None, ..RetryPolicy::DEFAULT };
    type Context = ();
    type Output = Never;
    async fn run(self, attempt: &Attempt<()>) -> Result<Never, JobError> {
        let cause = std::io::Error::other(format!("the cause of attempt {}", attempt.number));
        Err(JobError::retry(cause).class(if self.wet { "drowned" } else { "starved" }))
    }
}

async fn start(fixture: &Fixture, dead_retention: Option<Duration>) -> RunningWorker {
    let registry = Registry::default().job::<Fail>().unwrap();
    RunningWorker::start(fixture, registry, Arc::new(()), WorkerOptions { dead_retention, ..WorkerOptions::default() })
        .await
}

/// Two of ann's that drowned, one of bob's that starved.
async fn three_dead(fixture: &Fixture) -> [JobId; 3] {
    let jobs = [(true, "ann"), (true, "ann"), (false, "bob")].map(|(wet, user)| {
        let traceparent = Some(format!("00-{TRACE}-b7ad6b7169203331-01"));
        let options = Options { user_id: Some(user.to_owned()), traceparent, ..Options::default() };
        Submission::job(&Fail { wet }).unwrap().with(options)
    });
    let ids = [0, 1, 2].map(|n: usize| jobs[n].envelope.id);
    fixture.client.submit_all(jobs.into()).await.unwrap();
    eventually("three dead", || async { (fixture.depth(&GRAVES).await == (0, 3)).then_some(()) }).await;
    ids
}

async fn n_dead(fixture: &Fixture) -> (u64, i64) {
    (fixture.depth(&GRAVES).await.1, fixture.number("select count(*) from dead_jobs where redriven_at is null").await)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn every_verb_takes_every_filter() {
    let fixture = Fixture::new().await;
    let worker = start(&fixture, None).await;
    let [_, _, starved] = three_dead(&fixture).await;
    worker.stop().await;
    let id = starved.to_string();
    let filters: [(&[&str], usize); 9] = [
        (&["--id", &id], 1),
        (&["--queue", "graves"], 3),
        (&["--kind", "graves.fail"], 3),
        (&["--class", "drowned"], 2),
        (&["--user", "bob"], 1),
        (&["--class", "drowned", "--user", "bob"], 0),
        (&["--since", "2020-01-01T00:00:00Z"], 3),
        (&["--until", "2020-01-01T00:00:00Z"], 0),
        (&["--kind", "graves.other"], 0),
    ];
    for (filter, n_meant) in filters {
        let listed = fixture.run(&[&["dead", "list", "--json"], filter].concat()).await;
        assert_eq!(lines(&listed.stdout).len(), n_meant, "list {filter:?}");
        let shown = fixture.run(&[&["dead", "show", "--json"], filter].concat()).await;
        assert_eq!((lines(&shown.stdout).len(), shown.success), (n_meant, n_meant > 0), "show {filter:?}");
        for verb in ["redrive", "purge"] {
            let counted = fixture.run(&[&["dead", verb, "--dry-run", "--json"], filter].concat()).await.json();
            assert_eq!((&counted["matched"], &counted["done"]), (&json!(n_meant), &json!(0)), "{verb} {filter:?}");
        }
    }
    assert_eq!(n_dead(&fixture).await, (3, 3), "counting changes nothing");
    let purged = fixture.run(&["dead", "purge", "--class", "drowned", "--json"]).await.json();
    assert_eq!((&purged["done"], n_dead(&fixture).await), (&json!(2), (1, 1)));
    let redriven = fixture.run(&["dead", "redrive", "--user", "bob", "--json"]).await.json();
    assert_eq!((&redriven["done"], n_dead(&fixture).await), (&json!(1), (0, 0)));
}

#[tokio::test]
async fn a_dead_job_is_shown_with_every_attempt_its_worker_and_its_trace() {
    let fixture = Fixture::new().await;
    let worker = start(&fixture, None).await;
    let [id, ..] = three_dead(&fixture).await;
    worker.stop().await;
    let id = id.to_string();
    let shown = fixture.run(&["dead", "show", &id, "--json"]).await.json();
    let errors = shown["errors"].as_array().unwrap();
    for (n_before, error) in errors.iter().enumerate() {
        assert_eq!(error["chain"], json!([format!("the cause of attempt {}", n_before + 1)]));
        assert!(error["worker"].as_str().unwrap().starts_with("w-") && error["class"] == "drowned", "{error}");
    }
    assert_eq!((errors.len(), &shown["trace_id"], &shown["payload"]), (2, &json!(TRACE), &json!({ "wet": true })));
    let text = fixture.run(&["dead", "show", &id]).await.stdout;
    for needle in ["attempt 1 on w-", "attempt 2 on w-", "the cause of attempt 2", TRACE, "drowned"] {
        assert!(text.contains(needle), "`{needle}` is not in {text}");
    }
    assert!(fixture.run(&["dead", "show"]).await.stderr.contains("say which"));
}

#[tokio::test]
async fn dead_jobs_go_back_gently_and_with_all_their_attempts() {
    let fixture = Fixture::new().await;
    let worker = start(&fixture, None).await;
    let ids = three_dead(&fixture).await;
    worker.stop().await;
    let queues = engine::broker::registered(fixture.client.connection(), &fixture.keys).await.unwrap();
    let (connection, keys, store) = (fixture.connection().await, fixture.keys.clone(), fixture.store.clone());
    let letters = DeadLetters { connection, keys, store, queues };
    let begun = std::time::Instant::now();
    let gently = Manner { dry_run: false, per_second: Some(3) };
    let acted = letters.redrive(&DeadFilter::default(), gently, |_| ()).await.unwrap();
    assert!(acted.done == 3 && begun.elapsed() >= Duration::from_millis(900), "{acted:?} in {:?}", begun.elapsed());
    let worker = start(&fixture, None).await;
    eventually("three dead again", || async { (fixture.depth(&GRAVES).await == (0, 3)).then_some(()) }).await;
    let dead = fixture.store.dead_jobs(&DeadFilter::default(), 9).await.unwrap();
    assert!(dead.len() == 3 && dead.iter().all(|job| job.attempt == 2 && ids.contains(&job.id)), "{dead:?}");
    worker.stop().await;
}

/// A dead job of long ago, whose letter Dragonfly has lost.
async fn one_of_long_ago(fixture: &Fixture) {
    let dead = fixture.store.dead_jobs(&DeadFilter::default(), 1).await.unwrap().remove(0);
    let letter = Letter { id: JobId::generate(), ..Letter::read(&dead.letter).unwrap() };
    let insert = "insert into dead_jobs (id, queue, partition, kind, status, class, error, attempt, letter, died_at) \
                  values ($1, 'graves', 'graves~0', 'graves.fail', 'dead', 'old', 'old', 2, $2, now() - interval '40 days')";
    sqlx::query(insert).bind(letter.id.0).bind(&letter.write()[..]).execute(&fixture.pool).await.unwrap();
}

#[tokio::test]
async fn dead_letters_are_kept_as_long_as_a_retention_says() {
    let fixture = Fixture::new().await;
    let worker = start(&fixture, None).await;
    three_dead(&fixture).await;
    one_of_long_ago(&fixture).await;
    worker.stop().await;
    assert_eq!(n_dead(&fixture).await, (3, 4), "without a retention all are kept");
    let worker = start(&fixture, Some(Duration::from_secs(30 * 86_400))).await;
    eventually("the old one gone", || async { (n_dead(&fixture).await.1 < 4).then_some(()) }).await;
    worker.stop().await;
    assert_eq!(n_dead(&fixture).await, (3, 3), "the others are young");
    let worker = start(&fixture, Some(Duration::from_millis(1))).await;
    eventually("none left", || async { (n_dead(&fixture).await == (0, 0)).then_some(()) }).await;
    worker.stop().await;
}
