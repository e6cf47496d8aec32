//! Who owns a delivery settles it, and nobody else.

use std::time::Duration;

use bytes::Bytes;
use engine::{
    broker::{Entry, Held, Partition, Scope, SettleContext, Settled, Settling, Verb, register, sampling},
    completion::{Format, Timings},
    job::{JobId, QueueName},
    partition::tags,
    store::{DeadRow, Kept, ResultRow, Results, statement},
};
use harness::{Fixture, eventually};

const TOYS: QueueName = QueueName::from_static("toys");
const LEASE: Duration = Duration::from_millis(200);

fn as_worker(consumer: &str) -> SettleContext {
    SettleContext {
        consumer: consumer.to_owned(),
        format: Format::Json,
        scope: Scope::Global,
        retention: Duration::from_secs(60),
    }
}

fn settling(entry: &Entry, verb: Verb) -> Settling {
    let held = Held { priority: entry.priority, entry: entry.id.clone() };
    Settling { held, id: entry.derived_job_id("toys"), verb, finish: None, n_crashes: 0, dedup_key: None }
}

#[tokio::test]
async fn an_owner_whose_lease_ran_out_settles_nothing() {
    let fixture = Fixture::new().await;
    register(fixture.client.connection(), &fixture.keys, &TOYS, &tags(&TOYS, 1, 1)).await.unwrap();
    let tag = tags(&TOYS, 1, 1).remove(0);
    let partition = Partition::open(&fixture.address, &fixture.keys, TOYS, tag).await.unwrap();
    fixture.client.submit_bytes(&TOYS, Bytes::from_static(b"{\"kind\":\"toy.echo\"}")).await.unwrap();
    partition.beat("zombie").await.unwrap();
    let taken = partition.take("zombie", 1).await.unwrap().jobs().remove(0);

    assert!(
        partition.reclaim("heir", Duration::from_secs(60), 1, &[]).await.unwrap().entries.is_empty(),
        "its heart still beats"
    );
    let claimed = eventually("the lease to run out", || async {
        partition.beat("heir").await.unwrap();
        partition.reclaim("heir", LEASE, 1, &[]).await.unwrap().entries.into_iter().next()
    })
    .await;
    assert_eq!(claimed.id, taken.id);

    let channel = fixture.keys.done_channel(&TOYS);
    for verb in [Verb::Done, Verb::Later(Duration::ZERO, Bytes::from_static(b"2x")), Verb::Dead(Bytes::new())] {
        let late = partition.settle(&as_worker("zombie"), &channel, &[settling(&taken, verb)]).await.unwrap();
        assert_eq!(late, [Settled::NotOwned]);
    }
    let depths = sampling::depths(fixture.client.connection(), &partition.keys).await.unwrap();
    assert_eq!((depths.in_flight, depths.later, depths.dead), (1, 0, 0), "nothing was written");
    let own = [settling(&claimed, Verb::Done)];
    assert_eq!(partition.settle(&as_worker("heir"), &channel, &own).await.unwrap(), [Settled::Done]);
    assert_eq!(partition.settle(&as_worker("heir"), &channel, &own).await.unwrap(), [Settled::NotOwned], "once");
    partition.close().await;
}

fn dead(id: JobId) -> DeadRow {
    DeadRow {
        id,
        queue: "toys".to_owned(),
        partition: "toys~0".to_owned(),
        kind: "toy.echo".to_owned(),
        user_id: None,
        status: "dead",
        class: "error".to_owned(),
        error: "no luck".to_owned(),
        attempt: 1,
        letter: Vec::new(),
        traceparent: None,
    }
}

fn done(id: JobId) -> ResultRow<'static> {
    ResultRow {
        id,
        kind: "toy.echo",
        user_id: None,
        attempt: 1,
        result: &serde_json::Value::Null,
        timings: Timings { queued_ms: 1, started_ms: 2, finished_ms: 3 },
        is_journaled: false,
    }
}

/// A zombie may have been paused after it asked what it owns: its result is the first, whatever became of the job meanwhile.
#[tokio::test]
async fn a_job_is_never_both_done_and_dead_in_whichever_order_they_are_written() {
    let fixture = Fixture::new().await;
    let [first, second] = [JobId::generate(), JobId::generate()];
    for (id, is_done_first) in [(first, false), (second, true)] {
        for writes_result in [is_done_first, !is_done_first] {
            let mut tx = fixture.store.begin().await.unwrap();
            if writes_result {
                let results = Results { queue: "toys", worker: "zombie", rows: &[done(id)] };
                assert!(tx.insert_results(results).await.unwrap().contains(&id));
            } else {
                tx.bury(&[dead(id)]).await.unwrap();
            }
            tx.commit().await.unwrap();
        }
    }
    assert_eq!(fixture.number("select count(*) from job_results").await, 2);
    assert_eq!(fixture.number("select count(*) from dead_jobs").await, 0);
}

/// Results that nobody is expected to have go in at once; where somebody has one, none does, and who asks is told which.
#[tokio::test]
async fn the_first_result_stays_though_many_come_at_once() {
    let fixture = Fixture::new().await;
    let ids: Vec<JobId> = (0..3).map(|_| JobId::generate()).collect();
    let rows = |attempt: u32, ids: &[JobId]| -> Vec<ResultRow<'static>> {
        ids.iter().map(|&id| ResultRow { attempt, ..done(id) }).collect()
    };
    let (first, all) = (rows(1, &ids[..1]), rows(2, &ids));
    let results = |rows| Results { queue: "toys", worker: "heir", rows };
    let mut tx = fixture.store.begin().await.unwrap();
    tx.bury(&[dead(ids[0])]).await.unwrap();
    tx.commit().await.unwrap();
    let mut kept = fixture.store.keep().await.unwrap();
    assert!(kept.insert_new_results(results(&first)).await.unwrap());
    assert_eq!(fixture.number("select count(*) from dead_jobs").await, 0, "done after all");
    assert!(!kept.insert_new_results(results(&all)).await.unwrap());
    assert_eq!(fixture.number("select count(*) from job_results").await, 1);
    let mut tx = fixture.store.begin().await.unwrap();
    let inserted = tx.insert_results(results(&all)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(inserted, ids[1..].iter().copied().collect());
    assert_eq!(fixture.number("select sum(attempt) from job_results").await, 5, "the first writer wins");
}

/// A plan that was made while the journal was empty would read all of it at every settlement.
#[tokio::test]
async fn settlements_ask_the_journal_by_key_however_small_it_was_when_they_began() {
    let fixture = Fixture::new().await;
    fixture.store.execute(statement("vacuum analyze job_journal, job_results")).await.unwrap();
    let mut kept = fixture.store.keep().await.unwrap();
    let settle = async |kept: &mut Kept, ids: &[JobId]| {
        let rows: Vec<_> = ids.iter().map(|&id| ResultRow { is_journaled: true, ..done(id) }).collect();
        assert!(fixture.store.results(ids).await.unwrap().is_empty());
        let results = Results { queue: "toys", worker: "heir", rows: &rows };
        assert!(kept.insert_new_results(results).await.unwrap());
    };
    for _ in 0..10 {
        settle(&mut kept, &[JobId::generate()]).await;
    }
    let ids: Vec<JobId> = (0..5_000).map(|_| JobId::generate()).collect();
    let journal = "insert into job_journal (id, queue, kind, envelope) select id, 'toys', 'toy.job', '' from unnest($1::uuid[]) as n (id)";
    let uuids = ids.iter().map(|id| id.0).collect::<Vec<_>>();
    fixture.store.execute(statement(journal).bind(uuids)).await.unwrap();
    for some in ids.chunks(5).take(20) {
        settle(&mut kept, some).await;
    }
    drop(kept);
    fixture.store.close().await; // what a connection did is counted when it ends at the latest
    let read_by_key = "select idx_tup_fetch from pg_stat_user_tables where relname = 'job_journal'";
    eventually("the journal's rows to be counted", async || (fixture.number(read_by_key).await == 100).then_some(()))
        .await;
    let read_all = "select seq_tup_read from pg_stat_user_tables where relname = 'job_journal'";
    assert_eq!(fixture.number(read_all).await, 0);
    assert_eq!(fixture.number("select count(*) from job_journal").await, 4_900);
}
