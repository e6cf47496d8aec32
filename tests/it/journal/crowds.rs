//! Many journaled submissions at once, beside servers that are slow: none holds what another waits for.

use std::{collections::HashSet, time::Duration};

use engine::{
    broker::{Address, sampling},
    client::{Client, SubmitError},
    dedup::{Dedup, Mode},
    envelope::Options,
    job::JobId,
    partition::tags,
    policy::{Durability, Policy},
    store::Store,
};
use futures::future::{Either, join_all, select};
use harness::{Fixture, Proxy, Servers, authority, database, eventually};

use super::{Book, LEDGER, acquainted_worker, all_are_done_once, entries, journaled, journaling};

/// A client of the journaled queue with a pool of so many connections, and the lines to its two servers.
struct Producer {
    client: Client,
    store: Store,
    dragonfly: Proxy,
    postgres: Proxy,
}

impl Producer {
    async fn with_pool(fixture: &Fixture, n_connections: u32, acquire_timeout: Duration) -> Self {
        let url = &Servers::get().dragonfly_url;
        let (dragonfly, postgres) =
            (Proxy::before(authority(url)).await, Proxy::before(authority(&fixture.database_url)).await);
        let mut settings = database(&postgres.url(&fixture.database_url));
        (settings.max_connections, settings.acquire_timeout) = (n_connections, acquire_timeout);
        let store = Store::connect(&settings).await.unwrap();
        drop(journaling(fixture, &store).await);
        let mut options = fixture.client.options().clone();
        options.address = Address::parse(&dragonfly.url(url), None).unwrap();
        let client = Client::connect(options).await.unwrap().with_journal(store.clone());
        client.submit_all(Vec::new()).await.unwrap(); // it knows the queue's policy from now on
        Self { client, store, dragonfly, postgres }
    }
}

#[tokio::test]
async fn a_submission_holds_no_connection_while_dragonfly_is_asked() {
    let fixture = Fixture::new().await;
    let producer = Producer::with_pool(&fixture, 1, Duration::from_secs(10)).await;
    producer.dragonfly.stall();
    let submitted = Box::pin(producer.client.submit_all(entries(3)));
    let free = Box::pin(async {
        eventually("committed rows", || async { (journaled(&fixture).await == 3).then_some(()) }).await;
        producer.store.ping().await
    });
    match select(submitted, free).await {
        Either::Left((answer, _)) => panic!("answered before the only connection was free: {answer:?}"),
        Either::Right((pinged, submitted)) => {
            pinged.unwrap();
            producer.dragonfly.heal();
            assert_eq!(submitted.await.unwrap().len(), 3);
        }
    }
}

#[tokio::test]
async fn many_submissions_beside_a_slow_dragonfly_are_all_accepted() {
    let fixture = Fixture::new().await;
    let producer = Producer::with_pool(&fixture, 1, Duration::from_secs(10)).await;
    producer.dragonfly.lengthen(Duration::from_millis(250));
    // Holding the only connection for half a second each they would take a minute.
    let answers = join_all((0..120).map(|_| producer.client.submit_all(entries(1)))).await;
    let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert!(refused.is_empty(), "{} were refused, such as: {}", refused.len(), refused[0]);
    assert_eq!(journaled(&fixture).await, 120);
}

#[tokio::test]
async fn more_than_postgres_takes_in_time_is_told_when_to_come_again_and_nothing_of_it_is_written() {
    let fixture = Fixture::new().await;
    let producer = Producer::with_pool(&fixture, 1, Duration::from_secs(2)).await;
    producer.postgres.lengthen(Duration::from_millis(100));
    let jobs = entries(60);
    let mut told = join_all(jobs.iter().map(|job| producer.client.submit_each(vec![job.clone()]))).await;
    // What is known of the time that one takes is known from the first ones on.
    let more = entries(60);
    told.extend(join_all(more.iter().map(|job| producer.client.submit_each(vec![job.clone()]))).await);
    let mut accepted = HashSet::new();
    for answer in told {
        match answer.unwrap().remove(0) {
            Ok(job) => assert!(accepted.insert(job.id)),
            Err(SubmitError::JournalBusy { retry_after }) => assert!(retry_after >= Duration::from_millis(100)),
            Err(other) => panic!("an answer that is not clear: {other}"),
        }
    }
    assert!(!accepted.is_empty() && accepted.len() < 120, "{} of 120 were accepted", accepted.len());
    let written: HashSet<JobId> = all_journaled(&fixture).await;
    assert_eq!(written, accepted, "nothing else was written");
    let partition = fixture.keys.partition(&tags(&LEDGER, 1, 1)[0]);
    let depths = sampling::depths(fixture.client.connection(), &partition).await.unwrap();
    assert_eq!(depths.unsettled(), accepted.len() as u64, "nothing else was added");
    producer.postgres.lengthen(Duration::ZERO);
    let again = jobs.into_iter().chain(more).filter(|job| !accepted.contains(&job.envelope.id)).collect();
    producer.client.submit_all(again).await.unwrap();
    assert_eq!(journaled(&fixture).await, 120);
}

#[tokio::test]
async fn a_job_whose_submitter_died_before_it_added_it_is_brought() {
    let (fixture, book) = (Fixture::new().await, Book::open());
    let producer = Producer::with_pool(&fixture, 2, Duration::from_secs(10)).await;
    let worker = acquainted_worker(&fixture, &book).await;
    producer.dragonfly.stall();
    let jobs = entries(3);
    let ids: Vec<JobId> = jobs.iter().map(|job| job.envelope.id).collect();
    let submitted = Box::pin(producer.client.submit_all(jobs));
    let written = Box::pin(eventually("committed rows", || async { (journaled(&fixture).await == 3).then_some(()) }));
    let Either::Right(((), submitted)) = select(submitted, written).await else { panic!("nothing answers it") };
    drop(submitted); // it dies here
    drop(producer);
    assert_eq!(fixture.number("select count(*) from job_submissions").await, 1);
    grow_old(&fixture).await;
    all_are_done_once(&fixture, &ids).await;
    assert_eq!(fixture.number("select count(*) from job_submissions").await, 0);
    worker.stop().await;
}

/// The relay brings what the submitter, who was slow, is then refused: it is accepted, for it runs.
#[tokio::test]
async fn a_refusal_that_comes_when_the_relay_has_the_job_is_none() {
    let (fixture, book) = (Fixture::new().await, Book::shut());
    let worker = acquainted_worker(&fixture, &book).await; // first, so that all know the same partitions
    let producer = Producer::with_pool(&fixture, 2, Duration::from_secs(10)).await;
    let keyed = |key: &str| {
        let dedup = Dedup { key: key.to_owned(), window_ms: 1, mode: Mode::Reject };
        entries(1).remove(0).with(Options { dedup: Some(dedup), ..Options::default() })
    };
    // The script is loaded by this one: a process does so once, and who waits for a line that is stalled has others wait.
    let other = producer.client.submit(keyed("other")).await.unwrap();
    let (first, second) = (keyed("one"), keyed("one"));
    producer.dragonfly.stall();
    let id = first.envelope.id;
    let late = Box::pin(producer.client.submit_each(vec![first]));
    let written = Box::pin(eventually("a committed row", || async { (journaled(&fixture).await == 2).then_some(()) }));
    let Either::Right(((), late)) = select(late, written).await else { panic!("nothing answers it") };
    fixture.store.abandon_submissions(Duration::ZERO).await.unwrap();
    eventually("the first one running", || async { (book.runs(id).await >= 1).then_some(()) }).await;
    // Its key has ended with its window; the next one has it for an hour.
    let mut next = second;
    next.envelope.options.dedup.as_mut().unwrap().window_ms = 3_600_000;
    let taken = journaling(&fixture, &fixture.store).await.submit(next).await.unwrap();
    producer.dragonfly.heal();
    let answer = late.await.unwrap().remove(0).unwrap();
    assert_eq!((answer.id, answer.existing), (id, false), "it runs, so it is accepted");
    book.gate.add_permits(1_000);
    all_are_done_once(&fixture, &[other, id, taken]).await;
    worker.stop().await;
}

/// Nobody was told that the abandoned one is accepted; whoever came after it was.
#[tokio::test]
async fn an_abandoned_submission_takes_the_place_of_no_job_that_was_accepted() {
    let (fixture, book) = (Fixture::new().await, Book::open());
    let worker = acquainted_worker(&fixture, &book).await;
    let producer = Producer::with_pool(&fixture, 2, Duration::from_secs(10)).await;
    let keyed = || {
        let dedup = Dedup { key: "one".to_owned(), window_ms: 3_600_000, mode: Mode::Replace };
        let options = Options { dedup: Some(dedup), ..Options::default() };
        entries(1).remove(0).with(options).after(Duration::from_secs(3_600))
    };
    let (abandoned, accepted) = (keyed(), keyed());
    let abandoned_id = abandoned.envelope.id;
    producer.dragonfly.stall();
    let dying = Box::pin(producer.client.submit_each(vec![abandoned]));
    let written = Box::pin(eventually("a committed row", || async { (journaled(&fixture).await == 1).then_some(()) }));
    let Either::Right(((), dying)) = select(dying, written).await else { panic!("nothing answers it") };
    drop(dying); // it dies here
    drop(producer);
    let accepted = journaling(&fixture, &fixture.store).await.submit(accepted).await.unwrap();
    grow_old(&fixture).await;
    let left = fixture.store.abandon_submissions(Duration::from_secs(60)).await.unwrap();
    assert_eq!((left.n_submissions, left.n_jobs), (1, 1));
    eventually("the abandoned one to give way", || async {
        (all_journaled(&fixture).await == HashSet::from([accepted])).then_some(())
    })
    .await;
    let result = fixture.store.results(&[abandoned_id, accepted]).await.unwrap();
    assert_eq!(result.into_keys().collect::<Vec<_>>(), [abandoned_id], "it is settled, and the other one waits");
    worker.stop().await;
}

#[tokio::test]
async fn what_is_refused_leaves_no_row_and_what_was_there_before_keeps_its_own() {
    let fixture = Fixture::new().await;
    let client = journaling(&fixture, &fixture.store).await;
    let kept = entries(1).remove(0);
    client.submit(kept.clone()).await.unwrap();
    let closed = Policy { closed: true, durability: Some(Durability::Journaled), ..Policy::default() };
    fixture.store.set_policy(&LEDGER, &closed).await.unwrap();
    let worker = acquainted_worker(&fixture, &Book::shut()).await;
    let client = eventually("a closed queue", || async {
        let client = journaling_as_decided(&fixture).await;
        let refused = client.submit_each(vec![entries(1).remove(0), kept.clone()]).await.unwrap();
        matches!(refused[..], [Err(SubmitError::Closed(_)), Err(SubmitError::Closed(_))]).then_some(client)
    })
    .await;
    assert!(all_journaled(&fixture).await.contains(&kept.envelope.id), "it was accepted before");
    let before = all_journaled(&fixture).await;
    assert!(matches!(client.submit(entries(1).remove(0)).await, Err(SubmitError::Closed(_))));
    assert_eq!(all_journaled(&fixture).await, before);
    assert_eq!(fixture.number("select count(*) from job_submissions").await, 0);
    worker.stop().await;
}

/// A client of the queue as it is.
async fn journaling_as_decided(fixture: &Fixture) -> Client {
    Client::connect(fixture.client.options().clone()).await.unwrap().with_journal(fixture.store.clone())
}

async fn all_journaled(fixture: &Fixture) -> HashSet<JobId> {
    let ids: Vec<uuid::Uuid> = sqlx::query_scalar("select id from job_journal").fetch_all(&fixture.pool).await.unwrap();
    ids.into_iter().map(JobId).collect()
}

/// Submissions that are open look as if they had begun long ago.
async fn grow_old(fixture: &Fixture) {
    let old = "update job_submissions set begun_at = begun_at - interval '1 hour'";
    sqlx::query(old).execute(&fixture.pool).await.unwrap();
}
