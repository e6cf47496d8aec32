//! Relays: each row once, whoever brings it and whenever they die.

use engine::{broker::Connection, keys::Keys, partition::tags};
use harness::{Fixture, eventually};

use super::{Book, LEDGER, acquainted_worker, all_are_done_once, journaled, until_the_journal_is_empty, worker};

/// Jobs in all streams of partition 0 of a queue that nobody may work on.
async fn n_ready(connection: &Connection, keys: &Keys, queue: &engine::job::QueueName) -> u64 {
    let tag = tags(queue, 1, 1).swap_remove(0);
    engine::broker::sampling::depths(connection, &keys.partition(&tag)).await.unwrap().ready()
}

#[tokio::test]
async fn two_relays_at_once_bring_each_job_once() {
    let (fixture, book) = (Fixture::new().await, Book::open());
    let (one, two) = (acquainted_worker(&fixture, &book).await, worker(&fixture, &book).await);
    // A queue that nobody works on keeps what it was brought.
    let kept = "insert into job_kinds (kind, queue, max_payload_bytes) values ('toy.kept', 'kept', 1000000)";
    sqlx::query(kept).execute(&fixture.pool).await.unwrap();
    let enqueue = "select count(tripsage.enqueue('toy.kept', '{}')) from generate_series(1, 3000)";
    sqlx::query(enqueue).execute(&fixture.pool).await.unwrap();
    eventually("all jobs brought", || async {
        let waiting = "select count(*) from job_journal where generation = 0";
        (fixture.number(waiting).await == 0).then_some(())
    })
    .await;
    let queue = "kept".parse().unwrap();
    assert_eq!(n_ready(&fixture.connection().await, &fixture.keys, &queue).await, 3_000);
    assert_eq!(journaled(&fixture).await, 3_000);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_relay_killed_between_adding_and_marking_leaves_one_result_per_job() {
    let (fixture, book) = (Fixture::new().await, Book::shut());
    fixture.store.know_kinds(&[("toy.enter".parse().unwrap(), LEDGER)], 1_000_000).await.unwrap();
    let enqueue = "select tripsage.enqueue('toy.enter', '{}') from generate_series(1, 40)";
    let ids: Vec<uuid::Uuid> = sqlx::query_scalar(enqueue).fetch_all(&fixture.pool).await.unwrap();
    // Rows can be read and locked, and not be marked.
    let mut hold = fixture.pool.begin().await.unwrap();
    sqlx::query("lock table job_journal in share mode").execute(&mut *hold).await.unwrap();
    let first = worker(&fixture, &book).await;
    eventually("the jobs added", || async { (fixture.depth(&LEDGER).await.0 >= 40).then_some(()) }).await;
    first.kill();
    hold.rollback().await.unwrap();
    assert_eq!(fixture.number("select count(*) from job_journal where generation = 0").await, 40, "not marked");

    book.gate.add_permits(1_000);
    let second = worker(&fixture, &book).await;
    let ids: Vec<_> = ids.into_iter().map(engine::job::JobId).collect();
    all_are_done_once(&fixture, &ids).await;
    second.stop().await;
}

#[tokio::test]
async fn a_long_journal_is_brought_in_small_transactions() {
    let (fixture, book) = (Fixture::new().await, Book::open());
    fixture.store.know_kinds(&[("toy.enter".parse().unwrap(), LEDGER)], 1_000_000).await.unwrap();
    let enqueue = "select count(tripsage.enqueue('toy.enter', '{}')) from generate_series(1, 2600)";
    sqlx::query(enqueue).execute(&fixture.pool).await.unwrap();
    let audit = "create table public.marks (n integer); \
        create function count_marks() returns trigger language plpgsql as \
        $$ begin insert into public.marks select count(*) from changed; return null; end $$; \
        create trigger marked after update on job_journal referencing new table as changed for each statement execute function count_marks()";
    sqlx::raw_sql(audit).execute(&fixture.pool).await.unwrap();
    let worker = worker(&fixture, &book).await;
    until_the_journal_is_empty(&fixture).await;
    assert_eq!(fixture.number("select sum(n) from public.marks").await, 2_600);
    assert!(fixture.number("select max(n)::bigint from public.marks").await <= 500);
    worker.stop().await;
}
