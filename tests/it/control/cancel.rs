//! A job that is taken back has no effect, wherever it was, and the world is told once.

use std::{collections::HashMap, time::Duration};

use engine::{
    client::Submission,
    completion::Completion,
    completions::{Completions, Filter},
    dedup::Dedup,
    envelope::Options,
    job::{JobId, Priority},
    operator::{Cancelled, JobState},
    outcome::Status,
    store::JournalRow,
};
use harness::{Fixture, WorkerOptions, eventually, patience};

use super::{Effect, Fails, GOVERNED, Quick, Together, Toys, operator, slow, standing, started, with_effects};

/// The next completions, until as many jobs have one.
async fn next(completions: &mut Completions, n_jobs: usize) -> Vec<Completion> {
    let mut seen = Vec::new();
    while seen.len() < n_jobs {
        let batch = tokio::time::timeout(patience(), completions.next()).await.unwrap().unwrap();
        assert!(!batch.missed, "numbers have no gap");
        seen.extend(batch.completions);
    }
    seen
}

#[tokio::test]
async fn what_waits_or_is_delayed_is_gone_at_once_and_its_dedup_key_free() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let worker = started(&fixture, &toys, WorkerOptions::default()).await;
    let operator = operator(&fixture).await;
    operator.pause(&GOVERNED).await.unwrap();
    super::passed(&fixture, Duration::from_millis(2_500)).await;
    let mut completions = fixture.client.completions(&Filter::Queue(GOVERNED)).await.unwrap();
    let mut replies = fixture.client.completions(&Filter::Reply("r".to_owned())).await.unwrap();
    let submission = |key: &str| {
        let dedup = serde_json::from_value::<Dedup>(serde_json::json!({ "key": key, "window_ms": 60_000 })).unwrap();
        let notify = vec!["reply:r".to_owned()];
        Submission::job(&Quick {}).unwrap().with(Options { dedup: Some(dedup), notify, ..Options::default() })
    };
    let waiting = fixture.client.submit(submission("a")).await.unwrap();
    let delayed = fixture.client.submit(submission("b").after(Duration::from_secs(60))).await.unwrap();
    assert!(fixture.client.submit(submission("a")).await.is_err(), "the key is taken");
    for id in [waiting, delayed] {
        assert!(matches!(operator.cancel(id).await.unwrap(), Cancelled::Removed));
        assert!(matches!(operator.cancel(id).await.unwrap(), Cancelled::Already));
        assert!(matches!(operator.state(id).await.unwrap(), JobState::Cancelled(_)));
    }
    assert_eq!(standing(&fixture).await, (0, 0, 0));
    let told = next(&mut completions, 2).await;
    assert_eq!(
        told.iter().map(|one| (one.id, one.status)).collect::<Vec<_>>(),
        [waiting, delayed].map(|id| (id, Status::Cancelled))
    );
    assert_eq!(next(&mut replies, 2).await.len(), 2, "also who asked for it");
    for key in ["a", "b"] {
        fixture.client.submit(submission(key)).await.unwrap();
    }
    operator.resume(&GOVERNED).await.unwrap();
    assert_eq!(fixture.until_idle(&GOVERNED).await, 0);
    assert_eq!(toys.n_runs().await, 2, "the cancelled ones never ran");
    worker.stop().await;
}

#[tokio::test]
async fn what_is_in_the_journal_alone_is_taken_back_and_never_brought() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let job = Submission::job(&Quick {}).unwrap();
    let (id, envelope) = (job.envelope.id, job.envelope.write());
    let row = JournalRow {
        id,
        queue: GOVERNED,
        kind: job.envelope.kind.clone(),
        priority: Priority::Normal,
        delay: None,
        run_at_ms: None,
        envelope,
    };
    let mut tx = fixture.store.begin().await.unwrap();
    tx.journal(&[row]).await.unwrap();
    tx.commit().await.unwrap();
    let mut completions = fixture.client.completions(&Filter::Queue(GOVERNED)).await.unwrap();
    let operator = operator(&fixture).await;
    assert!(matches!(operator.state(id).await.unwrap(), JobState::Journaled { .. }));
    assert!(matches!(operator.cancel(id).await.unwrap(), Cancelled::Removed));
    assert_eq!(next(&mut completions, 1).await[0].status, Status::Cancelled);
    assert_eq!(fixture.number("select count(*) from job_journal").await, 0);
    let worker = started(&fixture, &toys, WorkerOptions::default()).await;
    let other = fixture.client.submit(Submission::job(&Quick {}).unwrap()).await.unwrap();
    fixture.result(other).await;
    assert_eq!(toys.n_runs().await, 1);
    worker.stop().await;
}

#[tokio::test]
async fn a_running_job_is_ended_by_the_word() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let worker = started(&fixture, &toys, WorkerOptions::default()).await;
    let mut completions = fixture.client.completions(&Filter::Queue(GOVERNED)).await.unwrap();
    let ids = fixture.client.submit_all(slow(2)).await.unwrap();
    eventually("both running", async || (toys.n_running() == 2).then_some(())).await;
    assert!(matches!(operator(&fixture).await.cancel(ids[0]).await.unwrap(), Cancelled::Stopped));
    assert_eq!(toys.n_running(), 1, "its neighbour runs on");
    let told = next(&mut completions, 1).await;
    assert_eq!((told[0].id, told[0].status, &told[0].result), (ids[0], Status::Cancelled, &None));
    toys.gate.add_permits(2);
    fixture.result(ids[1]).await;
    assert_eq!(fixture.until_idle(&GOVERNED).await, 0);
    worker.stop().await;
}

#[tokio::test]
async fn one_job_of_a_batch_is_taken_back_and_the_others_are_done() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    with_effects(&fixture).await;
    let options = WorkerOptions { n_partitions: 1, ..WorkerOptions::default() };
    let worker = started(&fixture, &toys, options).await;
    let mut completions = fixture.client.completions(&Filter::Queue(GOVERNED)).await.unwrap();
    let batch = (0..3).map(|_| Submission::batch_job(&Together {}).unwrap()).collect();
    let ids = fixture.client.submit_all(batch).await.unwrap();
    eventually("the batch running", async || (toys.n_running() == 1).then_some(())).await;
    let (cancelled, ()) = tokio::join!(async { operator(&fixture).await.cancel(ids[1]).await.unwrap() }, async {
        eventually("it cancelled", async || fixture.store.results(&[ids[1]]).await.unwrap().remove(&ids[1]).map(drop))
            .await;
        toys.gate.add_permits(1);
    });
    assert!(matches!(cancelled, Cancelled::Stopped | Cancelled::Told), "{cancelled:?}");
    let told: HashMap<JobId, Status> =
        next(&mut completions, 3).await.into_iter().map(|one| (one.id, one.status)).collect();
    assert_eq!([told[&ids[0]], told[&ids[1]], told[&ids[2]]], [Status::Done, Status::Cancelled, Status::Done]);
    assert_eq!(fixture.number("select count(*) from effects").await, 2);
    worker.stop().await;
}

#[tokio::test]
async fn what_is_over_or_unknown_cannot_be_cancelled_and_what_waits_for_another_attempt_can() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let worker = started(&fixture, &toys, WorkerOptions::default()).await;
    let operator = operator(&fixture).await;
    let done = fixture.client.submit(Submission::job(&Quick {}).unwrap()).await.unwrap();
    fixture.result(done).await;
    let failed = fixture.client.submit(Submission::job(&Fails { fatal: true }).unwrap()).await.unwrap();
    assert_eq!(fixture.until_idle(&GOVERNED).await, 1);
    assert!(
        matches!(operator.cancel(done).await.unwrap(), Cancelled::Over(state) if matches!(*state, JobState::Done(_)))
    );
    assert!(
        matches!(operator.cancel(failed).await.unwrap(), Cancelled::Over(state) if matches!(*state, JobState::Failed(_)))
    );
    assert!(matches!(operator.cancel(JobId::generate()).await.unwrap(), Cancelled::Unknown));
    let fails = fixture.client.submit(Submission::job(&Fails { fatal: false }).unwrap()).await.unwrap();
    eventually("it put back", async || (standing(&fixture).await == (0, 0, 1)).then_some(())).await;
    assert!(matches!(operator.cancel(fails).await.unwrap(), Cancelled::Removed));
    assert_eq!(standing(&fixture).await, (0, 0, 0));
    worker.stop().await;
}

#[tokio::test]
async fn a_cancelled_job_whose_worker_died_is_settled_as_cancelled_and_not_run_again() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let options = WorkerOptions { lease: Duration::from_millis(500), ..WorkerOptions::default() };
    let doomed = started(&fixture, &toys, options.clone()).await;
    let id = fixture.client.submit_all(slow(1)).await.unwrap()[0];
    eventually("it running", async || (toys.n_running() == 1).then_some(())).await;
    doomed.kill();
    let mut completions = fixture.client.completions(&Filter::Queue(GOVERNED)).await.unwrap();
    assert!(matches!(operator(&fixture).await.cancel(id).await.unwrap(), Cancelled::Told));
    let heir = started(&fixture, &toys, options).await;
    let told = next(&mut completions, 1).await;
    assert_eq!((told[0].id, told[0].status), (id, Status::Cancelled));
    assert_eq!(fixture.until_idle(&GOVERNED).await, 0);
    assert_eq!(toys.n_runs().await, 1);
    heir.stop().await;
}

#[tokio::test]
async fn of_a_cancellation_and_an_ending_that_race_exactly_one_wins() {
    const N_JOBS: usize = 200;
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    with_effects(&fixture).await;
    let options = WorkerOptions { concurrency: N_JOBS, ..WorkerOptions::default() };
    let worker = started(&fixture, &toys, options).await;
    let mut completions = fixture.client.completions(&Filter::Queue(GOVERNED)).await.unwrap();
    let jobs = (0..N_JOBS).map(|_| Submission::job(&Effect {}).unwrap()).collect();
    let ids = fixture.client.submit_all(jobs).await.unwrap();
    eventually("all of them running", async || (toys.n_running() == N_JOBS).then_some(())).await;
    let operator = operator(&fixture).await;
    let racing = async {
        let mut answers = Vec::new();
        for some in ids.chunks(20) {
            let cancelling = futures::future::join_all(some.iter().map(|&id| operator.cancel(id)));
            // As soon as one is cancelled the gate opens for as many as are being cancelled: the others race.
            let opening = async {
                eventually("one of them over", async || {
                    (!fixture.store.results(some).await.unwrap().is_empty()).then_some(())
                })
                .await;
                toys.gate.add_permits(some.len());
            };
            let (cancelled, ()) = tokio::join!(cancelling, opening);
            answers.extend(some.iter().copied().zip(cancelled.into_iter().map(Result::unwrap)));
        }
        answers
    };
    let (answers, told) = tokio::join!(racing, next(&mut completions, N_JOBS));
    let told: HashMap<JobId, Status> = told.into_iter().map(|one| (one.id, one.status)).collect();
    assert_eq!(told.len(), N_JOBS, "one completion a job");
    let stored = fixture.store.results(&ids).await.unwrap();
    for (id, answer) in answers {
        assert_eq!(stored[&id].status, told[&id], "{answer:?}");
        let was_over = matches!(answer, Cancelled::Over(_));
        assert_eq!(was_over, told[&id] == Status::Done, "{answer:?}");
    }
    let n_done = told.values().filter(|&&status| status == Status::Done).count();
    assert!((1..N_JOBS).contains(&n_done), "both happen: {n_done}");
    assert_eq!(fixture.number("select count(*) from effects").await, i64::try_from(n_done).unwrap());
    assert_eq!(fixture.until_idle(&GOVERNED).await, 0);
    worker.stop().await;
}
