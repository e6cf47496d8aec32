//! Connections to Dragonfly: a pool takes turns, and what is sent over them is measured.

use engine::broker::{Address, Connection};
use harness::{Fixture, Proxy, RedisServer, WorkerProcess, authority, eventually};

/// How many of the server's connections sent this command last.
async fn n_that_sent(server: &RedisServer, command: &str) -> usize {
    let clients = server.connect().await.ask(&["CLIENT", "LIST"]).await.unwrap();
    clients.lines().filter(|client| client.split(' ').any(|field| field == format!("cmd={command}"))).count()
}

#[tokio::test]
async fn the_connections_of_a_pool_take_turns_and_one_of_them_stays_the_same() {
    let server = RedisServer::start(&[]).await;
    let address = Address::parse(&server.url(), None).unwrap();
    let pool = Connection::open(&address.with_pool(3)).await.unwrap();
    for n_sent in 1..=6 {
        pool.now_ms().await.unwrap();
        assert_eq!(n_that_sent(&server, "time").await, n_sent.min(3), "after {n_sent} commands");
    }
    let one = pool.one();
    for _ in 0..3 {
        one.ping().await.unwrap();
        assert_eq!(n_that_sent(&server, "ping").await, 1);
    }
    pool.close().await;
}

/// The value of a metric's line that begins like this.
fn value(scraped: &str, begin: &str) -> Option<f64> {
    let line = scraped.lines().find(|line| line.starts_with(begin))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn commands_are_timed_by_their_outcome_and_reconnections_are_counted() {
    let mut fixture = Fixture::new().await;
    let proxy = Proxy::before(authority(&fixture.dragonfly_url)).await;
    fixture.dragonfly_url = proxy.url(&fixture.dragonfly_url);
    let worker = WorkerProcess::start(&fixture, &[("TRIPSAGE_WORKER_QUEUES", "diagnostics")]).await;
    let url = format!("http://127.0.0.1:{}/metrics", worker.port);
    let scrape = async || reqwest::get(&url).await.unwrap().text().await.unwrap();
    let timed = |outcome| format!("tripsage_broker_call_seconds_count{{command=\"EVALSHA\",outcome=\"{outcome}\"}}");
    let answered = eventually("calls to be timed", async || value(&scrape().await, &timed("ok"))).await;
    assert!(answered >= 1.0);
    let sums = scrape().await;
    assert!(
        value(&sums, "tripsage_broker_call_seconds_sum{command=\"EVALSHA\",outcome=\"ok\"}")
            .is_some_and(|sum| sum > 0.0)
    );
    assert!(value(&sums, "tripsage_broker_reconnections_total").is_none_or(|n| n == 0.0), "nothing was lost yet");
    proxy.cut();
    eventually("a call that fails", async || value(&scrape().await, &timed("error"))).await;
    proxy.heal();
    eventually("new connections", async || {
        let scraped = scrape().await;
        let again = value(&scraped, "tripsage_broker_reconnections_total").is_some_and(|n| n >= 1.0);
        (again && value(&scraped, &timed("ok")) > Some(answered)).then_some(())
    })
    .await;
    assert!(worker.stop().await.0);
}
