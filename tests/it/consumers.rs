//! Consumers of dead workers: deleted once they hold nothing, however their worker ended, and never before.

use std::time::Duration;

use bytes::Bytes;
use engine::{
    broker::{Partition, register},
    job::QueueName,
    keys::GROUP,
    partition::tags,
};
use harness::{Fixture, Manners, RedisServer, eventually, resp::Resp};

const TOYS: QueueName = QueueName::from_static("toys");
/// Long enough that a test on a busy machine beats in time.
const LEASE: Duration = Duration::from_secs(2);

/// A partition of its own.
struct Stage {
    fixture: Fixture,
    partition: Partition,
}

impl Stage {
    async fn new() -> Self {
        Self::of(Fixture::new().await).await
    }

    async fn of(fixture: Fixture) -> Self {
        let tag = tags(&TOYS, 1, 1).remove(0);
        register(fixture.client.connection(), &fixture.keys, &TOYS, &tags(&TOYS, 1, 1)).await.unwrap();
        let partition = Partition::open(&fixture.address, &fixture.keys, TOYS, tag).await.unwrap();
        Self { fixture, partition }
    }

    async fn submit(&self) {
        self.fixture.client.submit_bytes(&TOYS, Bytes::from_static(b"{\"kind\":\"toy.echo\"}")).await.unwrap();
    }

    /// Makes consumers in every lane that hold nothing. (A read that finds nothing makes one on some servers only.)
    async fn create(&self, consumers: &[&str]) {
        let mut plain = Resp::open(&self.fixture.dragonfly_url).await.unwrap();
        for lane in &self.partition.keys.lanes {
            for consumer in consumers {
                let created = plain.ask(&["XGROUP", "CREATECONSUMER", lane, GROUP, consumer]).await.unwrap();
                assert_eq!(created, "1");
            }
        }
    }

    async fn idle(&self) -> Vec<String> {
        let mut idle = self.partition.idle_consumers(Duration::ZERO).await.unwrap();
        idle.sort();
        idle
    }

    /// Reclaims as a live worker does until nothing is idle that is not among those named.
    async fn reclaim_until_only(&self, names: &[&str]) {
        eventually("the consumers of dead workers to be gone", || async {
            self.partition.beat("alive").await.unwrap();
            self.partition.beat("heir").await.unwrap();
            self.partition.reclaim("heir", LEASE, 128, &self.idle().await).await.unwrap();
            let idle = self.idle().await;
            (idle == names).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_dead_workers_consumers_are_deleted_in_every_lane_whether_or_not_a_heartbeat_was_heard_of_them() {
    let stage = Stage::new().await;
    stage.partition.beat("alive").await.unwrap();
    stage.partition.beat("dead").await.unwrap();
    stage.create(&["alive", "dead", "never-heard-of"]).await;
    eventually("the dead worker's lease to expire", || async {
        stage.partition.beat("alive").await.unwrap();
        stage.partition.beat("heir").await.unwrap();
        stage.partition.reclaim("heir", LEASE, 128, &[]).await.unwrap();
        (stage.idle().await == ["alive", "never-heard-of"]).then_some(())
    })
    .await;
    let live = stage.fixture.client.connection();
    let depths = engine::broker::sampling::depths(live, &stage.partition.keys).await.unwrap();
    assert_eq!(depths.live, 2, "what is deleted everywhere is forgotten in `live` too");
    // Named by the caller, as it holds nothing and was never heard of.
    stage.reclaim_until_only(&["alive"]).await;
    stage.partition.close().await;
}

#[tokio::test]
async fn a_consumer_is_deleted_only_after_all_that_it_held_was_claimed() {
    let stage = Stage::new().await;
    for _ in 0..3 {
        stage.submit().await;
    }
    assert_eq!(stage.partition.take("dead", 3).await.unwrap().jobs().len(), 3);
    stage.create(&["idle"]).await;
    let mut claimed = 0;
    for expected in [1, 2, 3] {
        // One at a time, and named as if it were idle: it is spared as long as it holds something.
        let names = ["dead", "heir", "released"].map(str::to_owned);
        claimed += eventually("a claim", || async {
            stage.partition.beat("heir").await.unwrap();
            let claimed = stage.partition.reclaim("heir", LEASE, 1, &names).await.unwrap().entries.len();
            (claimed > 0).then_some(claimed)
        })
        .await;
        assert_eq!(claimed, expected, "no entry went with its consumer");
    }
    stage.reclaim_until_only(&[]).await;
    assert_eq!(stage.partition.strays("heir", Duration::ZERO).await.unwrap().len(), 3, "the heir holds them");
    stage.partition.close().await;
}

/// Dragonfly refuses every XGROUP then.
#[tokio::test]
async fn while_memory_is_full_a_dead_workers_entries_are_claimed_and_its_consumer_goes_later() {
    let server = RedisServer::start(&["--maxmemory-policy", "noeviction"]).await;
    let manners = Manners::before(server.port()).await;
    let stage = Stage::of(Fixture::on(manners.url()).await).await;
    stage.submit().await;
    stage.partition.beat("dead").await.unwrap();
    assert_eq!(stage.partition.take("dead", 1).await.unwrap().jobs().len(), 1);
    let beaten_ms = stage.partition.beat("heir").await.unwrap();
    eventually("the lease to expire", || async {
        let now_ms = stage.fixture.client.connection().now_ms().await.unwrap();
        (now_ms > beaten_ms + 2_500).then_some(())
    })
    .await;
    let mut plain = server.connect().await;
    assert_eq!(plain.ask(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap(), "OK");
    let claimed = stage.partition.reclaim("heir", LEASE, 128, &[]).await.unwrap();
    assert_eq!(claimed.entries.len(), 1);
    assert_eq!(stage.idle().await, ["dead"]);
    assert_eq!(plain.ask(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap(), "OK");
    stage.reclaim_until_only(&[]).await;
    stage.partition.close().await;
}

#[tokio::test]
async fn the_consumers_of_a_partition_are_listed_once_in_ten_leases_whoever_asks() {
    let stage = Stage::new().await;
    let lease = Duration::from_secs(60);
    let mut n_asked = 0;
    for worker in ["first", "second", "third", "first", "second", "third"] {
        stage.partition.beat(worker).await.unwrap();
        n_asked += u32::from(stage.partition.reclaim(worker, lease, 128, &[]).await.unwrap().must_list);
    }
    assert_eq!(n_asked, 1);
    let short = Duration::from_millis(20);
    eventually("the next listing, ten leases later", || async {
        stage.partition.reclaim("second", short, 128, &[]).await.unwrap().must_list.then_some(())
    })
    .await;
    stage.partition.close().await;
}
