//! Where a job is, in every state; lists; a delayed job run now.

use std::time::Duration;

use engine::{
    client::Submission,
    envelope::Options,
    job::{JobId, Priority},
    operator::{Hastened, JobState, Listing},
};
use harness::{Fixture, WorkerOptions, eventually};

use super::{Fails, GOVERNED, Quick, Steps, Toys, operator, passed, quick, slow, standing, started};

#[tokio::test]
async fn a_job_is_found_in_every_state() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let options = WorkerOptions { n_partitions: 1, ..WorkerOptions::default() };
    let worker = started(&fixture, &toys, options).await;
    let operator = operator(&fixture).await;
    let submit = async |job: Submission| fixture.client.submit(job).await.unwrap();

    let running = submit(Submission::job(&Steps {}).unwrap()).await;
    let state = eventually("it to say how far it has come", async || {
        let state = operator.state(running).await.unwrap();
        matches!(&state, JobState::Running { progress: Some(_), .. }).then_some(state)
    })
    .await;
    let JobState::Running { deliveries, progress, worker: on, job, .. } = state else { unreachable!() };
    assert_eq!((deliveries, job.attempt, progress.unwrap().to_string().as_str()), (1, 1, "3 of 9, embedding"));
    assert!(on.starts_with("w-"));
    let retrying = submit(Submission::job(&Fails { fatal: false }).unwrap()).await;
    eventually("it put back", async || (standing(&fixture).await.2 == 1).then_some(())).await;
    let state = operator.state(retrying).await.unwrap();
    assert!(
        matches!(&state, JobState::Retrying { job, .. } if job.attempt == 2 && job.errors[0].chain == ["not yet"]),
        "{state:?}"
    );
    let failed = submit(Submission::job(&Fails { fatal: true }).unwrap()).await;
    let done = submit(Submission::job(&Quick {}).unwrap()).await;
    fixture.result(done).await;
    eventually("it failed", async || {
        matches!(operator.state(failed).await.unwrap(), JobState::Failed(_)).then_some(())
    })
    .await;
    assert!(matches!(operator.state(done).await.unwrap(), JobState::Done(_)));
    assert!(matches!(operator.state(JobId::generate()).await.unwrap(), JobState::Unknown));

    operator.pause(&GOVERNED).await.unwrap();
    passed(&fixture, Duration::from_millis(2_500)).await;
    let waiting = fixture.client.submit_all(quick(3)).await.unwrap();
    let state = operator.state(waiting[2]).await.unwrap();
    assert!(matches!(&state, JobState::Waiting { ahead: 2, ahead_or_more: false, .. }), "{state:?}");
    let delayed = submit(Submission::job(&Quick {}).unwrap().after(Duration::from_secs(3_600))).await;
    let now_ms = fixture.client.connection().now_ms().await.unwrap();
    let state = operator.state(delayed).await.unwrap();
    assert!(
        matches!(&state, JobState::Delayed { due_ms, .. } if (now_ms + 3_500_000..now_ms + 3_600_001).contains(due_ms)),
        "{state:?}"
    );
    toys.gate.add_permits(1);
    fixture.result(running).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_job_is_found_whatever_its_id_says_of_its_time() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let worker = started(&fixture, &toys, WorkerOptions::default()).await;
    let operator = operator(&fixture).await;
    operator.pause(&GOVERNED).await.unwrap();
    passed(&fixture, Duration::from_millis(2_500)).await;
    let mut job = Submission::job(&Quick {}).unwrap();
    job.envelope.id = JobId(uuid::Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef));
    // More than one page in front of it.
    fixture.client.submit_all(quick(1_200)).await.unwrap();
    let id = fixture.client.submit(job).await.unwrap();
    let state = operator.state(id).await.unwrap();
    assert!(matches!(&state, JobState::Waiting { ahead, .. } if (500..=700).contains(ahead)), "{state:?}");
    worker.stop().await;
}

#[tokio::test]
async fn jobs_are_listed_by_state_and_a_delayed_one_runs_now() {
    let (fixture, toys) = (Fixture::new().await, Toys::new());
    let worker = started(&fixture, &toys, WorkerOptions::default()).await;
    let operator = operator(&fixture).await;
    let running = fixture.client.submit_all(slow(3)).await.unwrap();
    eventually("all of them running", async || (toys.n_running() == 3).then_some(())).await;
    let after = |seconds| Submission::job(&Quick {}).unwrap().after(Duration::from_secs(seconds));
    let delayed = fixture.client.submit_all(vec![after(900), after(300), after(600)]).await.unwrap();
    let list = async |which, limit| operator.list(&GOVERNED, which, limit).await.unwrap();
    let ids = |listed: Vec<engine::operator::Listed>| listed.iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(ids(list(Listing::Delayed, 2).await), [delayed[1], delayed[2]]);
    let mut held = list(Listing::Running, 10).await;
    held.sort_by_key(|job| running.iter().position(|id| *id == job.id));
    assert!(held.iter().all(|job| job.worker.is_some()));
    assert_eq!(ids(held), running);
    assert!(list(Listing::Waiting, 10).await.is_empty());

    // Not before a time of its own, which would send it back if it were still said.
    let run_at_ms = Some(fixture.client.connection().now_ms().await.unwrap() + 3_600_000);
    let options = Options { run_at_ms, priority: Priority::High, ..Options::default() };
    let at = fixture.client.submit(Submission::job(&Quick {}).unwrap().with(options)).await.unwrap();
    for id in [delayed[0], at] {
        assert!(matches!(operator.run_now(id).await.unwrap(), Hastened::Ready));
        fixture.result(id).await;
        assert!(
            matches!(operator.run_now(id).await.unwrap(), Hastened::NotDelayed(state) if matches!(*state, JobState::Done(_)))
        );
    }
    toys.gate.add_permits(3);
    worker.stop().await;
}
