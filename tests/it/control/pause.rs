//! A paused queue starts nothing, whatever happens to workers and servers; limits change while jobs run.

use std::time::Duration;

use engine::{broker, policy::Policy};
use harness::{Fixture, RedisServer, WorkerOptions, eventually};

use super::{GOVERNED, Toys, operator, passed, quick, slow, standing, started};

/// Longer than a read blocks: a job that a reader of before the pause has caught has gone back by then.
const SETTLED: Duration = Duration::from_millis(2_500);

#[tokio::test]
async fn a_paused_queue_starts_nothing_and_what_runs_goes_on() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let worker = started(&fixture, &toys, WorkerOptions::default()).await;
    let running = fixture.client.submit_all(slow(1)).await.unwrap()[0];
    eventually("it running", async || (toys.n_running() == 1).then_some(())).await;
    let operator = operator(&fixture).await;
    assert!(operator.pause(&GOVERNED).await.unwrap().paused_since_ms.is_some());
    // The word has arrived, and reads that were waiting before it still wait: they catch some of these.
    passed(&fixture, Duration::from_secs(1)).await;
    let mut ids = fixture.client.submit_all(quick(20)).await.unwrap();
    let delayed = quick(5).into_iter().map(|job| job.after(Duration::from_millis(100))).collect();
    ids.extend(fixture.client.submit_all(delayed).await.unwrap());
    passed(&fixture, SETTLED).await;
    assert_eq!(toys.n_runs().await, 1, "nothing was started");
    assert_eq!(standing(&fixture).await, (25, 1, 0), "delayed jobs became ready, all of them wait");
    toys.gate.add_permits(1);
    fixture.result(running).await;

    operator.resume(&GOVERNED).await.unwrap();
    for id in ids {
        fixture.result(id).await;
    }
    assert_eq!(fixture.until_idle(&GOVERNED).await, 0);
    assert_eq!(toys.n_runs().await, 26, "and nothing ran twice");
    worker.stop().await;
}

#[tokio::test]
async fn the_jobs_of_a_dead_worker_wait_while_their_queue_is_paused() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let options = WorkerOptions { lease: Duration::from_millis(500), ..WorkerOptions::default() };
    let doomed = started(&fixture, &toys, options.clone()).await;
    let ids = fixture.client.submit_all(slow(3)).await.unwrap();
    eventually("all of them running", async || (toys.n_running() == 3).then_some(())).await;
    let operator = operator(&fixture).await;
    operator.pause(&GOVERNED).await.unwrap();
    doomed.kill();
    let heir = started(&fixture, &toys, options).await;
    passed(&fixture, SETTLED).await;
    assert_eq!(toys.n_runs().await, 3, "a worker that starts obeys before it takes anything");
    toys.gate.add_permits(3);
    operator.resume(&GOVERNED).await.unwrap();
    for id in ids {
        fixture.result(id).await;
    }
    heir.stop().await;
}

#[tokio::test]
async fn a_pause_survives_a_server_that_lost_its_memory() {
    let mut server = RedisServer::start(&[]).await;
    let (fixture, toys) = (Fixture::on(&server.url()).await, Toys::new());
    let worker = started(&fixture, &toys, WorkerOptions::default()).await;
    operator(&fixture).await.pause(&GOVERNED).await.unwrap();
    passed(&fixture, Duration::from_secs(1)).await; // the word has arrived
    server.kill();
    server.start_again().await;
    let jobs = quick(4);
    let ids =
        eventually("a server that accepts jobs", async || fixture.client.submit_all(jobs.clone()).await.ok()).await;
    let connection = fixture.connection().await;
    eventually("the fleet's copy of the policy", async || {
        let policies = broker::policies(&connection, &fixture.keys).await.ok()?;
        policies.get(&GOVERNED).filter(|policy| policy.paused).map(drop)
    })
    .await;
    passed(&fixture, SETTLED).await;
    assert_eq!(toys.n_runs().await, 0);
    operator(&fixture).await.resume(&GOVERNED).await.unwrap();
    for id in ids {
        fixture.result(id).await;
    }
    worker.stop().await;
}

#[tokio::test]
async fn how_many_jobs_run_at_once_changes_while_they_run() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let options = WorkerOptions { concurrency: 2, n_partitions: 1, ..WorkerOptions::default() };
    let worker = started(&fixture, &toys, options).await;
    fixture.client.submit_all(slow(12)).await.unwrap();
    let at_once = async |n_running| {
        eventually("as many running as may", async || (toys.n_running() == n_running).then_some(())).await;
    };
    at_once(2).await;
    let operator = operator(&fixture).await;
    let decide = async |n| {
        let decided = |policy: &mut Policy| policy.concurrency = n;
        operator.decide(&GOVERNED, decided).await.unwrap();
    };
    decide(Some(5)).await;
    at_once(5).await;
    decide(Some(1)).await;
    passed(&fixture, Duration::from_secs(1)).await;
    assert_eq!(toys.n_running(), 5, "nobody is cut short");
    toys.gate.add_permits(4);
    at_once(1).await;
    decide(None).await;
    at_once(2).await;
    toys.gate.add_permits(100);
    assert_eq!(fixture.until_idle(&GOVERNED).await, 0);
    assert_eq!(toys.n_runs().await, 12);
    worker.stop().await;
}
