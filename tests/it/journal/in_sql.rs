//! `tripsage.enqueue`: jobs accepted in a caller's own transaction.

use std::time::{Duration, Instant};

use engine::{
    completions::Filter,
    job::{JobId, Priority, QueueName},
    policy::Policy,
};
use harness::{Fixture, eventually, patience};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Book, all_are_done_once, journaled, worker};

/// A database that knows the kind.
async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    let kinds = [("toy.enter", "ledger"), ("toy.depart", "ledger"), ("memory.add", "memory")];
    let kinds = kinds.map(|(kind, queue)| (kind.parse().unwrap(), queue.parse().unwrap()));
    fixture.store.know_kinds(&kinds, 10_000).await.unwrap();
    fixture
}

async fn enqueue(fixture: &Fixture, kind: &str, payload: Value, options: Value) -> Result<JobId, sqlx::Error> {
    let call = sqlx::query_scalar::<_, Uuid>("select tripsage.enqueue($1, $2, $3)").bind(kind).bind(payload);
    call.bind(options).fetch_one(&fixture.pool).await.map(JobId)
}

#[tokio::test]
async fn a_job_exists_when_its_transaction_commits_and_never_when_it_is_rolled_back() {
    let (fixture, book) = (fixture().await, Book::open());
    let worker = worker(&fixture, &book).await;
    let call = "select tripsage.enqueue('toy.enter', '{}')";
    let mut taken_back = fixture.pool.begin().await.unwrap();
    let lost: Uuid = sqlx::query_scalar(call).fetch_one(&mut *taken_back).await.unwrap();
    taken_back.rollback().await.unwrap();
    let mut kept = fixture.pool.begin().await.unwrap();
    let id: Uuid = sqlx::query_scalar(call).fetch_one(&mut *kept).await.unwrap();
    let other = enqueue(&fixture, "toy.enter", json!({}), json!({})).await.unwrap();
    fixture.result(other).await;
    assert_eq!(book.n_started().await, 1, "a relay has looked, and saw no open transaction's job");
    kept.commit().await.unwrap();
    all_are_done_once(&fixture, &[JobId(id), other]).await;
    assert_eq!((book.runs(JobId(lost)).await, book.runs(JobId(id)).await), (0, 1));
    worker.stop().await;
}

#[tokio::test]
async fn a_commit_wakes_the_relay() {
    let (fixture, book) = (fixture().await, Book::open());
    let worker = worker(&fixture, &book).await;
    let first = enqueue(&fixture, "toy.enter", json!({}), json!({})).await.unwrap();
    fixture.result(first).await;
    let mut took = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        let id = enqueue(&fixture, "toy.enter", json!({}), json!({})).await.unwrap();
        fixture.result(id).await;
        took.push(begun.elapsed());
    }
    // By looking alone each would wait for about a second, for the relay has looked just before; the quickest half tells
    // it on a machine that is slow now and then.
    took.sort_unstable();
    assert!(took[10] < Duration::from_millis(500), "{took:?}");
    worker.stop().await;
}

#[tokio::test]
async fn options_become_the_jobs_own() {
    let (fixture, book) = (fixture().await, Book::open());
    let given = Uuid::now_v7();
    let options = json!({
        "id": given, "user_id": "ann", "priority": "high", "delay_ms": 100, "timeout_ms": 5000, "max_attempts": 2,
        "notify": ["user", "reply:x"], "traceparent": "00-0-0-00", "dedup": null
    });
    let mut completions = fixture.client.completions(&Filter::User("ann".into())).await.unwrap();
    let id = enqueue(&fixture, "toy.enter", json!({}), options.clone()).await.unwrap();
    let twice = enqueue(&fixture, "toy.enter", json!({}), options).await.unwrap();
    assert_eq!((id, twice), (JobId(given), JobId(given)));
    assert_eq!(journaled(&fixture).await, 1, "the same id twice is one job");
    let priority = fixture.number("select priority::bigint from job_journal").await;
    assert_eq!(priority, i64::from(Priority::High.lane()));
    let worker = worker(&fixture, &book).await;
    all_are_done_once(&fixture, &[id]).await;
    let heard = tokio::time::timeout(patience(), completions.next()).await.unwrap().unwrap();
    assert_eq!((heard.completions[0].id, heard.completions[0].user_id.as_deref()), (id, Some("ann")));
    worker.stop().await;
}

#[tokio::test]
async fn a_job_may_be_due_at_a_time_or_after_a_while() {
    let fixture = fixture().await;
    for options in [
        json!({ "run_at": "2099-01-31T08:00:00Z" }),
        json!({ "run_at": 4_073_529_600_000_u64 }),
        json!({ "delay_ms": 86_400_000 }),
    ] {
        enqueue(&fixture, "toy.enter", json!({}), options).await.unwrap();
    }
    let late = "select count(*) from job_journal where due_at > now() + interval '23 hours'";
    assert_eq!(fixture.number(late).await, 3);
    assert_eq!(fixture.number("select count(*) from job_journal where due_at = '2099-01-31T08:00:00Z'").await, 2);
}

#[tokio::test]
async fn what_cannot_be_accepted_is_refused_with_what_was_expected() {
    let fixture = fixture().await;
    let large = json!({ "text": "x".repeat(20_000) });
    for (kind, payload, options, words) in [
        ("toy.entre", json!({}), json!({}), ["no kind of job `toy.entre`", "nearest are `toy.enter`"]),
        ("toy.enter", json!({}), json!({ "prio": 1 }), ["no option `prio`", "the options are id, user_id, priority"]),
        ("toy.enter", json!({}), json!([]), ["the options are []", "expected an object"]),
        ("toy.enter", json!({}), json!({ "priority": "urgent" }), ["\"urgent\"", "high, normal or low"]),
        ("toy.enter", json!({}), json!({ "run_at": "soon" }), ["\"soon\"", "expected a timestamp such as"]),
        (
            "toy.enter",
            json!({}),
            json!({ "run_at": 1, "delay_ms": 1 }),
            ["both `run_at` and `delay_ms`", "one of them"],
        ),
        ("toy.enter", json!({}), json!({ "delay_ms": -1 }), ["`delay_ms` is -1", "whole number from 0"]),
        ("toy.enter", json!({}), json!({ "deadline_ms": 5000 }), ["`deadline_ms` is 5000", "milliseconds since 1970"]),
        ("toy.enter", json!({}), json!({ "max_attempts": 0 }), ["`max_attempts` is 0", "from 1"]),
        ("toy.enter", json!({}), json!({ "id": "seven" }), ["`id` is \"seven\"", "expected a UUID"]),
        ("toy.enter", json!({}), json!({ "user_id": 7 }), ["`user_id` is 7", "expected text"]),
        ("toy.enter", json!({}), json!({ "notify": ["all"] }), ["`notify` has \"all\"", "reply:<name>"]),
        ("toy.enter", json!({}), json!({ "dedup": { "key": "k" } }), ["no window_ms", "milliseconds"]),
        (
            "toy.enter",
            json!({}),
            json!({ "dedup": { "key": "k", "window_ms": 1, "mode": "no" } }),
            ["\"no\"", "debounce"],
        ),
        ("toy.enter", large, json!({}), ["bytes", "at most 10000"]),
    ] {
        let error = enqueue(&fixture, kind, payload, options).await.unwrap_err();
        let told = error.as_database_error().unwrap();
        let hint = told.downcast_ref::<sqlx::postgres::PgDatabaseError>().hint().unwrap_or_default().to_owned();
        let told = format!("{}; {hint}", told.message());
        assert!(words.iter().all(|word| told.contains(word)), "{words:?}: {told}");
    }
    assert_eq!(journaled(&fixture).await, 0);
}

#[tokio::test]
async fn a_queue_that_is_full_or_closed_refuses_and_says_when_to_come_again() {
    let (fixture, book) = (fixture().await, Book::open());
    let ledger: QueueName = "ledger".parse().unwrap();
    let refused = async |words: &str| {
        let error = enqueue(&fixture, "toy.enter", json!({}), json!({})).await.err()?;
        let told = error.as_database_error().unwrap();
        let hint = told.downcast_ref::<sqlx::postgres::PgDatabaseError>().hint().unwrap_or_default().to_owned();
        assert_eq!(told.code().as_deref(), Some("53400"));
        assert!(told.message().contains(words) && hint.contains("try again in"), "{}; {hint}", told.message());
        Some(())
    };
    let full = Policy { max_depth: Some(2), paused: true, ..Policy::default() };
    fixture.store.set_policy(&ledger, &full).await.unwrap();
    let worker = worker(&fixture, &book).await;
    // What the worker measures is known within seconds: until then jobs are taken, and wait.
    eventually("a full queue", || refused("`ledger` is full")).await;
    let n_waiting = journaled(&fixture).await;
    assert!(n_waiting >= 2);
    enqueue(&fixture, "memory.add", json!({}), json!({})).await.unwrap();
    fixture.store.set_policy(&ledger, &Policy { closed: true, ..Policy::default() }).await.unwrap();
    refused("`ledger` takes no new jobs").await.unwrap();
    fixture.store.set_policy(&ledger, &Policy::default()).await.unwrap();
    let id = enqueue(&fixture, "toy.enter", json!({}), json!({})).await.unwrap();
    fixture.result(id).await;
    worker.stop().await;
}

#[tokio::test]
async fn an_id_made_in_sql_is_a_uuid_of_version_7_and_the_time() {
    let fixture = fixture().await;
    let before = fixture.connection().await.now_ms().await.unwrap();
    let id = enqueue(&fixture, "toy.enter", json!({}), json!({})).await.unwrap();
    assert_eq!((id.0.get_version_num(), id.0.get_variant()), (7, uuid::Variant::RFC4122));
    let (seconds, nanos) = id.0.get_timestamp().unwrap().to_unix();
    let ms = seconds * 1000 + u64::from(nanos) / 1_000_000;
    assert!(ms.abs_diff(before) < 60_000, "{ms} {before}");
}

/// Producers need no right to any table: what the function does, it does as its owner.
#[tokio::test]
async fn a_producer_that_may_only_call_the_function_can_enqueue_and_nobody_else_can() {
    let fixture = fixture().await;
    let role = format!("producer_{}", Uuid::now_v7().simple());
    let mut open = fixture.pool.begin().await.unwrap();
    let begin = format!("create role {role}; set local role {role}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(begin)).execute(&mut *open).await.unwrap();
    let call = "select tripsage.enqueue('toy.enter', '{}')";
    sqlx::raw_sql("savepoint before").execute(&mut *open).await.unwrap();
    let refused = sqlx::query_scalar::<_, Uuid>(call).fetch_one(&mut *open).await.unwrap_err().to_string();
    assert!(refused.contains("permission denied"), "{refused}");
    let grant = format!(
        "rollback to before; reset role; grant usage on schema tripsage to {role}; \
         grant execute on function tripsage.enqueue(text, jsonb, jsonb) to {role}; set local role {role}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(grant)).execute(&mut *open).await.unwrap();
    sqlx::query_scalar::<_, Uuid>(call).fetch_one(&mut *open).await.unwrap();
    open.rollback().await.unwrap();
}
