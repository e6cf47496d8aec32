//! Servers that go away for a while: nothing is lost, nothing runs into its attempts, work goes on by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use engine::{
    client::Submission,
    completions::Filter,
    handler::{Attempt, Job, Output},
    job::QueueName,
    outcome::JobError,
    registry::Registry,
    retry::RetryPolicy,
    store::{Database, Store, StoreErrorKind, statement},
};
use harness::{Fixture, Proxy, RunningWorker, Servers, WorkerOptions, authority, eventually};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const TOYS: QueueName = QueueName::from_static("toys");

#[derive(Serialize, Deserialize, JsonSchema)]
struct Count {}

#[derive(Serialize, JsonSchema)]
struct Counted {}
impl Output for Counted {}

impl Job for Count {
    const KIND: &'static str = "toy.count";
    const QUEUE: QueueName = TOYS;
    const RETRY: RetryPolicy = RetryPolicy::NEVER;
    type Context = AtomicU32;
    type Output = Counted;
    async fn run(self, attempt: &Attempt<AtomicU32>) -> Result<Counted, JobError> {
        attempt.context().fetch_add(1, Ordering::SeqCst);
        Ok(Counted {})
    }
}

fn registry() -> Registry<AtomicU32> {
    Registry::default().job::<Count>().unwrap()
}

fn jobs(n_jobs: usize) -> Vec<Submission> {
    (0..n_jobs).map(|_| Submission::job(&Count {}).unwrap()).collect()
}

#[tokio::test]
async fn while_postgres_is_away_outcomes_wait_and_no_attempt_is_spent() {
    let (mut fixture, n_runs) = (Fixture::new().await, Arc::new(AtomicU32::new(0)));
    let proxy = Proxy::before(authority(&fixture.database_url)).await;
    fixture.database_url = proxy.url(&fixture.database_url);
    let worker = RunningWorker::start(&fixture, registry(), Arc::clone(&n_runs), WorkerOptions::default()).await;
    fixture.client.submit_all(jobs(50)).await.unwrap();
    fixture.until_idle(&TOYS).await;
    proxy.cut();
    fixture.client.submit_all(jobs(50)).await.unwrap();
    eventually("the jobs to have run", || async { (n_runs.load(Ordering::SeqCst) == 100).then_some(()) }).await;
    assert_eq!(fixture.depth(&TOYS).await, (50, 0), "nothing is acknowledged before it is committed, nothing is dead");
    proxy.heal();
    assert_eq!(fixture.until_idle(&TOYS).await, 0);
    assert_eq!(fixture.number("select count(*) from job_results").await, 100);
    assert_eq!(n_runs.load(Ordering::SeqCst), 100, "no handler ran twice");
    worker.stop().await;
}

#[tokio::test]
async fn connections_to_dragonfly_cut_in_the_middle_of_a_load_lose_and_double_nothing() {
    let (mut fixture, n_runs) = (Fixture::new().await, Arc::new(AtomicU32::new(0)));
    let url = &Servers::get().dragonfly_url;
    let proxy = Proxy::before(authority(url)).await;
    fixture.address = engine::broker::Address::parse(&proxy.url(url), None).unwrap();
    let mut completions = fixture.client.completions(&Filter::Queue(TOYS)).await.unwrap();
    let options = WorkerOptions { lease: Duration::from_secs(2), ..WorkerOptions::default() };
    let worker = RunningWorker::start(&fixture, registry(), Arc::clone(&n_runs), options).await;
    let mut ids = fixture.client.submit_all(jobs(2_000)).await.unwrap();
    for n_settled in [200, 1_000] {
        eventually("some settled", || async {
            (fixture.number("select count(*) from job_results").await >= n_settled).then_some(())
        })
        .await;
        proxy.cut();
        ids.extend(fixture.client.submit_all(jobs(500)).await.unwrap());
        proxy.heal();
    }
    assert_eq!(fixture.until_idle(&TOYS).await, 0);
    assert_eq!(fixture.number("select count(*) from job_results").await, 3_000);
    let mut seen = std::collections::HashSet::new();
    while seen.len() < ids.len() {
        seen.extend(completions.next().await.unwrap().completions.into_iter().map(|completion| completion.id));
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_connection_to_postgres_that_the_network_forgot_is_given_up_and_another_takes_its_place() {
    let fixture = Fixture::new().await;
    let proxy = Proxy::before(authority(&fixture.database_url)).await;
    let url = proxy.url(&fixture.database_url).into();
    let (acquire_timeout, second) = (Duration::from_secs(20), Duration::from_secs(1));
    let settings = Database {
        url,
        password: None,
        max_connections: 1,
        acquire_timeout,
        recycle: second * 60,
        statement_timeout: second,
    };
    let store = Store::connect(&settings).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.execute(statement("create table public.lost (n int)")).await.unwrap();
    proxy.stall();
    proxy.heal_forgetting();
    let error = tokio::time::timeout(second * 30, tx.commit()).await.expect("it does not wait for ever").unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Infrastructure, "not known to be refused, so tried again: {error}");
    store.ping().await.expect("the dead connection does not keep the only place");
    proxy.stall();
    proxy.heal_forgetting();
    store.ping().await.expect("nor does one that died while nobody used it");
}

/// Asked every two milliseconds, by whoever waits for a second: at the head of the queue two milliseconds are left of that,
/// and to connect takes fifty and more.
#[tokio::test]
async fn a_pool_that_lost_its_connections_finds_new_ones_though_more_is_asked_than_it_can_bear() {
    let fixture = Fixture::new().await;
    let proxy = Proxy::before(authority(&fixture.database_url)).await;
    let (url, patience) = (proxy.url(&fixture.database_url).into(), Duration::from_secs(1));
    let (recycle, statement_timeout) = (patience * 60, patience * 60);
    let settings =
        Database { url, password: None, max_connections: 1, acquire_timeout: patience, recycle, statement_timeout };
    let (store, n_answered) = (Store::connect(&settings).await.unwrap(), Arc::new(AtomicU32::new(0)));
    proxy.lengthen(Duration::from_millis(10));
    proxy.stall();
    let (asked, answered) = (store.clone(), Arc::clone(&n_answered));
    let mut asking = tokio::task::JoinSet::new();
    asking.spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(2));
        loop {
            ticks.tick().await;
            let (store, n_answered) = (asked.clone(), Arc::clone(&answered));
            tokio::spawn(async move { n_answered.fetch_add(u32::from(store.ping().await.is_ok()), Ordering::SeqCst) });
        }
    });
    tokio::time::sleep(patience * 2).await; // until the queue is as long as the patience
    assert_eq!(n_answered.load(Ordering::SeqCst), 0, "the network holds everything up");
    proxy.heal();
    eventually("answers", || async { (n_answered.load(Ordering::SeqCst) > 10).then_some(()) }).await;
}
