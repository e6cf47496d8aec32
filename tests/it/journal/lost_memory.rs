//! Servers that lose their memory, go back in time or are away, under journaled jobs.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use engine::{
    client::SubmitError,
    dead_letters::{Acted, DeadLetters, Manner},
    store::{DeadFilter, Store},
};
use harness::{Fixture, Proxy, RedisServer, authority, database, eventually};

use super::{
    Book, LEDGER, acquainted_worker, all_are_done_once, entries, journaled, journaling, until_the_journal_is_empty,
    worker,
};

async fn generation(fixture: &Fixture) -> i64 {
    fixture.number("select generation from broker_generation").await
}

/// Restarted, the server is known again: a new generation has begun.
async fn until_reconciled(fixture: &Fixture, before: i64) {
    eventually("a new generation", || async { (generation(fixture).await > before).then_some(()) }).await;
}

#[tokio::test]
async fn what_was_accepted_is_done_once_when_the_server_starts_again_with_nothing() {
    let mut server = RedisServer::start(&[]).await;
    let (fixture, book) = (Fixture::on(&server.url()).await, Book::open());
    let client = journaling(&fixture, &fixture.store).await;
    let mut jobs = entries(60);
    let ids: Vec<_> = jobs.iter().map(|job| job.envelope.id).collect();
    let later = jobs.split_off(50).into_iter().map(|job| job.after(Duration::from_millis(200)));
    client.submit_all(later.collect()).await.unwrap();
    client.submit_all(jobs).await.unwrap();
    server.kill();
    server.start_again().await;
    let worker = worker(&fixture, &book).await;
    all_are_done_once(&fixture, &ids).await;
    for id in &ids {
        assert_eq!(book.runs(*id).await, 1);
    }
    worker.stop().await;
}

#[tokio::test]
async fn what_runs_while_the_server_loses_its_memory_has_one_result() {
    let mut server = RedisServer::start(&[]).await;
    let (fixture, book) = (Fixture::on(&server.url()).await, Book::shut());
    let client = journaling(&fixture, &fixture.store).await;
    let worker = acquainted_worker(&fixture, &book).await;
    let ids = client.submit_all(entries(30)).await.unwrap();
    eventually("all jobs to run", || async { (book.n_started().await == 30).then_some(()) }).await;
    let before = generation(&fixture).await;
    server.kill();
    server.start_again().await;
    until_reconciled(&fixture, before).await;
    book.gate.add_permits(1_000);
    all_are_done_once(&fixture, &ids).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_server_that_goes_back_to_a_snapshot_runs_nothing_that_was_done_since() {
    let mut server = RedisServer::start(&[]).await;
    let (fixture, book) = (Fixture::on(&server.url()).await, Book::open());
    let client = journaling(&fixture, &fixture.store).await;
    acquainted_worker(&fixture, &book).await.stop().await; // the queue is registered
    let mut ids = client.submit_all(entries(20)).await.unwrap();
    assert_eq!(server.connect().await.ask(&["SAVE"]).await.unwrap(), "OK");
    let first = acquainted_worker(&fixture, &book).await;
    all_are_done_once(&fixture, &ids).await;
    first.stop().await;
    ids.extend(client.submit_all(entries(20)).await.unwrap());
    let before = generation(&fixture).await;
    server.kill();
    server.start_again().await; // with the first twenty, done long ago, and without the others
    assert_eq!(fixture.depth(&LEDGER).await, (20, 0), "it went back in time");

    let second = worker(&fixture, &book).await;
    until_reconciled(&fixture, before).await;
    all_are_done_once(&fixture, &ids).await;
    for id in &ids {
        assert_eq!(book.runs(*id).await, 1);
    }
    second.stop().await;
}

#[tokio::test]
async fn a_delayed_job_keeps_its_time_when_the_server_starts_again_with_nothing() {
    let mut server = RedisServer::start(&[]).await;
    let (fixture, book) = (Fixture::on(&server.url()).await, Book::open());
    let client = journaling(&fixture, &fixture.store).await;
    let worker = acquainted_worker(&fixture, &book).await;
    let before = fixture.connection().await.now_ms().await.unwrap();
    let (delay, lost) = (Duration::from_secs(5), generation(&fixture).await);
    let id = client.submit(entries(1).remove(0).after(delay)).await.unwrap();
    server.kill();
    server.start_again().await;
    until_reconciled(&fixture, lost).await;
    all_are_done_once(&fixture, &[id]).await;
    let started = fixture.store.results(&[id]).await.unwrap()[&id].timings.started_ms;
    let waited = Duration::from_millis(started - before);
    assert!(waited >= delay && waited < delay * 3, "{waited:?}");
    worker.stop().await;
}

#[tokio::test]
async fn while_dragonfly_is_away_jobs_are_accepted_and_run_later() {
    let mut server = RedisServer::start(&[]).await;
    let (fixture, book) = (Fixture::on(&server.url()).await, Book::open());
    let client = journaling(&fixture, &fixture.store).await;
    let worker = acquainted_worker(&fixture, &book).await;
    let mut ids = client.submit_all(entries(5)).await.unwrap(); // it knows the queue's partitions from now on
    all_are_done_once(&fixture, &ids).await;
    server.kill();
    ids.extend(client.submit_all(entries(20)).await.unwrap());
    ids.push(client.submit(entries(1).remove(0).after(Duration::from_millis(100))).await.unwrap());
    assert_eq!(journaled(&fixture).await, 21);
    server.start_again().await;
    all_are_done_once(&fixture, &ids).await;
    worker.stop().await;
}

#[tokio::test]
async fn while_dragonflys_memory_is_full_jobs_are_accepted_and_run_later() {
    let server = RedisServer::start(&["--maxmemory-policy", "noeviction"]).await;
    let (fixture, book) = (Fixture::on(&server.url()).await, Book::open());
    let client = journaling(&fixture, &fixture.store).await;
    let worker = acquainted_worker(&fixture, &book).await;
    let mut ids = client.submit_all(entries(5)).await.unwrap(); // it knows the queue's partitions from now on
    all_are_done_once(&fixture, &ids).await;
    let mut operator = server.connect().await;
    assert_eq!(operator.ask(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap(), "OK");
    ids.extend(client.submit_all(entries(20)).await.unwrap());
    ids.push(client.submit(entries(1).remove(0).after(Duration::from_millis(100))).await.unwrap());
    assert_eq!(journaled(&fixture).await, 21);
    assert_eq!(
        fixture.number("select count(*) from job_journal where generation = 0").await,
        21,
        "the relay brings them"
    );
    assert_eq!(operator.ask(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap(), "OK");
    all_are_done_once(&fixture, &ids).await;
    worker.stop().await;
}

#[tokio::test]
async fn while_postgres_is_away_nothing_is_accepted_and_nothing_runs() {
    let (fixture, book) = (Fixture::new().await, Book::open());
    let proxy = Proxy::before(authority(&fixture.database_url)).await;
    let mut settings = database(&proxy.url(&fixture.database_url));
    settings.acquire_timeout = Duration::from_secs(1);
    let store = Store::connect(&settings).await.unwrap();
    let client = journaling(&fixture, &store).await;
    client.submit_all(Vec::new()).await.unwrap(); // it knows the queue's policy from now on
    let worker = acquainted_worker(&fixture, &book).await;
    proxy.cut();
    let refused = client.submit_all(entries(5)).await.unwrap_err();
    assert!(matches!(refused, SubmitError::NotJournaled(_)), "{refused}");
    assert_eq!(fixture.depth(&LEDGER).await, (0, 0));
    proxy.heal();
    let ids = eventually("a Postgres that accepts", || async { client.submit_all(entries(5)).await.ok() }).await;
    all_are_done_once(&fixture, &ids).await;
    assert_eq!(book.n_started().await, 5);
    worker.stop().await;
}

/// The row says which memory was believed in before the job was added: however late it becomes visible, it is brought.
#[tokio::test]
async fn a_producers_transaction_that_is_open_while_the_memory_is_lost_loses_nothing() {
    let mut server = RedisServer::start(&[]).await;
    let (fixture, book) = (Fixture::on(&server.url()).await, Book::open());
    let worker = acquainted_worker(&fixture, &book).await;
    let before = generation(&fixture).await;
    let mut job = entries(1).remove(0);
    job.envelope.options.journaled = true;
    let id = job.envelope.id;
    // The producer inserted, and its job is in the memory that is lost: it has not committed yet.
    let mut open = fixture.pool.begin().await.unwrap();
    let insert =
        "insert into job_journal (id, queue, kind, envelope, generation) values ($1, 'ledger', 'toy.enter', $2, $3)";
    let insert = sqlx::query(insert).bind(id.0).bind(&job.envelope.write()[..]).bind(before);
    insert.execute(&mut *open).await.unwrap();
    server.kill();
    server.start_again().await;
    until_reconciled(&fixture, before).await;
    open.commit().await.unwrap();
    all_are_done_once(&fixture, &[id]).await;
    assert_eq!(book.runs(id).await, 1);
    worker.stop().await;
}

#[tokio::test]
async fn a_dead_letter_that_dragonfly_lost_is_shown_and_redriven_from_postgres() {
    let mut server = RedisServer::start(&[]).await;
    let (fixture, book) = (Fixture::on(&server.url()).await, Book::open());
    book.failing.store(true, Ordering::SeqCst);
    let client = journaling(&fixture, &fixture.store).await;
    let worker = acquainted_worker(&fixture, &book).await;
    let ids = client.submit_all(entries(3)).await.unwrap();
    eventually("three dead letters", || async { (fixture.depth(&LEDGER).await == (0, 3)).then_some(()) }).await;
    until_the_journal_is_empty(&fixture).await;
    let before = generation(&fixture).await;
    server.kill();
    server.start_again().await;
    until_reconciled(&fixture, before).await;
    assert_eq!(fixture.depth(&LEDGER).await.1, 0, "Dragonfly lost them");
    let shown = fixture.run(&["dead", "show", &ids[0].to_string(), "--json"]).await.json();
    assert_eq!(shown["job"]["class"], "error", "{shown}");

    book.failing.store(false, Ordering::SeqCst);
    let letters = DeadLetters {
        connection: fixture.connection().await,
        keys: fixture.keys.clone(),
        store: fixture.store.clone(),
        queues: BTreeMap::new(),
    };
    let counted = Manner { dry_run: true, ..Manner::default() };
    let one = DeadFilter { id: Some(ids[0]), ..DeadFilter::default() };
    assert_eq!(letters.redrive(&one, counted, drop).await.unwrap(), Acted { matched: 1, done: 0, unreadable: 0 });
    let all = letters.redrive(&DeadFilter::default(), Manner::default(), drop).await.unwrap();
    assert_eq!(all, Acted { matched: 3, done: 3, unreadable: 0 });
    all_are_done_once(&fixture, &ids).await;
    assert_eq!(fixture.number("select count(*) from dead_jobs").await, 0);
    worker.stop().await;
}

#[tokio::test]
async fn a_redriven_job_that_was_journaled_is_journaled_again() {
    let (fixture, book) = (Fixture::new().await, Book::open());
    book.failing.store(true, Ordering::SeqCst);
    let client = journaling(&fixture, &fixture.store).await;
    let first = acquainted_worker(&fixture, &book).await;
    let ids = client.submit_all(entries(3)).await.unwrap();
    eventually("three dead letters", || async { (fixture.depth(&LEDGER).await == (0, 3)).then_some(()) }).await;
    first.stop().await;
    let queues = fixture.client.queues().await.unwrap();
    let (connection, keys) = (fixture.connection().await, fixture.keys.clone());
    let letters = DeadLetters { connection, keys, store: fixture.store.clone(), queues };
    let acted = letters.redrive(&DeadFilter::default(), Manner::default(), drop).await.unwrap();
    assert_eq!(acted, Acted { matched: 3, done: 3, unreadable: 0 });
    assert_eq!((journaled(&fixture).await, fixture.depth(&LEDGER).await.1), (3, 0));
    book.failing.store(false, Ordering::SeqCst);
    let second = worker(&fixture, &book).await;
    all_are_done_once(&fixture, &ids).await;
    second.stop().await;
}
