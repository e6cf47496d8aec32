//! A queue takes as much as it may, and says when to come again.

use std::time::Duration;

use engine::{
    broker::{Verb, govern},
    client::{Client, SubmitError},
    dedup::Mode,
    partition::tags,
    policy::Policy,
};

use super::{Corner, HOUR, TOYS, job, job_with};

/// What an operator decides, and a client that knows it.
async fn decide(corner: &mut Corner, policy: &Policy) {
    let client = Client::connect(corner.fixture.client.options().clone()).await.unwrap();
    govern(client.connection(), &corner.fixture.keys, (&TOYS, &tags(&TOYS, 1, 1)), policy).await.unwrap();
    corner.fixture.client = client;
}

fn busy(error: SubmitError) -> Duration {
    let SubmitError::Busy { queue, retry_after } = error else { panic!("{error}") };
    assert_eq!(queue, TOYS);
    retry_after
}

#[tokio::test]
async fn as_many_jobs_as_fit_are_accepted_in_order_and_the_rest_are_told_to_wait() {
    let mut corner = Corner::new().await;
    decide(&mut corner, &Policy { max_depth: Some(200), ..Policy::default() }).await;
    corner.submit(job().after(HOUR)).await.unwrap();
    let submissions: Vec<_> = (0..300).map(|_| job()).collect();
    let submitted = corner.fixture.client.submit_each(submissions.clone()).await.unwrap();
    for (number, (submitted, submission)) in submitted.into_iter().zip(&submissions).enumerate() {
        match submitted {
            Ok(accepted) => assert!(number < 199 && accepted.id == submission.envelope.id),
            Err(error) => assert!(number >= 199 && busy(error) >= Duration::from_millis(100)),
        }
    }
    assert_eq!(corner.depth().await, (199, 1));
    let (entry, _) = corner.begin().await;
    assert!(corner.submit(job()).await.is_err(), "what runs counts too");
    corner.settle(&entry, Verb::Done).await;
    assert!(corner.submit(job()).await.is_ok());
}

#[tokio::test]
async fn a_full_queue_still_answers_for_what_it_holds_and_takes_a_replacement() {
    let mut corner = Corner::new().await;
    decide(&mut corner, &Policy { max_depth: Some(1), ..Policy::default() }).await;
    let first = corner.submit(job_with("k", Mode::Existing, HOUR)).await.unwrap().id;
    assert_eq!(corner.submit(job_with("k", Mode::Existing, HOUR)).await.unwrap().id, first);
    let second = corner.submit(job_with("k", Mode::Replace, HOUR)).await.unwrap();
    assert_eq!((second.replaced, corner.depth().await), (Some(first), (1, 0)));
    busy(corner.submit(job_with("other", Mode::Reject, HOUR)).await.unwrap_err());
    decide(&mut corner, &Policy { max_depth: Some(2), ..Policy::default() }).await;
    assert!(corner.submit(job_with("other", Mode::Reject, HOUR)).await.is_ok(), "a refusal took no key");
}

#[tokio::test]
async fn a_closed_queue_takes_nothing() {
    let mut corner = Corner::new().await;
    decide(&mut corner, &Policy { closed: true, ..Policy::default() }).await;
    for submission in [job(), job().after(HOUR), job_with("k", Mode::Reject, HOUR)] {
        let refused = corner.submit(submission).await.unwrap_err();
        assert!(matches!(&refused, SubmitError::Closed(queue) if *queue == TOYS), "{refused}");
    }
    assert_eq!(corner.depth().await, (0, 0));
    decide(&mut corner, &Policy::default()).await;
    assert!(corner.submit(job_with("k", Mode::Reject, HOUR)).await.is_ok());
}

#[tokio::test]
async fn a_budget_of_bytes_holds_and_one_large_job_can_still_come_in() {
    let mut corner = Corner::new().await;
    let size = u64::try_from(job().envelope.write().len()).unwrap();
    decide(&mut corner, &Policy { max_bytes: Some(3 * size - 1), ..Policy::default() }).await;
    let submitted = corner.fixture.client.submit_each((0..5).map(|_| job()).collect()).await.unwrap();
    assert_eq!(submitted.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, true, false, false]);
    busy(corner.submit(job()).await.unwrap_err());
}
