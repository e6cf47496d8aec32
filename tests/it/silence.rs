//! A server that hangs while its connections stay open: what a worker says, how it is found out, that it stops.

use std::time::{Duration, Instant};

use harness::{Fixture, RedisServer, WorkerProcess, eventually};

/// The default.
const LEASE: Duration = Duration::from_secs(5);

fn of_level<'a>(log: &'a [String], level: &str) -> Vec<&'a String> {
    log.iter().filter(|line| line.contains(&format!("\"{level}\""))).collect()
}

#[tokio::test]
async fn a_server_that_hangs_is_told_once_and_in_health_until_it_answers_again() {
    let server = RedisServer::start(&[]).await;
    let fixture = Fixture::on(&server.url()).await;
    let mut worker = WorkerProcess::start(&fixture, &[("TRIPSAGE_WORKER_PARTITIONS", "2")]).await;
    eventually("a worker that is ready", async || worker.ask("/health/ready").await.0.then_some(())).await;
    server.freeze().await;
    let frozen = Instant::now();
    eventually("a worker that is not ready", async || (!worker.ask("/health/ready").await.0).then_some(())).await;
    assert!(frozen.elapsed() < 2 * LEASE, "not ready after {:?}", frozen.elapsed());
    let health = eventually("loops that complete no cycle", async || {
        let (_, health) = worker.ask("/health").await;
        (health["checks"]["loops"]["ok"] == false).then_some(health)
    })
    .await;
    let told = health["checks"]["dragonfly"]["error"].as_str().unwrap();
    for words in ["has not answered since", "the first that got no answer: "] {
        assert!(told.contains(words), "`{words}` is not in: {told}");
    }
    let late = health["checks"]["loops"]["error"].as_str().unwrap();
    assert!(late.contains("~0 has completed no cycle for") && late.contains("loops more"), "{late}");
    assert_eq!((&health["status"], worker.ask("/health/live").await.0), (&"degraded".into(), true), "no restart helps");

    server.thaw().await;
    let log = worker.log_until("answers again").await;
    let (errors, warnings) = (of_level(&log, "ERROR"), of_level(&log, "WARN"));
    assert!(errors.len() == 1 && errors[0].contains("has not answered since"), "{errors:#?}");
    assert!(warnings.is_empty(), "{warnings:#?}");
    fixture.run(&["enqueue", "diagnostics.probe", "--wait"]).await.json();
    eventually("a worker that is ready again", async || worker.ask("/health/ready").await.0.then_some(())).await;
    assert!(worker.stop().await.0);
}

#[tokio::test]
async fn a_worker_stops_in_time_though_the_server_hangs() {
    let server = RedisServer::start(&[]).await;
    let fixture = Fixture::on(&server.url()).await;
    let settings = [("TRIPSAGE_WORKER_PARTITIONS", "2"), ("TRIPSAGE_WORKER_DRAIN_SECONDS", "4")];
    let mut worker = WorkerProcess::start(&fixture, &settings).await;
    fixture.run(&["enqueue", "diagnostics.probe", "--wait"]).await.json();
    // Its outcome comes while the server hangs, and cannot be settled.
    let submitted = fixture.run(&["enqueue", "diagnostics.probe", r#"{"sleep_ms":5000}"#]).await;
    assert!(submitted.success, "{submitted:?}");
    eventually("the job running", async || {
        let queues = fixture.run(&["queues", "--json"]).await.json();
        queues.as_array().unwrap().iter().any(|line| line["in_flight"] == 1).then_some(())
    })
    .await;
    server.freeze().await;
    worker.log_until("has not answered since").await;
    let told = Instant::now();
    let (ended_well, log) = worker.stop().await;
    // The drain deadline, and the documented second for each of the four steps after it.
    let (took, longest) = (told.elapsed(), Duration::from_secs(4 + 2 * 4));
    assert!(ended_well && took < longest, "after {took:?}: {log:#?}");
    assert!(log.iter().any(|line| line.contains("stopped")), "{log:#?}");
    server.thaw().await;
}
