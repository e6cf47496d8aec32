//! The cache against a real server: who loads, how often, and what an outage costs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use engine::{
    broker::{Connection, Expiring},
    cache::{Cache, CacheName, CacheOptions, Cached, Outcome, Policy},
    clock::ServerClock,
};
use futures::future::join_all;
use harness::{Fixture, Proxy, Servers, authority, eventually, patience};
use serde_json::json;
use tokio::sync::Semaphore;

/// Fresh for about a minute, stale for ten more.
const POLICY: Policy = Policy::seconds(60, 600);

/// A fleet of workers with one cache and one clock, and what they load.
struct Fleet {
    fixture: Fixture,
    clock: Arc<ServerClock>,
    caches: Vec<Cache>,
    origin: Arc<Origin>,
}

/// What is cached: the number of the load. It can be held at the gate, and it can fail.
struct Origin {
    loads: AtomicU32,
    failures: AtomicU32,
    gate: Semaphore,
}

impl Origin {
    async fn load(self: Arc<Self>) -> Result<u32, String> {
        let number = self.loads.fetch_add(1, Ordering::SeqCst) + 1;
        self.gate.acquire().await.unwrap().forget();
        let fails = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if fails { Err(format!("load {number} failed")) } else { Ok(number) }
    }
}

impl Fleet {
    async fn of(n_workers: usize, options: CacheOptions) -> Self {
        let (fixture, clock) = (Fixture::new().await, Arc::new(ServerClock::new()));
        let mut caches = Vec::new();
        for _ in 0..n_workers {
            let connection = fixture.connection().await;
            caches.push(Cache::new(&connection, fixture.keys.clone(), Arc::clone(&clock), &options));
        }
        let (loads, failures, gate) = (AtomicU32::new(0), AtomicU32::new(0), Semaphore::new(Semaphore::MAX_PERMITS));
        Self { fixture, clock, caches, origin: Arc::new(Origin { loads, failures, gate }) }
    }

    /// Closes the gate: loads wait until permits are added.
    fn close_gate(&self) {
        self.origin.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    fn later(&self, by: Duration) {
        self.clock.heard(self.clock.now_ms() + u64::try_from(by.as_millis()).unwrap());
    }

    async fn get(&self, worker: usize) -> Result<Cached<u32>, String> {
        let origin = Arc::clone(&self.origin);
        self.caches[worker].get_or_load(&name(), POLICY, || origin.load()).await
    }

    async fn got(&self, worker: usize) -> (u32, Outcome) {
        let cached = self.get(worker).await.unwrap();
        (cached.value, cached.outcome)
    }

    fn n_loads(&self) -> u32 {
        self.origin.loads.load(Ordering::SeqCst)
    }

    /// Waits for everything that goes on behind answers.
    async fn settle(&self) {
        join_all(self.caches.iter().map(|cache| cache.stop(patience()))).await;
    }
}

fn name() -> CacheName {
    CacheName::new("places", "toy", "load", &json!({"n": 1})).unwrap()
}

#[tokio::test]
async fn a_value_is_loaded_then_hit_then_stale_then_gone() {
    let fleet = Fleet::of(2, CacheOptions::default()).await;
    assert_eq!(fleet.got(0).await, (1, Outcome::Miss));
    fleet.later(Duration::from_secs(50));
    let hit = fleet.get(1).await.unwrap();
    assert_eq!((hit.value, hit.outcome), (1, Outcome::Hit));
    assert!((50..53).contains(&hit.age.as_secs()), "{:?}", hit.age);
    fleet.later(Duration::from_secs(20));
    assert_eq!(fleet.got(0).await, (1, Outcome::Stale));
    eventually("a refreshed value", || async { (fleet.got(1).await == (2, Outcome::Hit)).then_some(()) }).await;
    fleet.later(Duration::from_secs(800));
    assert_eq!(fleet.got(1).await, (3, Outcome::Miss));
    fleet.settle().await;
}

#[tokio::test]
async fn a_stale_value_is_served_at_once_and_refreshed_once_in_the_whole_fleet() {
    let fleet = Fleet::of(2, CacheOptions::default()).await;
    assert_eq!(fleet.got(0).await, (1, Outcome::Miss));
    fleet.later(Duration::from_secs(70));
    fleet.close_gate();
    let answers = join_all((0..40).map(|n| fleet.got(n % 2))).await;
    assert!(answers.iter().all(|answer| *answer == (1, Outcome::Stale)));
    eventually("the refresh", || async { (fleet.n_loads() == 2).then_some(()) }).await;
    // Answered though the refresh still waits at the gate.
    assert_eq!(fleet.got(1).await, (1, Outcome::Stale));
    fleet.origin.gate.add_permits(100);
    fleet.settle().await;
    assert_eq!((fleet.n_loads(), fleet.got(0).await), (2, (2, Outcome::Hit)));
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_the_stale_value_and_is_not_repeated_at_once() {
    let fleet = Fleet::of(2, CacheOptions::default()).await;
    assert_eq!(fleet.got(0).await, (1, Outcome::Miss));
    fleet.later(Duration::from_secs(70));
    fleet.origin.failures.store(1, Ordering::SeqCst);
    assert_eq!(fleet.got(0).await, (1, Outcome::Stale));
    fleet.caches[0].stop(patience()).await;
    assert_eq!(fleet.got(1).await, (1, Outcome::Stale));
    fleet.settle().await;
    assert_eq!(fleet.n_loads(), 2);
}

#[tokio::test]
async fn many_who_miss_at_once_load_once() {
    let fleet = Fleet::of(1, CacheOptions::default()).await;
    let answers = join_all((0..100).map(|_| fleet.got(0))).await;
    assert!(answers.iter().all(|answer| *answer == (1, Outcome::Miss)));
    assert_eq!((fleet.n_loads(), fleet.got(0).await), (1, (1, Outcome::Hit)));
}

#[tokio::test]
async fn a_leader_that_fails_keeps_its_error_and_another_takes_over() {
    let fleet = Fleet::of(1, CacheOptions::default()).await;
    fleet.origin.failures.store(1, Ordering::SeqCst);
    let answers = join_all((0..100).map(|_| fleet.get(0))).await;
    let failed: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert_eq!(failed, ["load 1 failed"]);
    assert!(answers.iter().flatten().all(|cached| cached.value == 2));
    assert_eq!(fleet.n_loads(), 2);
}

#[tokio::test]
async fn a_leader_that_is_cancelled_holds_nobody_up() {
    let fleet = Fleet::of(1, CacheOptions::default()).await;
    fleet.close_gate();
    let mut leader = Box::pin(fleet.get(0));
    let reached = eventually("the leader at the gate", || async { (fleet.n_loads() == 1).then_some(()) });
    tokio::select! {
        _ = &mut leader => unreachable!("the gate is closed"),
        () = reached => {}
    }
    let mut follower = Box::pin(fleet.got(0));
    assert!(futures::poll!(&mut follower).is_pending());
    drop(leader);
    fleet.origin.gate.add_permits(100);
    assert_eq!(follower.await, (2, Outcome::Miss));
}

#[tokio::test]
async fn warming_replaces_a_stale_value_before_it_answers() {
    let fleet = Fleet::of(1, CacheOptions::default()).await;
    let warm = || {
        let origin = Arc::clone(&fleet.origin);
        let (cache, name) = (fleet.caches[0].clone(), name());
        async move { cache.get_or_reload(&name, POLICY, || origin.load()).await.map(|got| (got.value, got.outcome)) }
    };
    assert_eq!(warm().await, Ok((1, Outcome::Miss)));
    assert_eq!(warm().await, Ok((1, Outcome::Hit)));
    fleet.later(Duration::from_secs(70));
    assert_eq!(warm().await, Ok((2, Outcome::Miss)));
    assert_eq!(fleet.got(0).await, (2, Outcome::Hit));
}

#[tokio::test]
async fn a_server_that_is_gone_costs_no_answer() {
    let servers = Servers::get();
    let proxy = Proxy::before(authority(&servers.dragonfly_url)).await;
    let mut fleet = Fleet::of(0, CacheOptions::default()).await;
    let address = engine::broker::Address::parse(&proxy.url(&servers.dragonfly_url), None).unwrap();
    let connection = Connection::open(&address).await.unwrap();
    let (keys, options) = (fleet.fixture.keys.clone(), CacheOptions::default());
    fleet.caches.push(Cache::new(&connection, keys, Arc::clone(&fleet.clock), &options));
    assert_eq!(fleet.got(0).await, (1, Outcome::Miss));
    assert_eq!(fleet.got(0).await, (1, Outcome::Hit));
    proxy.cut();
    let began = Instant::now();
    assert_eq!(fleet.got(0).await, (2, Outcome::Miss));
    // Those who ask together still load once: what was loaded is handed on, not read back.
    let answers = join_all((0..50).map(|_| fleet.got(0))).await;
    assert!(answers.iter().all(|answer| *answer == (3, Outcome::Miss)), "{answers:?}");
    assert!(began.elapsed() < 10 * options.patience, "{:?}", began.elapsed());
    proxy.heal();
    eventually("the cache again", || async { (fleet.got(0).await.1 == Outcome::Hit).then_some(()) }).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_a_miss_and_is_replaced() {
    let fleet = Fleet::of(1, CacheOptions::default()).await;
    let key = fleet.fixture.keys.cache(name().as_str()).value;
    let entries = Expiring::new(fleet.fixture.connection().await);
    for garbage in [&b"\x02 a later version"[..], b"", b"garbage"] {
        entries.set(&key, Bytes::from_static(garbage), Duration::from_secs(60)).await.unwrap();
        assert_eq!(fleet.got(0).await.1, Outcome::Miss);
        assert_eq!(fleet.got(0).await.1, Outcome::Hit);
    }
}

#[tokio::test]
async fn what_is_too_large_is_answered_and_not_kept() {
    let fleet = Fleet::of(1, CacheOptions { max_value_bytes: 20, ..CacheOptions::default() }).await;
    assert_eq!(fleet.got(0).await, (1, Outcome::Miss));
    assert_eq!(fleet.got(0).await, (2, Outcome::Miss));
    assert!(!fleet.caches[0].put(&name(), POLICY, &7_u32).await);
}

#[tokio::test]
async fn what_is_put_is_hit_and_goes_by_itself() {
    let fleet = Fleet::of(2, CacheOptions::default()).await;
    assert!(fleet.caches[0].put(&name(), POLICY, &7_u32).await);
    assert_eq!(fleet.got(1).await, (7, Outcome::Hit));
    assert!(fleet.caches[0].put(&name(), Policy { fresh: Duration::ZERO, stale: Duration::ZERO }, &8_u32).await);
    let entries = Expiring::new(fleet.fixture.connection().await);
    let key = fleet.fixture.keys.cache(name().as_str()).value;
    eventually("the expiry", || async { entries.get(&key).await.unwrap().is_none().then_some(()) }).await;
}

#[tokio::test]
async fn a_cache_that_is_off_loads_every_time() {
    let mut fleet = Fleet::of(0, CacheOptions::default()).await;
    fleet.caches.push(Cache::off());
    assert_eq!(fleet.got(0).await, (1, Outcome::Off));
    assert_eq!(fleet.got(0).await, (2, Outcome::Off));
    assert!(!fleet.caches[0].is_on() && !fleet.caches[0].put(&name(), POLICY, &7_u32).await);
    fleet.settle().await;
}
