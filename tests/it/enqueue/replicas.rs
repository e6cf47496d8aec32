//! A replicated queue: accepted is what a replica has.

use std::time::Duration;

use engine::{
    broker::govern,
    client::{Client, ClientOptions, Guarantees, SubmitError},
    dedup::Mode,
    partition::tags,
    policy::{Durability, Policy},
};
use harness::{Fixture, Manners, RedisServer};

use super::{Corner, HOUR, TOYS, job, job_with};

/// A client whose jobs are to be in a replica within a time.
async fn replicated(corner: &mut Corner, replicas_within: Duration) {
    let guarantees = Guarantees { durability: Durability::Replicated, min_replicas: 1, replicas_within };
    let options = ClientOptions { guarantees, ..corner.fixture.client.options().clone() };
    corner.fixture.client = Client::connect(options).await.unwrap();
}

#[tokio::test]
async fn what_is_accepted_is_in_a_replica_and_a_stopped_one_is_told() {
    let primary = RedisServer::start(&["--repl-diskless-sync-delay", "0"]).await;
    let mut replica = RedisServer::replica_of(&primary).await;
    let mut corner = Corner::of(Fixture::on(&primary.url()).await).await;
    replicated(&mut corner, Duration::from_secs(20)).await;
    corner.fixture.client.submit_all((0..200).map(|_| job()).collect()).await.unwrap();
    corner.submit(job_with("k", Mode::Reject, HOUR)).await.unwrap();
    let copied = replica.connect().await.ask(&["XLEN", &corner.partition.keys.lanes[1]]).await.unwrap();
    assert_eq!(copied, "201", "without waiting: it was there when they were accepted");

    replica.kill();
    replicated(&mut corner, Duration::from_millis(100)).await;
    let submission = job_with("other", Mode::Reject, HOUR);
    for _ in 0..2 {
        let refused = corner.submit(submission.clone()).await.unwrap_err();
        assert!(matches!(refused, SubmitError::NotReplicated { wanted: 1, got: 0 }), "{refused}");
    }
    assert_eq!(corner.depth().await, (202, 0), "sent again it is the same job");
    let refused = corner.submit(job_with("other", Mode::Reject, HOUR)).await.unwrap_err();
    assert!(matches!(refused, SubmitError::Duplicate { .. }), "a refusal stays what it is: {refused}");
}

#[tokio::test]
async fn an_operator_decides_it_for_one_queue() {
    let server = RedisServer::start(&[]).await;
    let mut corner = Corner::of(Fixture::on(&server.url()).await).await;
    corner.submit(job()).await.unwrap();
    let policy = Policy { durability: Some(Durability::Replicated), ..Policy::default() };
    let client = Client::connect(corner.fixture.client.options().clone()).await.unwrap();
    govern(client.connection(), &corner.fixture.keys, (&TOYS, &tags(&TOYS, 1, 1)), &policy).await.unwrap();
    corner.fixture.client = client;
    let refused = corner.submit(job()).await.unwrap_err();
    assert!(matches!(refused, SubmitError::NotReplicated { wanted: 1, got: 0 }), "{refused}");
}

/// Dragonfly answers WAIT at once where it has no replica.
#[tokio::test]
async fn a_server_that_does_not_wait_is_not_asked_without_a_pause() {
    let server = RedisServer::start(&[]).await;
    let manners = Manners::before(server.port()).await;
    let mut corner = Corner::of(Fixture::on(manners.url()).await).await;
    replicated(&mut corner, Duration::from_millis(500)).await;
    let refused = corner.submit(job()).await.unwrap_err();
    assert!(matches!(refused, SubmitError::NotReplicated { wanted: 1, got: 0 }), "{refused}");
    let stats = server.connect().await.ask(&["INFO", "commandstats"]).await.unwrap();
    let n_asked =
        stats.split("cmdstat_wait:calls=").nth(1).and_then(|rest| rest.split(',').next()?.parse::<u32>().ok());
    assert!(n_asked.is_some_and(|n_asked| (2..=11).contains(&n_asked)), "asked {n_asked:?} times in half a second");
}

/// A Dragonfly answers WAIT after a tenth of a second.
#[tokio::test]
async fn many_submissions_wait_for_replicas_with_few_questions() {
    let server = RedisServer::start(&[]).await;
    let mut corner = Corner::of(Fixture::on(&server.url()).await).await;
    replicated(&mut corner, Duration::from_secs(1)).await;
    let answers = futures::future::join_all((0..200).map(|_| corner.submit(job()))).await;
    let refused = answers.iter().filter(|answer| matches!(answer, Err(SubmitError::NotReplicated { .. }))).count();
    assert_eq!(refused, 200, "all of them have their answer");
    let stats = server.connect().await.ask(&["INFO", "commandstats"]).await.unwrap();
    let n_asked =
        stats.split("cmdstat_wait:calls=").nth(1).and_then(|rest| rest.split(',').next()?.parse::<u32>().ok());
    assert!(n_asked.is_some_and(|n_asked| n_asked < 40), "asked {n_asked:?} times for 200 submissions");
}
