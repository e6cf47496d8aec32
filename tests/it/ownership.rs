//! Who owns a delivery settles it, and nobody else.

use std::time::Duration;

use bytes::Bytes;
use engine::{
    broker::{Entry, Held, Partition, Scope, SettleContext, Settled, Settling, Verb, register, sampling},
    completion::Format,
    job::QueueName,
    partition::tags,
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
    let taken = partition.take("zombie", 1).await.unwrap().remove(0);

    assert!(partition.reclaim("heir", Duration::from_secs(60), 1).await.unwrap().is_empty(), "its heart still beats");
    let claimed = eventually("the lease to run out", || async {
        partition.beat("heir").await.unwrap();
        partition.reclaim("heir", LEASE, 1).await.unwrap().into_iter().next()
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
