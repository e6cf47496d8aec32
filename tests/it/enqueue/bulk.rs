//! Many jobs in one submission: packed into few calls, each is answered for by itself.

use engine::{
    broker::BrokerErrorKind,
    client::{Submission, SubmitError},
    dedup::Mode,
    envelope::Options,
    job::{JobId, Priority},
};
use harness::{Fixture, RedisServer};

use super::{Corner, HOUR, job, job_with};

fn with_priority(priority: Priority) -> Submission {
    job().with(Options { priority, ..Options::default() })
}

#[tokio::test]
async fn jobs_of_a_batch_enter_their_lanes_in_their_order() {
    let corner = Corner::new().await;
    // More than one call of the normal lane, one call of the high lane, single additions to the low one.
    let priorities = (0..300).map(|n| match n % 50 {
        0 => Priority::Low,
        1..10 => Priority::High,
        _ => Priority::Normal,
    });
    let submissions: Vec<Submission> = priorities.map(with_priority).collect();
    let ids = corner.fixture.client.submit_all(submissions.clone()).await.unwrap();
    let submitted: Vec<JobId> = submissions.iter().map(|job| job.envelope.id).collect();
    assert_eq!(ids, submitted);
    let mut taken = Vec::new();
    while let Some(entry) = corner.take().await {
        taken.push((entry.priority, super::envelope(&entry).id));
    }
    for priority in Priority::ALL {
        let of_lane: Vec<JobId> = taken.iter().filter(|(lane, _)| *lane == priority).map(|(_, id)| *id).collect();
        let wanted = submissions.iter().filter(|job| job.envelope.options.priority == priority);
        assert_eq!(of_lane, wanted.map(|job| job.envelope.id).collect::<Vec<_>>(), "{priority:?}");
    }
    assert_eq!(taken.len(), 300);
}

#[tokio::test]
async fn a_batch_that_meets_a_full_memory_is_told_so() {
    let server = RedisServer::start(&["--maxmemory-policy", "noeviction"]).await;
    let fixture = Fixture::on(&server.url()).await;
    fixture.client.submit_all((0..20).map(|_| job()).collect()).await.unwrap();
    let full = server.connect().await.ask(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
    assert_eq!(full, "OK");
    let refused = fixture.client.submit_all((0..20).map(|_| job()).collect()).await.unwrap_err();
    let SubmitError::Refused(reason) = refused else { panic!("{refused}") };
    assert_eq!(reason.kind(), BrokerErrorKind::OutOfMemory);
}

#[tokio::test]
async fn jobs_of_every_sort_may_stand_in_one_batch() {
    let corner = Corner::new().await;
    let batch = vec![
        job(),
        job_with("a", Mode::Reject, HOUR),
        job_with("b", Mode::Reject, HOUR),
        job_with("a", Mode::Reject, HOUR),
        job_with("c", Mode::Existing, HOUR),
        job_with("b", Mode::Replace, HOUR).after(HOUR),
        job().after(HOUR),
        job().after(HOUR),
        job_with("d", Mode::Debounce, HOUR),
        job_with("c", Mode::Existing, HOUR),
        job(),
    ];
    let id: Vec<JobId> = batch.iter().map(|job| job.envelope.id).collect();
    let told = corner.fixture.client.submit_each(batch).await.unwrap();
    for (number, told) in told.into_iter().enumerate() {
        match (number, told) {
            (3, Err(SubmitError::Duplicate { owner })) => assert_eq!(owner, id[1]),
            (5, Ok(accepted)) => assert_eq!((accepted.id, accepted.replaced), (id[5], Some(id[2]))),
            (9, Ok(accepted)) => assert_eq!((accepted.id, accepted.existing), (id[4], true)),
            (3 | 5 | 9, other) => panic!("{number}: {other:?}"),
            (_, told) => assert_eq!(told.unwrap().id, id[number]),
        }
    }
    assert_eq!(corner.depth().await, (4, 4));
}
