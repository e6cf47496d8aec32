//! Jobs from submission to a committed result and a completion.

mod toys;

use std::{collections::HashMap, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use engine::{
    client::Submission,
    completions::Filter,
    dead_letters::{DeadLetters, Manner},
    envelope::Options,
    job::{JobId, Priority},
    outcome::Status,
    store::DeadFilter,
};
use harness::{Fixture, WorkerOptions, eventually, patience};

use self::toys::{Echo, Rows, TOYS, Toys, Wait, fails, started};

#[tokio::test]
async fn every_job_has_one_result_and_one_completion() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let mut completions = fixture.client.completions(&Filter::Queue(TOYS)).await.unwrap();
    let worker = started(&fixture, &toys, WorkerOptions::default()).await;
    let submissions = (0..500).map(|n| Submission::job(&Echo { n }).unwrap()).collect();
    let ids = fixture.client.submit_all(submissions).await.unwrap();
    let mut seen: HashMap<JobId, u32> = HashMap::new();
    while seen.len() < ids.len() {
        let batch = completions.next().await.unwrap();
        assert!(!batch.missed);
        for completion in batch.completions {
            assert_eq!(completion.status, Status::Done);
            *seen.entry(completion.id).or_default() += 1;
        }
    }
    assert!(ids.iter().all(|id| seen[id] == 1));
    assert_eq!(fixture.until_idle(&TOYS).await, 0);
    assert_eq!(fixture.number("select count(*) from job_results").await, 500);
    assert!(toys.runs.lock().await.values().all(|&n_runs| n_runs == 1));
    worker.stop().await;
}

#[tokio::test]
async fn a_submitter_can_wait_for_its_own_completion() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let worker = started(&fixture, &toys, WorkerOptions::default()).await;
    let submission = Submission::job(&Echo { n: 7 }).unwrap();
    let completion = fixture.client.submit_and_wait(submission, patience()).await.unwrap();
    assert_eq!(completion.result, Some(serde_json::json!({ "n": 7 })));
    assert_eq!(fixture.result(completion.id).await, serde_json::json!({ "n": 7 }));
    worker.stop().await;
}

#[tokio::test]
async fn json_straight_onto_a_stream_is_a_job_and_json_completions_come_back() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let options = WorkerOptions { format: engine::completion::Format::Json, ..WorkerOptions::default() };
    let worker = started(&fixture, &toys, options).await;
    let mut completions = fixture.client.completions(&Filter::Kind("toy.echo".parse().unwrap())).await.unwrap();
    let json = Bytes::from_static(br#"{"kind": "toy.echo", "payload": {"n": 3}, "user_id": "ann"}"#);
    fixture.client.submit_bytes(&TOYS, json).await.unwrap();
    let completion = completions.next().await.unwrap().completions.remove(0);
    assert_eq!((completion.status, completion.user_id.as_deref()), (Status::Done, Some("ann")));
    worker.stop().await;
}

#[tokio::test]
async fn a_failing_job_is_retried_then_dead_and_can_be_put_back() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let worker = started(&fixture, &toys, WorkerOptions::default()).await;
    let completion = fixture.client.submit_and_wait(fails("error"), patience()).await.unwrap();
    assert_eq!((completion.status, completion.attempt), (Status::Dead, 3));
    let dead = fixture.store.dead_jobs(&DeadFilter::default(), 10).await.unwrap();
    let letter = engine::letter::Letter::read(&dead[0].letter).unwrap();
    assert_eq!(letter.errors.len(), 3, "the whole chain of attempts is kept");
    assert_eq!((dead[0].class.as_str(), dead[0].kind.as_str()), ("error", "toy.fail"));

    toys.broken.store(false, Ordering::SeqCst);
    let queues = fixture.client.queues().await.unwrap();
    let letters = DeadLetters {
        connection: fixture.connection().await,
        keys: fixture.keys.clone(),
        store: fixture.store.clone(),
        queues,
    };
    let dry = letters.redrive(&DeadFilter::default(), Manner { dry_run: true, per_second: None }, drop).await.unwrap();
    assert_eq!((dry.matched, dry.done), (1, 0));
    let filter = DeadFilter { id: Some(completion.id), ..DeadFilter::default() };
    let redriven = letters.redrive(&filter, Manner::default(), drop).await.unwrap();
    assert_eq!((redriven.matched, redriven.done), (1, 1));
    assert_eq!(fixture.result(completion.id).await, serde_json::json!({ "n": 1 }));
    assert_eq!(fixture.until_idle(&TOYS).await, 0);
    assert_eq!(fixture.number("select count(*) from dead_jobs").await, 0);
    worker.stop().await;
}

#[tokio::test]
async fn panics_time_outs_and_refusals_are_told_apart() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let worker = started(&fixture, &toys, WorkerOptions::default()).await;
    for (how, class, status, attempt) in [
        ("panic", "panic", Status::Dead, 3),
        ("hang", "timeout", Status::Dead, 3),
        ("refuse", "refused", Status::Failed, 1),
    ] {
        let completion = fixture.client.submit_and_wait(fails(how), patience()).await.unwrap();
        let error = completion.error.unwrap();
        assert_eq!((error.class.as_str(), completion.status, completion.attempt), (class, status, attempt), "{how}");
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_snooze_costs_no_attempt() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let worker = started(&fixture, &toys, WorkerOptions::default()).await;
    let completion = fixture.client.submit_and_wait(fails("snooze"), patience()).await.unwrap();
    assert_eq!((completion.status, completion.attempt), (Status::Done, 1));
    worker.stop().await;
}

#[tokio::test]
async fn a_delayed_job_waits_by_the_servers_clock() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let worker = started(&fixture, &toys, WorkerOptions::default()).await;
    let before_ms = fixture.client.connection().now_ms().await.unwrap();
    let delayed = Submission::job(&Echo { n: 1 }).unwrap().after(Duration::from_millis(400));
    let completion = fixture.client.submit_and_wait(delayed, patience()).await.unwrap();
    assert!(completion.timings.queued_ms >= before_ms + 400, "{completion:?} {before_ms}");

    let run_at_ms = fixture.client.connection().now_ms().await.unwrap() + 300;
    let json = format!(r#"{{"kind":"toy.echo","payload":{{"n":2}},"run_at":{run_at_ms},"notify":["reply:r"]}}"#);
    let mut replies = fixture.client.completions(&Filter::Reply("r".to_owned())).await.unwrap();
    fixture.client.submit_bytes(&TOYS, Bytes::from(json)).await.unwrap();
    let completion = replies.next().await.unwrap().completions.remove(0);
    assert!(completion.timings.started_ms + 5 >= run_at_ms, "put straight onto the stream, it is parked until then");
    worker.stop().await;
}

#[tokio::test]
async fn what_cannot_be_run_goes_to_the_dead_letters_and_the_loop_goes_on() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let options = WorkerOptions { max_payload_bytes: 2_000, ..WorkerOptions::default() };
    let worker = started(&fixture, &toys, options).await;
    let garbage = Bytes::from_static(&[0xc1, 0x00, 0xff]);
    let oversized = Bytes::from(format!(r#"{{"kind":"toy.echo","payload":{{"n":1}},"meta":"{}"}}"#, "x".repeat(3_000)));
    let bad: [(Bytes, &str); 5] = [
        (garbage.clone(), "unreadable"),
        (Bytes::from_static(br#"{"kind":"toy.unheard_of","payload":{}}"#), "unknown_kind"),
        (Bytes::from_static(br#"{"kind":"toy.echo","payload":{"n":"x"}}"#), "bad_payload"),
        (Bytes::from_static(br#"{"kind":"toy.echo","payload":{"n":1,"m":2}}"#), "bad_payload"),
        (oversized, "oversized"),
    ];
    for (bytes, _) in &bad {
        fixture.client.submit_bytes(&TOYS, bytes.clone()).await.unwrap();
    }
    let completion =
        fixture.client.submit_and_wait(Submission::job(&Echo { n: 1 }).unwrap(), patience()).await.unwrap();
    assert_eq!(completion.status, Status::Done, "the loop goes on");
    assert_eq!(fixture.until_idle(&TOYS).await, 5);
    let dead = fixture.store.dead_jobs(&DeadFilter::default(), 10).await.unwrap();
    let mut classes: Vec<&str> = dead.iter().map(|job| job.class.as_str()).collect();
    classes.sort_unstable();
    assert_eq!(classes, ["bad_payload", "bad_payload", "oversized", "unknown_kind", "unreadable"]);
    let unreadable = dead.iter().find(|job| job.class == "unreadable").unwrap();
    assert_eq!(engine::letter::Letter::read(&unreadable.letter).unwrap().envelope, garbage, "its bytes are kept");
    worker.stop().await;
}

#[tokio::test]
async fn a_newer_version_of_a_known_kind_waits_for_a_newer_worker() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let worker = started(&fixture, &toys, WorkerOptions::default()).await;
    fixture.client.submit_bytes(&TOYS, Bytes::from_static(br#"{"kind":"toy.echo.v2","payload":{}}"#)).await.unwrap();
    fixture.client.submit_bytes(&TOYS, Bytes::from_static(br#"{"v":9,"what":"ever"}"#)).await.unwrap();
    let queues = fixture.client.queues().await.unwrap();
    eventually("both parked", || async {
        let mut later = 0;
        for tag in &queues[&TOYS] {
            let keys = fixture.keys.partition(tag);
            later += engine::broker::sampling::depths(fixture.client.connection(), &keys).await.unwrap().later;
        }
        (later == 2).then_some(())
    })
    .await;
    assert_eq!(fixture.number("select count(*) from dead_jobs").await, 0);
    worker.stop().await;
}

#[tokio::test]
async fn urgent_jobs_go_first_and_a_flood_of_them_does_not_stop_the_rest() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let with = |n, priority| Submission::job(&Echo { n }).unwrap().with(Options { priority, ..Options::default() });
    let mut submissions: Vec<Submission> = (0..20).map(|n| with(n, Priority::Low)).collect();
    submissions.extend((100..400).map(|n| with(n, Priority::High)));
    fixture.client.submit_all(submissions).await.unwrap();
    let options = WorkerOptions { concurrency: 16, n_partitions: 1, ..WorkerOptions::default() };
    let worker = started(&fixture, &toys, options).await;
    fixture.until_idle(&TOYS).await;
    let order = toys.order.lock().await;
    let urgent_in_front = order.iter().take(14).filter(|&&n| n >= 100).count();
    assert!(urgent_in_front >= 10, "{order:?}");
    let first_low = order.iter().position(|&n| n < 100).unwrap();
    assert!(first_low < 200, "a low one is served before the urgent ones are through");
    drop(order);
    worker.stop().await;
}

#[tokio::test]
async fn a_killed_workers_jobs_are_finished_by_another() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let doomed = started(&fixture, &toys, WorkerOptions::default()).await;
    let ids = fixture.client.submit_all((0..10).map(|_| Submission::job(&Wait {}).unwrap()).collect()).await.unwrap();
    eventually("all of them running", || async { (toys.runs.lock().await.len() == 10).then_some(()) }).await;
    doomed.kill();
    let heir = started(&fixture, &toys, WorkerOptions::default()).await;
    toys.gate.add_permits(1_000);
    for id in ids {
        fixture.result(id).await;
    }
    assert_eq!(fixture.until_idle(&TOYS).await, 0);
    assert!(toys.runs.lock().await.values().all(|&n_runs| n_runs == 2));
    heir.stop().await;
}

#[tokio::test]
async fn a_stopping_worker_finishes_what_runs_and_hands_back_the_rest() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let options = WorkerOptions { concurrency: 2, n_partitions: 1, ..WorkerOptions::default() };
    let leaving = started(&fixture, &toys, options).await;
    fixture.client.submit_all((0..6).map(|_| Submission::job(&Wait {}).unwrap()).collect()).await.unwrap();
    eventually("two of them running", || async { (toys.runs.lock().await.len() == 2).then_some(()) }).await;
    let stopping = tokio::spawn(leaving.stop());
    toys.gate.add_permits(6);
    stopping.await.unwrap();
    let n_done = fixture.number("select count(*) from job_results").await;
    assert!((2..6).contains(&n_done), "the two that ran are done, the rest are not: {n_done}");
    let other = started(&fixture, &toys, WorkerOptions::default()).await;
    assert_eq!(fixture.until_idle(&TOYS).await, 0);
    assert!(toys.runs.lock().await.values().all(|&n_runs| n_runs == 1), "nothing ran twice");
    other.stop().await;
}

#[tokio::test]
async fn a_healthy_job_of_several_leases_runs_once() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let options = WorkerOptions { lease: Duration::from_secs(1), ..WorkerOptions::default() };
    let one = started(&fixture, &toys, options.clone()).await;
    let two = started(&fixture, &toys, options).await;
    let id = fixture.client.submit(Submission::job(&Wait {}).unwrap()).await.unwrap();
    // The server's own clock says that three leases have passed.
    let begun_ms = fixture.client.connection().now_ms().await.unwrap();
    eventually("three leases", || async {
        (fixture.client.connection().now_ms().await.unwrap() > begun_ms + 3_000).then_some(())
    })
    .await;
    toys.gate.add_permits(1);
    fixture.result(id).await;
    assert_eq!(toys.runs.lock().await[&id], 1);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn rows_commit_with_their_results_and_a_bad_row_fails_alone() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    sqlx::query("create table toy_rows (n int check (n <> 13))").execute(&fixture.pool).await.unwrap();
    let worker = started(&fixture, &toys, WorkerOptions::default()).await;
    let submissions = (0..100).map(|n| Submission::batch_job(&Rows { n }).unwrap()).collect();
    let ids = fixture.client.submit_all(submissions).await.unwrap();
    assert_eq!(fixture.until_idle(&TOYS).await, 1, "the bad one alone is dead");
    assert_eq!(fixture.number("select count(*) from toy_rows").await, 99);
    assert_eq!(fixture.number("select count(*) from job_results").await, 99);
    assert!(fixture.result(ids[0]).await["rows"].as_u64().unwrap() >= 1, "writing completed the result");
    assert!(toys.batches.load(Ordering::SeqCst) < 50, "jobs ran together");
    let dead = fixture.store.dead_jobs(&DeadFilter::default(), 10).await.unwrap();
    assert_eq!((dead[0].class.as_str(), dead[0].id), ("rows", ids[13]));
    worker.stop().await;
}

#[tokio::test]
async fn the_same_job_submitted_twice_has_one_effect() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    sqlx::query("create table toy_rows (n int)").execute(&fixture.pool).await.unwrap();
    let submission = Submission::batch_job(&Rows { n: 1 }).unwrap();
    fixture.client.submit_all(vec![submission.clone(), submission]).await.unwrap();
    let worker = started(&fixture, &toys, WorkerOptions::default()).await;
    fixture.until_idle(&TOYS).await;
    assert_eq!(fixture.number("select count(*) from toy_rows").await, 1);
    assert_eq!(fixture.number("select count(*) from job_results").await, 1);
    worker.stop().await;
}
