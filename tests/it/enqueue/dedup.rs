//! The modes, and what is left of a key when things break off.

use std::{borrow::Cow, collections::BTreeSet, time::Duration};

use bytes::Bytes;
use engine::{
    broker::{Door, Enqueue, Enqueued, Scope, Verb},
    client::SubmitError,
    completions::Filter,
    dedup::Mode,
    envelope::Options,
    outcome::Status,
    partition::{of_key, tags},
};
use harness::{Fixture, RedisServer, eventually};

use super::{Corner, HOUR, TOYS, job, job_with};

fn owner(error: SubmitError) -> engine::job::JobId {
    let SubmitError::Duplicate { owner } = error else { panic!("{error}") };
    owner
}

#[tokio::test]
async fn a_taken_key_is_refused_by_name_until_its_job_is_over() {
    let corner = Corner::new().await;
    for end in [Verb::Done, Verb::Dead(Bytes::from_static(b"letter"))] {
        let first = corner.submit(job_with("k", Mode::Reject, HOUR)).await.unwrap().id;
        assert_eq!(owner(corner.submit(job_with("k", Mode::Reject, HOUR)).await.unwrap_err()), first);
        let (entry, _) = corner.begin().await;
        assert_eq!(owner(corner.submit(job_with("k", Mode::Reject, HOUR)).await.unwrap_err()), first);
        corner.settle(&entry, end).await;
    }
    let first = corner.submit(job_with("k", Mode::Reject, HOUR)).await.unwrap().id;
    let (entry, _) = corner.begin().await;
    corner.settle(&entry, Verb::Later(HOUR, Bytes::from_static(b"2x"))).await;
    assert_eq!(owner(corner.submit(job_with("k", Mode::Reject, HOUR)).await.unwrap_err()), first, "it is tried again");
    assert!(corner.submit(job_with("other", Mode::Reject, HOUR)).await.is_ok());
}

#[tokio::test]
async fn an_existing_job_answers_for_another() {
    let corner = Corner::new().await;
    let first = corner.submit(job_with("k", Mode::Existing, HOUR)).await.unwrap();
    let second = corner.submit(job_with("k", Mode::Existing, HOUR)).await.unwrap();
    assert_eq!((second.id, first.existing, second.existing), (first.id, false, true));
    assert_eq!(corner.depth().await, (1, 0));
}

#[tokio::test]
async fn the_same_job_sent_again_is_accepted_and_there_once() {
    let corner = Corner::new().await;
    for mode in Mode::ALL {
        let submission = job_with(mode.as_str(), mode, HOUR);
        for _ in 0..2 {
            assert_eq!(corner.submit(submission.clone()).await.unwrap().id, submission.envelope.id, "{mode}");
        }
    }
    assert_eq!(corner.depth().await, (4, 1));
}

#[tokio::test]
async fn a_replacement_takes_the_place_of_what_waits_and_leaves_alone_what_runs() {
    let corner = Corner::new().await;
    let first = corner.submit(job_with("k", Mode::Replace, HOUR)).await.unwrap().id;
    let second = corner.submit(job_with("k", Mode::Replace, HOUR)).await.unwrap();
    assert_eq!((second.replaced, corner.depth().await), (Some(first), (1, 0)));
    let (entry, running) = corner.begin().await;
    assert_eq!(running, second.id);
    let third = corner.submit(job_with("k", Mode::Replace, HOUR).after(HOUR)).await.unwrap();
    assert_eq!((third.replaced, corner.depth().await), (None, (1, 1)));
    let fourth = corner.submit(job_with("k", Mode::Replace, HOUR)).await.unwrap();
    assert_eq!((fourth.replaced, corner.depth().await), (Some(third.id), (2, 0)));
    corner.settle(&entry, Verb::Done).await;
    assert_eq!(owner(corner.submit(job_with("k", Mode::Reject, HOUR)).await.unwrap_err()), fourth.id);
}

#[tokio::test]
async fn a_job_that_became_ready_or_was_handed_back_can_still_be_replaced() {
    let corner = Corner::new().await;
    let delayed = job_with("k", Mode::Replace, HOUR).after(Duration::from_millis(1));
    let first = corner.submit(delayed).await.unwrap().id;
    eventually("it to be ready", async || {
        corner.partition.promote().await.unwrap();
        (corner.depth().await == (1, 0)).then_some(())
    })
    .await;
    let second = corner.submit(job_with("k", Mode::Replace, HOUR)).await.unwrap();
    assert_eq!((second.replaced, corner.depth().await), (Some(first), (1, 0)));

    let (entry, _) = corner.begin().await;
    let held = engine::broker::Held { priority: entry.priority, entry: entry.id };
    assert_eq!(corner.partition.release("me", &[held]).await.unwrap(), 1);
    let third = corner.submit(job_with("k", Mode::Replace, HOUR)).await.unwrap();
    assert_eq!((third.replaced, corner.depth().await), (Some(second.id), (1, 0)));
    assert_eq!(corner.begin().await.1, third.id);
}

#[tokio::test]
async fn whoever_awaits_a_replaced_job_is_told_that_it_is_cancelled() {
    let corner = Corner::new().await;
    let options = |mode| job_with("k", mode, HOUR).envelope.options.dedup;
    for (mode, notify) in [(Mode::Replace, "job"), (Mode::Debounce, "user"), (Mode::Replace, "reply:r")] {
        let first = job().with(Options {
            dedup: options(mode),
            notify: vec![notify.to_owned()],
            user_id: Some("ann".to_owned()),
            ..Options::default()
        });
        let id = first.envelope.id;
        let narrow = match notify {
            "job" => Filter::Job(id),
            "user" => Filter::User("ann".to_owned()),
            _ => Filter::Reply("r".to_owned()),
        };
        let mut narrow = corner.fixture.client.completions(&narrow).await.unwrap();
        let mut of_queue = corner.fixture.client.completions(&Filter::Queue(TOYS)).await.unwrap();
        corner.submit(first).await.unwrap();
        let second = corner.submit(job_with("k", mode, HOUR)).await.unwrap();
        assert_eq!(second.replaced, Some(id));
        for completions in [&mut narrow, &mut of_queue] {
            let told = completions.next().await.unwrap().completions.remove(0);
            assert_eq!((told.id, told.status, told.kind.as_str()), (id, Status::Cancelled, "toy.echo"));
            assert_eq!((told.user_id.as_deref(), told.attempt), (Some("ann"), 0));
        }
        corner.submit(job_with("k", Mode::Replace, HOUR)).await.unwrap();
        let (entry, _) = corner.begin().await;
        corner.settle(&entry, Verb::Done).await;
    }
}

#[tokio::test]
async fn only_the_last_of_a_burst_runs_once_it_is_quiet() {
    let corner = Corner::new().await;
    let quiet = Duration::from_millis(300);
    let mut last = None;
    for window in [HOUR, HOUR, HOUR, quiet] {
        assert_eq!(corner.partition.promote().await.unwrap().n_moved, 0);
        let accepted = corner.submit(job_with("k", Mode::Debounce, window)).await.unwrap();
        assert_eq!(accepted.replaced, last.replace(accepted.id));
        assert_eq!(corner.depth().await, (0, 1));
    }
    eventually("a quiet window", async || (corner.partition.promote().await.unwrap().n_moved == 1).then_some(())).await;
    assert_eq!(Some(corner.begin().await.1), last);
    assert_eq!(corner.submit(job_with("k", Mode::Debounce, HOUR)).await.unwrap().replaced, None);
}

#[tokio::test]
async fn the_first_of_a_window_answers_for_the_others_even_when_it_is_done() {
    let corner = Corner::new().await;
    let first = corner.submit(job_with("k", Mode::Throttle, HOUR)).await.unwrap().id;
    let (entry, _) = corner.begin().await;
    corner.settle(&entry, Verb::Done).await;
    let second = corner.submit(job_with("k", Mode::Throttle, HOUR)).await.unwrap();
    assert_eq!((second.id, second.existing), (first, true));
    let window = Duration::from_millis(50);
    let first = corner.submit(job_with("short", Mode::Throttle, window)).await.unwrap().id;
    let (entry, _) = corner.begin().await;
    corner.settle(&entry, Verb::Done).await;
    let next = eventually("the next window", async || {
        let accepted = corner.submit(job_with("short", Mode::Throttle, window)).await.unwrap();
        (!accepted.existing).then_some(accepted)
    })
    .await;
    assert!(next.id != first && corner.depth().await == (1, 0));
}

#[tokio::test]
async fn a_key_whose_job_is_lost_ends_with_its_window() {
    let corner = Corner::new().await;
    let lost = corner.submit(job_with("k", Mode::Reject, HOUR)).await.unwrap().id;
    let (entry, _) = corner.begin().await;
    // As after a server that lost this entry, or a worker that settled without freeing.
    let held = engine::broker::Held { priority: entry.priority, entry: entry.id.clone() };
    let settling =
        engine::broker::Settling { held, id: lost, verb: Verb::Done, finish: None, n_crashes: 0, dedup_key: None };
    corner.partition.settle(&super::me(), "c", &[settling]).await.unwrap();
    assert_eq!(owner(corner.submit(job_with("k", Mode::Reject, HOUR)).await.unwrap_err()), lost);
    let replacing = corner.submit(job_with("k", Mode::Replace, Duration::from_millis(300))).await.unwrap();
    assert_eq!(replacing.replaced, None, "what is gone cannot be replaced, and holds up nobody");
    let (entry, _) = corner.begin().await;
    eventually("the window to pass", async || corner.submit(job_with("k", Mode::Reject, HOUR)).await.ok()).await;
    assert_eq!(corner.depth().await, (2, 0), "{entry:?} still runs");
}

#[tokio::test]
async fn a_job_that_ends_late_does_not_free_what_is_anothers_by_then() {
    let corner = Corner::new().await;
    corner.submit(job_with("k", Mode::Reject, Duration::from_millis(50))).await.unwrap();
    let (late, _) = corner.begin().await;
    let next =
        eventually("the window to pass", async || corner.submit(job_with("k", Mode::Reject, HOUR)).await.ok()).await;
    corner.settle(&late, Verb::Done).await;
    assert_eq!(owner(corner.submit(job_with("k", Mode::Reject, HOUR)).await.unwrap_err()), next.id);
    let dedup = job_with("k", Mode::Reject, HOUR).envelope.options.dedup.unwrap();
    let connection = corner.fixture.connection().await;
    let free = |id| engine::broker::free(&connection, &corner.partition.keys, &dedup, id);
    assert!(!free(engine::job::JobId::generate()).await.unwrap() && free(next.id).await.unwrap());
    assert!(corner.submit(job_with("k", Mode::Reject, HOUR)).await.is_ok());
}

#[tokio::test]
async fn of_a_hundred_producers_with_one_key_one_wins() {
    let corner = Corner::new().await;
    let clients =
        futures::future::join_all((0..10).map(|_| async {
            engine::client::Client::connect(corner.fixture.client.options().clone()).await.unwrap()
        }))
        .await;
    let submitted = (0..100).map(|n| clients[n % 10].submit(job_with("k", Mode::Reject, HOUR)));
    let submitted = futures::future::join_all(submitted).await;
    let (winners, losers): (Vec<_>, Vec<_>) = submitted.into_iter().partition(Result::is_ok);
    let winner = winners.into_iter().map(Result::unwrap).collect::<Vec<_>>();
    let named: BTreeSet<_> = losers.into_iter().map(|lost| owner(lost.unwrap_err())).collect();
    assert_eq!((winner.len(), named), (1, BTreeSet::from([winner[0]])));
    assert_eq!(corner.depth().await, (1, 0));
}

#[tokio::test]
async fn a_key_that_cannot_be_kept_takes_its_job_with_it() {
    let server = RedisServer::start(&[]).await;
    let corner = Corner::of(Fixture::on(&server.url()).await).await;
    corner.submit(job_with("waits", Mode::Replace, HOUR)).await.unwrap();
    corner.submit(job_with("waits too", Mode::Replace, HOUR).after(HOUR)).await.unwrap();
    let mut plain = server.connect().await;
    assert_eq!(plain.ask(&["ACL", "SETUSER", "default", "-psetex"]).await.unwrap(), "OK");
    for key in ["k", "waits", "waits too"] {
        for delay in [None, Some(HOUR)] {
            let mut submission = job_with(key, Mode::Replace, HOUR);
            submission.delay = delay;
            let refused = corner.submit(submission).await.unwrap_err();
            assert!(matches!(refused, SubmitError::Refused(_)), "{refused}");
        }
    }
    assert_eq!(corner.depth().await, (1, 1), "neither the job nor its key, and what was there stays");
    assert_eq!(plain.ask(&["ACL", "SETUSER", "default", "+psetex"]).await.unwrap(), "OK");
    assert!(corner.submit(job_with("k", Mode::Reject, HOUR)).await.is_ok());
}

#[tokio::test]
async fn what_is_brought_back_is_there_again_whoever_has_its_key() {
    let corner = Corner::new().await;
    let connection = corner.fixture.connection().await;
    let door = Door { connection: &connection, keys: &corner.fixture.keys, scope: Scope::Global };
    let submission = job_with("k", Mode::Reject, HOUR);
    let (id, dedup) = (submission.envelope.id, submission.envelope.options.dedup.clone());
    let (envelope, dedup) = (submission.envelope.write(), dedup.map(Cow::Owned));
    let back = Enqueue { id, priority: engine::job::Priority::Normal, due: None, dedup, again: true, envelope };
    let tag = corner.partition.tag.clone();
    assert_eq!(door.enqueue(&tag, std::slice::from_ref(&back)).await.unwrap(), [Enqueued::Accepted]);
    assert_eq!(owner(corner.submit(job_with("k", Mode::Reject, HOUR)).await.unwrap_err()), id, "it has its key again");
    let (entry, _) = corner.begin().await;
    corner.settle(&entry, Verb::Done).await;
    let other = corner.submit(job_with("k", Mode::Reject, HOUR)).await.unwrap().id;
    assert_eq!(door.enqueue(&tag, &[back]).await.unwrap(), [Enqueued::Accepted]);
    assert_eq!(owner(corner.submit(job_with("k", Mode::Reject, HOUR)).await.unwrap_err()), other);
    assert_eq!(corner.depth().await, (2, 0));
}

#[tokio::test]
async fn the_same_key_always_meets_itself_in_the_same_partition() {
    let fixture = Fixture::new().await;
    let all = tags(&TOYS, 4, 2);
    engine::broker::register(fixture.client.connection(), &fixture.keys, &TOYS, &all).await.unwrap();
    let keys: Vec<String> = (0..40).map(|n| format!("key {n}")).collect();
    for _ in 0..2 {
        let submissions = keys.iter().map(|key| job_with(key, Mode::Existing, HOUR)).collect();
        fixture.client.submit_each(submissions).await.unwrap();
    }
    let mut n_used = 0;
    for (number, tag) in all.iter().enumerate() {
        let depths = engine::broker::sampling::depths(fixture.client.connection(), &fixture.keys.partition(tag)).await;
        let wanted = keys.iter().filter(|key| of_key(key, 4) == number).count();
        assert_eq!(depths.unwrap().unsettled(), wanted as u64);
        n_used += usize::from(wanted > 0);
    }
    assert_eq!(n_used, 4);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_before_anything_is_sent() {
    let corner = Corner::new().await;
    let long = "x".repeat(513);
    for (key, window, word) in [("", HOUR, "empty"), (long.as_str(), HOUR, "513"), ("k", Duration::ZERO, "window")] {
        let refused = corner.submit(job_with(key, Mode::Reject, window)).await.unwrap_err();
        assert!(matches!(&refused, SubmitError::Invalid(reason) if reason.contains(word)), "{refused}");
    }
    assert_eq!(corner.depth().await, (0, 0));
}
