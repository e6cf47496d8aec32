//! The binary as an operator uses it: what it says when something is wrong, and every verb against a real worker.

use std::{process::Stdio, time::Instant};

use engine::{
    broker::{govern, registered, sampling},
    job::QueueName,
    partition::tags,
    policy::Policy,
};
use harness::{Fixture, Said, WorkerProcess, eventually, fakes::model::FakeModel, patience, said};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

const SECRET: &str = "s3cret-word";

/// One clear message, a failure's exit status, nothing that only a programmer reads, no password.
fn clear(said: &Said, needles: &[&str]) {
    assert!(!said.success && said.stdout.is_empty(), "{said:?}");
    let messages = said.stderr.lines().filter(|line| line.starts_with("error:") || line.contains("wrong:")).count();
    assert_eq!(messages, 1, "one message: {}", said.stderr);
    for needle in needles {
        assert!(said.stderr.contains(needle), "`{needle}` is not in: {}", said.stderr);
    }
    for never in ["panicked", "backtrace", "src/", ".rs:", SECRET] {
        assert!(!said.stderr.contains(never), "`{never}` in: {}", said.stderr);
    }
}

#[tokio::test]
async fn wrong_settings_are_all_told_at_once() {
    let fixture = Fixture::new().await;
    let mut command = fixture.tripsage(&["worker"]);
    command.env("TRIPSAGE_API_PORT", "80").env("TRIPSAGE_DRAGONFLY_TTL_SHORT", "soon");
    command.env("TRIPSAGE_EXTERNAL_OPENAI_API_KEY", SECRET).env("TRIPSAGE_WORKER_CONCURENCY", "4");
    let needles = ["TRIPSAGE_API_PORT", "1024..65535", "TRIPSAGE_DRAGONFLY_TTL_SHORT", "TRIPSAGE_WORKER_CONCURENCY"];
    clear(&said(&mut command).await, &needles);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named() {
    let fixture = Fixture::new().await;
    let dragonfly = format!("redis://:{SECRET}@127.0.0.1:1/0");
    for words in [&["worker", "--port", "0"][..], &["queues"], &["enqueue", "diagnostics.probe"]] {
        let mut command = fixture.tripsage(words);
        let needles = ["reach Dragonfly at", "127.0.0.1:1"];
        clear(&said(command.env("TRIPSAGE_DRAGONFLY_URL", &dragonfly)).await, &needles);
    }
    let postgres = format!("postgres://tripsage:{SECRET}@127.0.0.1:1/tripsage");
    for words in [&["worker", "--port", "0"][..], &["migrate"], &["dead", "list"]] {
        let mut command = fixture.tripsage(words);
        command.env("TRIPSAGE_DB_URL", &postgres).env("TRIPSAGE_DB_ACQUIRE_TIMEOUT_SECONDS", "1");
        clear(&said(&mut command).await, &["reach Postgres at", "127.0.0.1:1", "TRIPSAGE_DB_URL"]);
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let fixture = Fixture::new().await;
    let mut url: url::Url = fixture.database_url.parse().unwrap();
    url.set_username("nobody_of_that_name").unwrap();
    url.set_password(Some(SECRET)).unwrap();
    let mut command = fixture.tripsage(&["migrate"]);
    command.env("TRIPSAGE_DB_URL", url.as_str()).env("TRIPSAGE_DB_ACQUIRE_TIMEOUT_SECONDS", "2");
    clear(&said(&mut command).await, &["reach Postgres at", "nobody_of_that_name"]);
}

/// What a password may hold that has a meaning in a URL.
const ODD_PASSWORD: &str = "a@b/c:d#e?f%g h'i";

#[tokio::test]
async fn a_password_apart_from_the_url_may_have_any_characters() {
    let fixture = Fixture::new().await;
    let role = format!("odd_{}", uuid::Uuid::now_v7().simple());
    let make = format!("create role {role} login superuser password '{}'", ODD_PASSWORD.replace('\'', "''"));
    sqlx::query(sqlx::AssertSqlSafe(make)).execute(&fixture.pool).await.unwrap();
    let mut url: url::Url = fixture.database_url.parse().unwrap();
    url.set_username(&role).unwrap();
    url.set_password(None).unwrap();
    let mut command = fixture.tripsage(&["migrate", "--check"]);
    command.env("TRIPSAGE_DB_URL", url.as_str()).env("TRIPSAGE_DB_PASSWORD", ODD_PASSWORD);
    let checked = said(&mut command).await;
    assert!(checked.success, "{checked:?}");
    let refused = said(command.env("TRIPSAGE_DB_PASSWORD", "another")).await;
    clear(&refused, &["reach Postgres at", &role]);
    let dropped = format!("drop role {role}");
    sqlx::query(sqlx::AssertSqlSafe(dropped)).execute(&fixture.pool).await.unwrap();
}

#[tokio::test]
async fn a_url_that_a_password_cuts_short_is_told_without_any_part_of_it() {
    let fixture = Fixture::new().await;
    for before in ["12/", "12#", "/", "wo@rd/", "wo@rd#", "pa:ss/"] {
        let url = |scheme: &str| format!("{scheme}://tripsage:{before}{SECRET}@127.0.0.1:1/0");
        for (name, scheme) in [("TRIPSAGE_DB_URL", "postgres"), ("TRIPSAGE_DRAGONFLY_URL", "redis")] {
            let mut command = fixture.tripsage(&["migrate"]);
            let refused = said(command.env(name, url(scheme))).await;
            clear(&refused, &[name, "is not a URL", "/ is %2F", "its own setting"]);
            assert!(!["wo@rd", "pa:ss", "rd/", "12"].iter().any(|part| refused.stderr.contains(part)), "{refused:?}");
        }
    }
}

/// An endpoint that nobody answers at, asked once.
const NOBODY: [(&str, &str); 2] =
    [("TRIPSAGE_EXTERNAL_OPENAI_BASE_URL", "http://127.0.0.1:1/v1"), ("TRIPSAGE_EXTERNAL_MAX_RETRIES", "0")];

#[tokio::test]
async fn an_embedding_endpoint_that_cannot_be_reached_keeps_nothing_from_starting() {
    let fixture = Fixture::new().await;
    let migrated = said(fixture.tripsage(&["migrate"]).envs(NOBODY)).await;
    assert!(migrated.success && migrated.stderr.contains("workers load them"), "{migrated:?}");
    assert!(migrated.stderr.contains("127.0.0.1:1"), "{migrated:?}");
    let worker = WorkerProcess::start(&fixture, &NOBODY).await;
    let url = format!("http://127.0.0.1:{}/health", worker.port);
    let report = eventually("a failed check `places`", || async {
        let report: Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
        let is_told = report["checks"]["places"]["error"].as_str().is_some_and(|why| why.contains("cannot connect"));
        is_told.then_some(report)
    })
    .await;
    assert_eq!((&report["status"], &report["ready"]), (&json!("degraded"), &json!(true)), "{report}");
    fixture.run(&["enqueue", "diagnostics.probe", "--wait"]).await.json();
    assert!(worker.stop().await.0);
}

#[tokio::test]
async fn a_job_that_needs_a_key_names_the_variable() {
    let fixture = Fixture::new().await;
    let worker = WorkerProcess::start(&fixture, &[]).await;
    let add = r#"{"user_id":"ann","items":[{"text":"likes trains"}]}"#;
    let failed = fixture.run(&["enqueue", "memory.add", add, "--wait"]).await;
    let told = format!("{}{}", failed.stdout, failed.stderr);
    for name in ["TRIPSAGE_EXTERNAL_OPENAI_API_KEY", "TRIPSAGE_MEM0_EMBEDDER=local"] {
        assert!(told.contains(name), "{failed:?}");
    }
    assert!(worker.stop().await.0);
}

/// Whether the memories' column is of this type.
async fn keeps(fixture: &Fixture, of: &str) -> bool {
    let found: String = sqlx::query_scalar(
        "select format_type(atttypid, atttypmod) from pg_attribute \
         where attrelid = 'memories'::regclass and attname = 'embedding' and not attisdropped",
    )
    .fetch_one(&fixture.pool)
    .await
    .unwrap();
    found == of
}

#[tokio::test]
async fn one_setting_switches_the_embedder_and_a_dimension_that_differs_says_both_numbers() {
    let (fixture, model) = (Fixture::new().await, FakeModel::of(&["sea", "sun", "snow"]));
    assert!(fixture.run(&["migrate", "--skip-places"]).await.success);
    assert!(keeps(&fixture, "vector(1536)").await, "a start with the defaults");
    let local = || {
        let mut command = fixture.tripsage(&["migrate", "--skip-places"]);
        command.env("TRIPSAGE_MEM0_EMBEDDER", "local").env("TRIPSAGE_MEM0_LOCAL_MODEL_PATH", model.folder());
        command
    };
    for name in ["TRIPSAGE_MEM0_EMBEDDING_DIMENSIONS", "TRIPSAGE_DB_VECTOR_DIMENSIONS"] {
        clear(&said(local().env(name, "1536")).await, &["1536", "have 3", "leave", "unset"]);
    }
    let switched = said(&mut local()).await;
    assert!(switched.success && keeps(&fixture, "vector(3)").await, "{switched:?}");
    let mut command = fixture.tripsage(&["migrate"]);
    let missing = said(command.env("TRIPSAGE_MEM0_EMBEDDER", "local")).await;
    clear(&missing, &[".dev/models/wordllama-256", "make model", "MODEL_FOLDER"]);
}

/// A database that says it has another pgvector: its catalogue is found behind a schema of ours.
async fn claims(fixture: &Fixture, vector: Option<&str>) {
    let rows = vector.map_or("where false".to_owned(), |_| String::new());
    let version = vector.unwrap_or_default();
    let statements = [
        "create schema claims".to_owned(),
        "create view claims.pg_extension as select ''::text as extname, ''::text as extversion where false".to_owned(),
        format!("create view claims.pg_available_extensions as select 'vector'::text as name, '{version}'::text as default_version {rows}"),
        "do $$ begin execute format('alter database %I set search_path = claims, pg_catalog, public', current_database()); end $$".to_owned(),
    ];
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&fixture.pool).await.unwrap();
    }
}

#[tokio::test]
async fn a_pgvector_that_is_too_old_or_missing_is_told() {
    for (vector, found) in [(Some("0.7.4"), "has pgvector 0.7.4"), (None, "has no pgvector")] {
        let fixture = Fixture::new().await;
        claims(&fixture, vector).await;
        for words in [&["worker", "--port", "0"][..], &["migrate"]] {
            clear(&fixture.run(words).await, &[found, "expected pgvector 0.8.4 or later"]);
        }
        let check = fixture.run(&["config", "check"]).await;
        assert!(!check.success && check.stdout.contains("FAILED  Postgres") && check.stdout.contains(found));
    }
}

/// A server that speaks the protocol of Redis 5.0.7, which has no XAUTOCLAIM.
async fn old_redis() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/0", listener.local_addr().unwrap());
    let serve = async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (reader, mut writer) = stream.into_split();
            drop(tokio::spawn(async move {
                let mut lines = BufReader::new(reader).lines();
                let mut left = 0;
                let mut words: Vec<String> = Vec::new();
                while let Ok(Some(line)) = lines.next_line().await {
                    if let Some(n_words) = line.strip_prefix('*') {
                        (left, words) = (n_words.parse::<usize>().unwrap(), Vec::new());
                    } else if !line.starts_with('$') {
                        words.push(line);
                        left -= 1;
                    }
                    if left == 0 && !words.is_empty() && writer.write_all(answer(&words).as_bytes()).await.is_err() {
                        break;
                    }
                    if left == 0 {
                        words.clear();
                    }
                }
            }));
        }
    };
    drop(tokio::spawn(serve));
    url
}

fn answer(words: &[String]) -> String {
    match words[0].to_uppercase().as_str() {
        "INFO" => {
            let info = "# Server\r\nredis_version:5.0.7\r\nredis_mode:standalone\r\n";
            format!("${}\r\n{info}\r\n", info.len())
        }
        "HELLO" => "-ERR unknown command `HELLO`\r\n".to_owned(),
        _ => "+OK\r\n".to_owned(),
    }
}

#[tokio::test]
async fn a_server_that_is_too_old_is_told() {
    let fixture = Fixture::new().await;
    let url = old_redis().await;
    let mut command = fixture.tripsage(&["worker", "--port", "0"]);
    let needles = ["redis 5.0.7", "expected Dragonfly, or Redis or Valkey 6.2 or later", &url[8..url.len() - 2]];
    clear(&said(command.env("TRIPSAGE_DRAGONFLY_URL", &url)).await, &needles);
    let mut command = fixture.tripsage(&["config", "check"]);
    let check = said(command.env("TRIPSAGE_DRAGONFLY_URL", &url)).await;
    assert!(!check.success && check.stdout.contains("FAILED  Dragonfly: redis 5.0.7"), "{check:?}");
}

#[tokio::test]
async fn a_port_in_use_is_told() {
    let fixture = Fixture::new().await;
    let taken = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    clear(&fixture.run(&["worker", "--port", &port]).await, &[&format!("listen on port {port}"), "--port"]);
}

#[tokio::test]
async fn a_schema_that_is_behind_is_told() {
    let fixture = Fixture::new().await;
    assert!(fixture.run(&["migrate", "--down-to", "0"]).await.success);
    let mut command = fixture.tripsage(&["worker", "--port", "0"]);
    clear(&said(command.env("TRIPSAGE_DB_AUTO_MIGRATE", "false")).await, &["0001 jobs", "run `tripsage migrate`"]);
    clear(&fixture.run(&["migrate", "--check"]).await, &["missing: 0001 jobs"]);
    assert!(fixture.run(&["migrate", "--skip-places"]).await.success);
    assert!(fixture.run(&["migrate", "--check"]).await.success);
}

#[tokio::test]
async fn what_cannot_be_submitted_is_told() {
    let fixture = Fixture::new().await;
    for (words, needles) in [
        (&["enqueue", "diagnostics.prob"][..], &["no kind `diagnostics.prob`", "diagnostics.probe"][..]),
        (&["enqueue", "diagnostics.probe", "{"], &["the payload is not JSON"]),
        (&["enqueue", "diagnostics.probe", r#"{"sey":"x"}"#], &["sey", "say", "tripsage schemas"]),
        (&["enqueue", "diagnostics.probe", r#"{"sleep_ms":99999999}"#], &["sleep_ms", "60000"]),
        (&["worker", "--port", "0", "--queues", "serch"], &["no queue `serch`"]),
        (&["dead", "purge"], &["--all", "--dry-run"]),
        (&["dead", "show", "0198c0de-0000-7000-8000-000000000001"], &["no dead job"]),
        (&["health", "--port", "1"], &["no worker answers"]),
    ] {
        clear(&fixture.run(words).await, needles);
    }
}

#[tokio::test]
async fn a_job_is_submitted_awaited_looked_up_and_replayed() {
    let fixture = Fixture::new().await;
    let worker = WorkerProcess::start(&fixture, &[]).await;
    let completion = fixture.run(&["enqueue", "diagnostics.probe", r#"{"say":"hello"}"#, "--wait"]).await.json();
    assert_eq!(completion["result"], json!({ "say": "hello", "attempt": 1 }));
    let id = completion["id"].as_str().unwrap();
    let job = fixture.run(&["job", id, "--json"]).await.json();
    assert_eq!((&job["status"], &job["result"]), (&json!("done"), &completion["result"]));
    let replayed = fixture.run(&["watch", "--queue", "diagnostics", "--replay", "--count", "1", "--json"]).await.json();
    assert_eq!(replayed["id"], id);
    let queues = fixture.run(&["queues", "--json"]).await.json();
    let line = queues.as_array().unwrap().iter().find(|line| line["queue"] == "diagnostics").unwrap();
    assert_eq!((&line["workers"], &line["ready"], &line["dead"]), (&json!(1), &json!(0), &json!(0)), "{line}");
    let unknown = fixture.run(&["job", "0198c0de-0000-7000-8000-000000000001", "--json"]).await.json();
    assert_eq!(unknown["state"], "unknown");
    worker.stop().await;
}

#[tokio::test]
async fn completions_are_followed_live() {
    let fixture = Fixture::new().await;
    let worker = WorkerProcess::start(&fixture, &[]).await;
    let mut watch = fixture.tripsage(&["watch", "--kind", "diagnostics.probe", "--count", "3", "--json"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let watching = async {
        let mut seen: Vec<Value> = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            seen.push(serde_json::from_str(&line).unwrap());
        }
        seen
    };
    // It may not have subscribed yet when the first is done: more are sent until it has had enough.
    let sending = eventually("three completions watched", || async {
        assert!(fixture.run(&["enqueue", "diagnostics.probe"]).await.success);
        None::<()>
    });
    let seen = tokio::select! { seen = watching => seen, () = sending => unreachable!("it never answers") };
    assert!(seen.len() == 3 && seen.iter().all(|completion| completion["status"] == "done"), "{seen:?}");
    assert!(watch.wait().await.unwrap().success());
    worker.stop().await;
}

#[tokio::test]
async fn many_jobs_are_submitted_line_by_line() {
    let fixture = Fixture::new().await;
    let worker = WorkerProcess::start(&fixture, &[]).await;
    let mut command = fixture.tripsage(&["enqueue", "diagnostics.probe", "--lines", "-", "--user", "ann"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines: String = (0..25).map(|n| format!("{{\"say\":\"{n}\"}}\n")).collect();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 25);
    let n_done = eventually("all of them done", || async {
        let n_done = fixture.number("select count(*) from job_results where user_id = 'ann'").await;
        (n_done == 25).then_some(n_done)
    });
    assert_eq!(n_done.await, 25);
    worker.stop().await;
}

#[tokio::test]
async fn dead_jobs_are_listed_shown_redriven_and_purged() {
    let fixture = Fixture::new().await;
    let worker = WorkerProcess::start(&fixture, &[]).await;
    let fails = [r#"{"say":"x","fail_until_redriven":true}"#, "--wait", "--max-attempts", "2"];
    let ended = fixture.run(&[&["enqueue", "diagnostics.probe"][..], &fails].concat()).await;
    assert!(!ended.success && ended.stderr.contains("the job is dead"), "{ended:?}");
    let completion: Value = serde_json::from_str(&ended.stdout).unwrap();
    let id = completion["id"].as_str().unwrap();
    let listed = fixture.run(&["dead", "list", "--class", "probe", "--json"]).await.json();
    assert_eq!((&listed["id"], &listed["attempt"]), (&json!(id), &json!(2)));
    let shown = fixture.run(&["dead", "show", id, "--json"]).await.json();
    assert_eq!(shown["errors"].as_array().unwrap().len(), 2);
    assert_eq!(shown["payload"]["say"], "x");
    let people = fixture.run(&["dead", "show", id]).await;
    assert!(people.stdout.contains("attempt 2 on") && people.stdout.contains("put back"), "{people:?}");
    assert_eq!(fixture.run(&["job", id, "--json"]).await.json()["status"], "dead");

    let dry = fixture.run(&["dead", "redrive", "--id", id, "--dry-run", "--json"]).await.json();
    assert_eq!((&dry["matched"], &dry["done"]), (&json!(1), &json!(0)));
    let redriven = fixture.run(&["dead", "redrive", "--kind", "diagnostics.probe", "--json"]).await.json();
    assert_eq!(redriven["done"], 1);
    eventually("the redriven job done", || async {
        (fixture.run(&["job", id, "--json"]).await.json()["status"] == "done").then_some(())
    })
    .await;

    let refused = fixture.run(&[&["enqueue", "diagnostics.probe"][..], &fails].concat()).await;
    assert!(!refused.success);
    let purged = fixture.run(&["dead", "purge", "--queue", "diagnostics", "--json"]).await.json();
    assert_eq!(purged["done"], 1);
    assert!(fixture.run(&["dead", "list", "--json"]).await.stdout.is_empty());
    assert_eq!(fixture.number("select count(*) from dead_jobs").await, 0);
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_says_that_it_lives_and_stops_when_told() {
    let fixture = Fixture::new().await;
    let worker = WorkerProcess::start(&fixture, &[]).await;
    let port = worker.port.to_string();
    for words in [&["health", "--port", &port][..], &["health", "--port", &port, "--ready"]] {
        assert!(fixture.run(words).await.success);
    }
    let url = format!("http://127.0.0.1:{port}");
    let report: Value = reqwest::get(format!("{url}/health")).await.unwrap().json().await.unwrap();
    assert_eq!((&report["status"], &report["checks"]["schema"]["ok"]), (&json!("ok"), &json!(true)), "{report}");
    let begun = Instant::now();
    fixture.run(&["enqueue", "diagnostics.probe", "--wait"]).await.json();
    let whole_command = begun.elapsed();
    let names = ["tripsage_jobs_taken_total", "tripsage_settle_batch_jobs", "tripsage_job_run_seconds_bucket"];
    let scraped = reqwest::get(format!("{url}/metrics")).await.unwrap().text().await.unwrap();
    assert!(names.iter().all(|name| scraped.contains(name)), "{scraped}");
    // A job that runs is finished first; the worker ends well. It runs for longer than a look at it takes, which is less
    // than a command does.
    let sleep_ms = (10 * whole_command).as_millis().clamp(500, 10_000);
    let payload = json!({ "sleep_ms": sleep_ms }).to_string();
    let id = fixture.run(&["enqueue", "diagnostics.probe", &payload]).await.stdout;
    let partitions = fixture.client.queues().await.unwrap()[&QueueName::from_static("diagnostics")].clone();
    eventually("the job running", || async {
        for tag in &partitions {
            let partition = fixture.keys.partition(tag);
            if sampling::depths(fixture.client.connection(), &partition).await.unwrap().in_flight == 1 {
                return Some(());
            }
        }
        None
    })
    .await;
    let (ended_well, log) = tokio::time::timeout(patience(), worker.stop()).await.unwrap();
    assert!(ended_well && log.iter().any(|line| line.contains("stopped")), "{log:?}");
    assert_eq!(fixture.run(&["job", id.trim(), "--json"]).await.json()["status"], "done");
}

#[tokio::test]
async fn settings_are_shown_without_their_secrets() {
    let fixture = Fixture::new().await;
    let mut command = fixture.tripsage(&["config", "show"]);
    command.env("TRIPSAGE_EXTERNAL_OPENAI_API_KEY", SECRET).env("TRIPSAGE_DRAGONFLY_PASSWORD", SECRET);
    let shown = said(&mut command).await;
    assert!(shown.success && shown.stdout.contains("TRIPSAGE_EXTERNAL_OPENAI_API_KEY"), "{shown:?}");
    assert!(!shown.stdout.contains(SECRET) && !shown.stderr.contains(SECRET));
}

#[tokio::test]
async fn a_dedup_key_is_told_whose_it_is() {
    let fixture = Fixture::new().await;
    let keyed = |mode| ["enqueue", "diagnostics.probe", "--dedup-key", "k", "--dedup-mode", mode];
    let first = fixture.run(&keyed("reject")).await;
    assert!(first.success, "{first:?}");
    let id = first.stdout.trim();
    clear(&fixture.run(&keyed("reject")).await, &[id, "same dedup key"]);
    let existing = fixture.run(&keyed("existing")).await;
    assert!(existing.success && existing.stdout.trim() == id, "{existing:?}");
    let replaced = fixture.run(&keyed("replace")).await;
    assert!(replaced.success && replaced.stdout.trim() != id && replaced.stderr.contains(id), "{replaced:?}");
    let unkeyed = fixture.run(&["enqueue", "diagnostics.probe", "--dedup-mode", "replace"]).await;
    assert!(!unkeyed.success && unkeyed.stderr.contains("--dedup-key"), "{unkeyed:?}");
}

#[tokio::test]
async fn a_full_queue_is_told_by_its_own_exit_status_and_waited_for_line_by_line() {
    let fixture = Fixture::new().await;
    let queue = QueueName::from_static("diagnostics");
    let decide = async |policy: Policy| {
        let known = registered(fixture.client.connection(), &fixture.keys).await.unwrap();
        let tags = known.get(&queue).cloned().unwrap_or_else(|| tags(&queue, 1, 1));
        fixture.store.set_policy(&queue, &policy).await.unwrap();
        govern(fixture.client.connection(), &fixture.keys, (&queue, &tags), &policy).await.unwrap();
    };
    decide(Policy { max_depth: Some(10), ..Policy::default() }).await;
    let lines = "{}\n".repeat(25);
    let told = async |words: &[&str]| {
        let mut child = fixture
            .tripsage(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).await.unwrap();
        child.wait_with_output().await.unwrap()
    };
    let full = told(&["enqueue", "diagnostics.probe", "--lines", "-", "--fail-when-full"]).await;
    assert_eq!(full.status.code(), Some(75), "{full:?}");
    assert_eq!(String::from_utf8(full.stdout).unwrap().lines().count(), 10, "the ids of what was accepted");
    let one = fixture.tripsage(&["enqueue", "diagnostics.probe"]).output().await.unwrap();
    let said = String::from_utf8(one.stderr).unwrap();
    assert!(one.status.code() == Some(75) && said.contains("`diagnostics` is full"), "{said}");

    let patient = told(&["enqueue", "diagnostics.probe", "--lines", "-"]);
    let (patient, worker) = tokio::join!(patient, WorkerProcess::start(&fixture, &[]));
    assert!(patient.status.success(), "{patient:?}");
    assert_eq!(String::from_utf8(patient.stdout).unwrap().lines().count(), 25);
    worker.stop().await;
    decide(Policy { closed: true, ..Policy::default() }).await;
    let closed = fixture.tripsage(&["enqueue", "diagnostics.probe"]).output().await.unwrap();
    let said = String::from_utf8(closed.stderr).unwrap();
    assert!(closed.status.code() == Some(75) && said.contains("takes no new jobs"), "{said}");
}
