//! The README's examples run, against a worker that is a process of its own.

use std::process::Stdio;

use engine::outcome::Status;
use harness::{Clients, Fixture, WorkerProcess, bare, eventually, patience, repository, said};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::{blocks, readme_client};

/// An example with this test's server and prefix instead of the usual ones.
fn here(fixture: &Fixture, example: &str) -> String {
    assert!(example.contains("tripsage:"));
    example.replace("redis://localhost:6379/0", &fixture.dragonfly_url).replace("tripsage:", fixture.keys.prefix())
}

#[tokio::test]
async fn the_python_example_submits_awaits_and_replays() {
    let fixture = Fixture::new().await;
    let worker = WorkerProcess::start(&fixture, &[]).await;
    let (_, on_dragonfly): (Vec<_>, Vec<_>) = blocks("python").into_iter().partition(|block| block.contains("psycopg"));
    let program = here(&fixture, &on_dragonfly.join("\n\n"));
    let ran = said(bare(&Clients::get().python).args(["-c", &program]).current_dir(repository())).await;
    assert!(ran.success, "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "done {'attempt': 1, 'say': 'hello'}");
    assert!(lines[1].ends_with(" done"), "replayed: {lines:?}");
    let [accepted, there] = &lines[2..] else { panic!("two jobs under one key: {lines:?}") };
    let id = accepted.strip_prefix("accepted ").unwrap();
    assert_eq!(*there, format!("already there {id}"));
    worker.stop().await;
}

#[tokio::test]
async fn the_examples_in_sql_and_psycopg_enqueue_in_a_transaction() {
    let fixture = Fixture::new().await;
    let worker = WorkerProcess::start(&fixture, &[]).await;
    let [enqueue, grant] = &blocks("sql")[..] else { panic!("two examples in SQL") };
    for example in [grant, enqueue] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(example.clone())).execute(&fixture.pool).await.unwrap();
    }
    let all = blocks("python");
    let [example] = &all.iter().filter(|block| block.contains("psycopg")).collect::<Vec<_>>()[..] else {
        panic!("one example with psycopg")
    };
    let program = example.replace("postgres://postgres@localhost:5432/tripsage", &fixture.database_url);
    let ran = said(bare(&Clients::get().python).args(["-c", &program])).await;
    assert!(ran.success, "{ran:?}");
    let result = fixture.result(ran.stdout.trim().parse().unwrap()).await;
    assert_eq!(result, serde_json::json!({ "say": "hello", "attempt": 1 }));
    eventually("both are done", || async {
        (fixture.number("select count(*) from job_results").await == 2).then_some(())
    })
    .await;
    worker.stop().await;
}

/// With Node.js it runs; without, its keys and channels are still held to the Python example's, which ran.
#[tokio::test]
async fn the_typescript_example_submits_and_awaits() {
    let [typed] = &blocks("ts")[..] else { panic!("one example in TypeScript") };
    for name in ["tripsage:done:job:", "tripsage:{diagnostics~0}:normal", "notify: [\"job\"]"] {
        assert!(typed.contains(name), "{name}");
    }
    let Some(folder) = &Clients::get().node else { return };
    let fixture = Fixture::new().await;
    let worker = WorkerProcess::start(&fixture, &[]).await;
    let untyped = here(&fixture, typed).replace(": any =", " =").replace(": Buffer)", ")").replace(" as any[]", "");
    let mut command = bare("node");
    let ran = said(command.current_dir(folder).args(["--input-type=module", "--eval", &untyped])).await;
    assert!(ran.success, "{ran:?}");
    assert_eq!(ran.stdout.trim(), "done { attempt: 1, say: 'hello' }");
    worker.stop().await;
}

#[tokio::test]
async fn the_shell_example_submits_json_and_receives_json() {
    let fixture = Fixture::new().await;
    let worker = WorkerProcess::start(&fixture, &[("TRIPSAGE_WORKER_COMPLETION_FORMAT", "json")]).await;
    let found = said(bare("sh").args(["-c", "command -v redis-cli"])).await.success;
    assert!(found, "redis-cli is not on PATH, and the README's example needs it: install it (package redis-tools)");
    let all = blocks("sh");
    let mut lines = all.iter().flat_map(|block| block.lines()).filter(|line| line.starts_with("redis-cli"));
    let here =
        |line: &str| here(&fixture, line).replace("redis-cli", &format!("redis-cli -u {}", fixture.dragonfly_url));
    let (subscribe, add) = (here(lines.next().unwrap()), here(lines.next().unwrap()));
    let mut subscriber = bare("sh").args(["-c", &format!("exec {subscribe}")]).stdout(Stdio::piped()).spawn().unwrap();
    let mut heard = BufReader::new(subscriber.stdout.take().unwrap()).lines();
    assert_eq!(heard.next_line().await.unwrap().as_deref(), Some("subscribe"));
    let added = said(bare("sh").args(["-c", &add])).await;
    assert!(added.success && added.stdout.contains('-'), "{added:?}");
    let waited = tokio::time::timeout(patience(), async {
        loop {
            let line = heard.next_line().await.unwrap().expect("the subscription lasts");
            if line.starts_with('[') {
                return line;
            }
        }
    });
    let completions: Vec<engine::completion::Completion> = serde_json::from_str(&waited.await.unwrap()).unwrap();
    assert_eq!(completions[0].result, Some(serde_json::json!({ "say": "hello", "attempt": 1 })));
    worker.stop().await;
}

#[tokio::test]
async fn the_rust_example_submits_and_awaits() {
    let fixture = Fixture::new().await;
    let worker = WorkerProcess::start(&fixture, &[]).await;
    let completion = readme_client::submit_and_await(&fixture.dragonfly_url, fixture.keys.prefix()).await.unwrap();
    assert_eq!(completion.status, Status::Done);
    worker.stop().await;
}
