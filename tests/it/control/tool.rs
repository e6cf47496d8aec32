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
