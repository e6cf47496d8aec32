//! The command line's verbs for queues and jobs, against a real worker.

use harness::{Fixture, WorkerProcess, eventually};
use serde_json::json;

#[tokio::test]
async fn queues_are_paused_limited_and_resumed_by_command() {
    let fixture = Fixture::new().await;
    let worker = WorkerProcess::start(&fixture, &[]).await;
    let paused = fixture.run(&["queues", "pause", "diagnostics", "--json"]).await.json();
    assert_eq!(paused["policy"]["paused"], true);
    let shown = fixture.run(&["queues"]).await;
    assert!(
        shown.stdout.lines().any(|line| line.starts_with("diagnostics") && line.contains("PAUSED since 20")),
        "{shown:?}"
    );
    let id = fixture.run(&["enqueue", "diagnostics.probe"]).await.stdout;

    let set = [
        "queues",
        "set",
        "diagnostics",
        "--concurrency",
        "10",
        "--max-depth",
        "5000",
        "--durability",
        "memory",
        "--json",
    ];
    let decided = fixture.run(&set).await.json();
    assert_eq!(decided["policy"]["concurrency"], json!(10));
    let url = format!("http://127.0.0.1:{}/metrics", worker.port);
    eventually("the metrics to say so", async || {
        let scraped = reqwest::get(&url).await.unwrap().text().await.unwrap();
        let has = |line: &str| scraped.lines().any(|found| found == line);
        let slots = has("tripsage_queue_slots{queue=\"diagnostics\"} 10");
        (slots && has("tripsage_queue_paused{queue=\"diagnostics\"} 1")).then_some(())
    })
    .await;
    let resumed = fixture.run(&["queues", "resume", "diagnostics"]).await;
    assert!(resumed.success && resumed.stdout.contains("10 at once a worker"), "{resumed:?}");
    fixture.result(id.trim().parse().unwrap()).await;
    let lines = fixture.run(&["queues", "--json"]).await.json();
    let line = lines.as_array().unwrap().iter().find(|line| line["queue"] == "diagnostics").unwrap();
    assert_eq!(line["policy"], json!({ "durability": "memory", "concurrency": 10, "max_depth": 5000 }));
    worker.stop().await;
}

#[tokio::test]
async fn what_cannot_be_decided_is_told() {
    let fixture = Fixture::new().await;
    for (words, needles) in [
        (&["queues", "pause", "serch"][..], &["no queue `serch`", "search"][..]),
        (&["queues", "set", "search", "--concurrency", "0"], &["--concurrency is 0", "1..10000"]),
        (&["queues", "set", "search", "--max-depth", "0"], &["a limit of 0", "drain"]),
        (&["queues", "set", "search"], &["--max-depth", "--concurrency"]),
        (&["queues", "set", "search", "--durability", "disk"], &["`disk`", "journaled"]),
    ] {
        let said = fixture.run(words).await;
        assert!(!said.success && said.stdout.is_empty(), "{said:?}");
        assert!(needles.iter().all(|needle| said.stderr.contains(needle)), "{said:?}");
    }
}

#[tokio::test]
async fn a_job_is_shown_listed_hastened_and_cancelled_by_command() {
    let fixture = Fixture::new().await;
    let worker = WorkerProcess::start(&fixture, &[]).await;
    let submit = async |words: &[&str]| {
        let said = fixture.run(&[&["enqueue", "diagnostics.probe"][..], words].concat()).await;
        said.stdout.trim().to_owned()
    };
    let slow = submit(&[r#"{"sleep_ms":50000}"#]).await;
    eventually("it running", async || {
        (fixture.run(&["job", &slow, "--json"]).await.json()["state"] == "running").then_some(())
    })
    .await;
    let running = fixture.run(&["job", "list", "diagnostics", "--state", "running", "--json"]).await.json();
    assert_eq!((&running["id"], &running["kind"]), (&json!(slow), &json!("diagnostics.probe")));
    let shown = fixture.run(&["job", &slow]).await;
    assert!(shown.stdout.contains("running on") && shown.stdout.contains("diagnostics.probe"), "{shown:?}");
    let cancelled = fixture.run(&["job", "cancel", &slow, "--json"]).await.json();
    assert_eq!(cancelled["cancelled"], "stopped");
    assert_eq!(fixture.run(&["job", &slow, "--json"]).await.json()["state"], "cancelled");
    assert!(fixture.run(&["job", "cancel", &slow]).await.success, "twice is the same as once");

    let delayed = submit(&["--delay", "1h"]).await;
    assert_eq!(fixture.run(&["job", &delayed, "--json"]).await.json()["state"], "delayed");
    assert!(fixture.run(&["job", "run-now", &delayed]).await.success);
    fixture.result(delayed.parse().unwrap()).await;
    for (words, needle) in [
        (["job", "cancel", &delayed], "not cancelled, it is over: done"),
        (["job", "run-now", &delayed], "does not wait for its time"),
        (["job", "cancel", "0198c0de-0000-7000-8000-000000000001"], "unknown"),
    ] {
        let said = fixture.run(&words).await;
        assert!(!said.success && said.stderr.contains(needle), "{said:?}");
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_queue_is_purged_and_drained_by_command() {
    let fixture = Fixture::new().await;
    let worker = WorkerProcess::start(&fixture, &[]).await;
    for _ in 0..3 {
        assert!(fixture.run(&["enqueue", "diagnostics.probe", "--delay", "1h"]).await.success);
    }
    let asked = fixture.run(&["queues", "purge", "diagnostics"]).await;
    assert!(!asked.success && asked.stderr.contains("3 delayed jobs") && asked.stderr.contains("--yes"), "{asked:?}");
    let purged = fixture.run(&["queues", "purge", "diagnostics", "--yes", "--json"]).await.json();
    assert_eq!((&purged["cancelled"], &purged["told"]), (&json!(3), &json!(0)));
    let id = fixture.run(&["enqueue", "diagnostics.probe", r#"{"sleep_ms":700}"#]).await.stdout;
    let drained = fixture.run(&["queues", "drain", "diagnostics", "--json"]).await.json();
    assert_eq!(drained["left"], json!({ "waiting": 0, "running": 0, "delayed": 0 }));
    fixture.result(id.trim().parse().unwrap()).await;
    let refused = fixture.run(&["enqueue", "diagnostics.probe"]).await;
    assert!(!refused.success && refused.stderr.contains("closed"), "{refused:?}");
    assert!(fixture.run(&["queues", "resume", "diagnostics"]).await.success);
    fixture.run(&["enqueue", "diagnostics.probe", "--wait"]).await.json();
    worker.stop().await;
}
