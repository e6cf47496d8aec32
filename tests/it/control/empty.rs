//! A queue is emptied: by letting it run dry, or by taking everything back.

use std::time::Duration;

use engine::{completions::Filter, outcome::Status};
use harness::{Fixture, WorkerOptions, eventually};

use super::{GOVERNED, Toys, operator, passed, quick, slow, standing, started};

#[tokio::test]
async fn a_purge_takes_back_what_waits_and_leaves_what_runs() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let worker = started(&fixture, &toys, WorkerOptions::default()).await;
    let operator = operator(&fixture).await;
    let running = fixture.client.submit_all(slow(2)).await.unwrap();
    eventually("both running", async || (toys.n_running() == 2).then_some(())).await;
    operator.pause(&GOVERNED).await.unwrap();
    passed(&fixture, Duration::from_millis(2_500)).await;
    fixture.client.submit_all(quick(700)).await.unwrap();
    let delayed = quick(300).into_iter().map(|job| job.after(Duration::from_secs(600))).collect();
    fixture.client.submit_all(delayed).await.unwrap();
    let mut completions = fixture.client.completions(&Filter::Queue(GOVERNED)).await.unwrap();
    let left = operator.left(&GOVERNED).await.unwrap();
    assert_eq!((left.waiting, left.running, left.delayed), (700, 2, 300));
    let mut heard = 0;
    let purged = operator.purge(&GOVERNED, |n_jobs| heard = n_jobs).await.unwrap();
    assert_eq!((purged.cancelled, purged.told, heard), (1_000, 0, 1_000));
    assert_eq!(standing(&fixture).await, (0, 2, 0));
    let mut n_told = 0;
    while n_told < 1_000 {
        let batch = completions.next().await.unwrap();
        assert!(!batch.missed && batch.completions.iter().all(|one| one.status == Status::Cancelled));
        n_told += batch.completions.len();
    }
    assert_eq!(fixture.number("select count(*) from job_results where status = 'cancelled'").await, 1_000);
    operator.resume(&GOVERNED).await.unwrap();
    toys.gate.add_permits(2);
    for id in running {
        fixture.result(id).await;
    }
    assert_eq!(toys.n_runs().await, 2);
    worker.stop().await;
}

#[tokio::test]
async fn a_closed_queue_runs_dry_and_is_opened_again() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let worker = started(&fixture, &toys, WorkerOptions::default()).await;
    let operator = operator(&fixture).await;
    fixture.client.submit_all(slow(5)).await.unwrap();
    assert!(operator.close(&GOVERNED).await.unwrap().closed);
    toys.gate.add_permits(5);
    eventually("an empty queue", async || (operator.left(&GOVERNED).await.unwrap().total() == 0).then_some(())).await;
    assert_eq!(toys.n_runs().await, 5);
    assert!(!operator.resume(&GOVERNED).await.unwrap().closed);
    worker.stop().await;
}
