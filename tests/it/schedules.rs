//! Schedules: once a slot, whoever lives or dies; and what an operator does with them.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use engine::{
    handler::{Attempt, Job, Output},
    job::{JobId, QueueName},
    outcome::JobError,
    registry::Registry,
    schedule::job_id,
    store::{NewSchedule, Schedule},
};
use harness::{Fixture, RunningWorker, WorkerOptions, eventually};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const BELLS: QueueName = QueueName::from_static("bells");

#[derive(Serialize, Deserialize, JsonSchema)]
struct Rung {
    bell: String,
}
impl Output for Rung {}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Ring {
    bell: String,
}

impl Job for Ring {
    const KIND: &'static str = "bells.ring";
    const QUEUE: QueueName = BELLS;
    type Context = ();
    type Output = Rung;
    async fn run(self, _attempt: &Attempt<()>) -> Result<Rung, JobError> {
        Ok(Rung { bell: self.bell })
    }
}

async fn start(fixture: &Fixture) -> RunningWorker {
    let registry = Registry::default().job::<Ring>().unwrap();
    RunningWorker::start(fixture, registry, Arc::new(()), WorkerOptions::default()).await
}

/// Keeps a schedule whose first slot was so long ago.
async fn keep(fixture: &Fixture, cron: &str, missed: &str, ago: TimeDelta) {
    let first = fixture.store.now().await.unwrap() - ago;
    let first = first - TimeDelta::nanoseconds(i64::from(first.timestamp_subsec_nanos()));
    let schedule = NewSchedule {
        name: "bell".to_owned(),
        kind: Ring::KIND.to_owned(),
        queue: BELLS.to_string(),
        payload: json!({ "bell": "big" }),
        user_id: Some("ann".to_owned()),
        priority: 2,
        cron: cron.to_owned(),
        zone: "Europe/Berlin".to_owned(),
        missed: missed.to_owned(),
        next_at: first,
    };
    assert!(fixture.store.keep_schedule(&schedule, false).await.unwrap());
}

async fn bell(fixture: &Fixture) -> Schedule {
    fixture.store.schedules(Some("bell")).await.unwrap().remove(0)
}

async fn n_results(fixture: &Fixture) -> i64 {
    fixture.number("select count(*) from job_results").await
}

#[tokio::test]
async fn each_slot_fires_once_however_many_workers_run_and_while_one_is_killed() {
    let fixture = Fixture::new().await;
    keep(&fixture, "* * * * * *", "all:1000", TimeDelta::seconds(40)).await;
    let first = bell(&fixture).await.next_at;
    let (killed, left, other) = tokio::join!(start(&fixture), start(&fixture), start(&fixture));
    eventually("the slots that were missed", || async { (n_results(&fixture).await >= 40).then_some(()) }).await;
    killed.kill();
    eventually("slots after a death", || async { (bell(&fixture).await.n_fired >= 46).then_some(()) }).await;
    assert!(fixture.store.pause_schedule("bell").await.unwrap());
    // A ticker that read the schedule before the pause may still fire.
    let schedule = eventually("a schedule that rests", || async {
        let before = bell(&fixture).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        (bell(&fixture).await == before).then_some(before)
    })
    .await;
    let last = schedule.last_slot.unwrap();
    let slots = (0..=(last - first).num_seconds()).map(|n| first + TimeDelta::seconds(n));
    let ids: Vec<JobId> = slots.map(|slot| job_id("bell", slot)).collect();
    assert_eq!((ids.len() as i64, 0), (schedule.n_fired, schedule.n_skipped), "as many as there were slots");
    eventually("every slot's result", || async {
        (fixture.store.results(&ids).await.unwrap().len() == ids.len()).then_some(())
    })
    .await;
    assert_eq!(n_results(&fixture).await, schedule.n_fired, "and no other job");
    assert_eq!(fixture.number("select count(*) from job_results where user_id = 'ann'").await, schedule.n_fired);
    left.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn missed_slots_run_once_unless_more_is_wished() {
    let fixture = Fixture::new().await;
    keep(&fixture, "* * * * *", "once", TimeDelta::hours(1)).await;
    let worker = start(&fixture).await;
    let schedule = eventually("the last of the missed slots", || async {
        Some(bell(&fixture).await).filter(|schedule| schedule.n_fired > 0)
    })
    .await;
    assert!((1..=2).contains(&schedule.n_fired) && schedule.n_skipped >= 58, "{schedule:?}");
    worker.stop().await;
}

#[tokio::test]
async fn a_schedule_that_cannot_be_read_is_paused_and_says_why() {
    let fixture = Fixture::new().await;
    keep(&fixture, "every now and then", "once", TimeDelta::hours(1)).await;
    let worker = start(&fixture).await;
    let problem = eventually("a problem", || async { bell(&fixture).await.problem }).await;
    assert!(problem.contains("`every now and then`") && bell(&fixture).await.paused, "{problem}");
    assert_eq!(bell(&fixture).await.n_fired, 0);
    worker.stop().await;
}

#[tokio::test]
async fn schedules_are_kept_shown_paused_resumed_and_forgotten() {
    let fixture = Fixture::new().await;
    let add = ["schedule", "add", "nightly", "diagnostics.probe", "{\"say\": \"hello\"}", "--cron", "30 2 * * *"];
    let added = fixture.run(&[&add[..], &["--zone", "Europe/Berlin", "--missed", "all:3", "--json"]].concat()).await;
    let added = added.json();
    assert_eq!((&added["queue"], &added["missed"]), (&json!("diagnostics"), &json!("all:3")));
    let twice = fixture.run(&add).await;
    assert!(!twice.success && twice.stderr.contains("--replace"), "{twice:?}");
    assert!(fixture.run(&[&add[..], &["--replace"]].concat()).await.stdout.contains("+00:00"));
    assert_eq!(fixture.run(&["schedule", "show", "nightly", "--json"]).await.json()["zone"], "UTC");
    assert!(fixture.run(&["schedule", "list"]).await.stdout.contains("30 2 * * *"));
    assert_eq!(fixture.run(&["schedule", "pause", "nightly", "--json"]).await.json()["paused"], true);
    assert!(fixture.run(&["schedule", "show", "nightly"]).await.stdout.contains("paused"));
    assert_eq!(fixture.run(&["schedule", "resume", "nightly", "--json"]).await.json()["paused"], false);
    let next = fixture.run(&["schedule", "next", "nightly", "--count", "3", "--json"]).await;
    let slots: Vec<Value> = next.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(slots.len() == 3 && slots.iter().all(|slot| slot["local"].as_str().unwrap().contains("T02:30:00")));
    assert_eq!(slots[0]["slot"], fixture.run(&["schedule", "show", "nightly", "--json"]).await.json()["next_at"]);
    let tried = fixture.run(&["schedule", "next", "--cron", "0 9 * * MON", "--zone", "Asia/Tokyo"]).await.stdout;
    assert!(tried.lines().count() == 5 && tried.contains("T09:00:00+09:00"), "{tried}");
    assert!(fixture.run(&["schedule", "remove", "nightly"]).await.success);
    assert!(fixture.run(&["schedule", "list", "--json"]).await.stdout.is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_a_schedule_is_told() {
    let fixture = Fixture::new().await;
    let add = async |kind, payload, more: [&str; 4]| {
        let words = [&["schedule", "add", "nightly", kind, payload][..], &more].concat();
        let said = fixture.run(&words).await;
        assert!(!said.success && said.stderr.starts_with("error: ") && said.stdout.is_empty(), "{said:?}");
        said.stderr
    };
    let probe = "diagnostics.probe";
    let pattern = add(probe, "{}", ["--cron", "61 * * * *", "--zone", "UTC"]).await;
    assert!(pattern.contains("`61 * * * *`") && pattern.contains("expected minute, hour"), "{pattern}");
    let zone = add(probe, "{}", ["--cron", "* * * * *", "--zone", "Mars/Base"]).await;
    assert!(zone.contains("`Mars/Base`") && zone.contains("IANA"), "{zone}");
    let kind = add("diagnostics.prob", "{}", ["--cron", "* * * * *", "--zone", "UTC"]).await;
    assert!(kind.contains("`diagnostics.prob`") && kind.contains(probe), "{kind}");
    let payload = add(probe, "{\"sleep\": 1}", ["--cron", "* * * * *", "--zone", "UTC"]).await;
    assert!(payload.contains("`sleep`"), "{payload}");
    let missed = add(probe, "{}", ["--cron", "* * * * *", "--missed", "twice"]).await;
    assert!(missed.contains("`twice`") && missed.contains("all:N"), "{missed}");
    for verb in ["show", "pause", "resume", "remove", "next"] {
        let said = fixture.run(&["schedule", verb, "nobody"]).await;
        assert!(!said.success && said.stderr.contains("no schedule `nobody`"), "{said:?}");
    }
}
