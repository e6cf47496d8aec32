//! Any sequence of submissions, starts and ends does what a small model of it says.

use std::collections::BTreeMap;

use engine::{
    broker::{Entry, Verb},
    client::{Client, ClientOptions, SubmitError},
    dedup::Mode,
    job::JobId,
    keys::Keys,
};
use harness::Fixture;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{Corner, HOUR, job_with};

#[derive(Clone, Debug)]
enum Step {
    Submit { key: u8, mode: Mode, delayed: bool },
    Begin,
    End,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let submit = (0..3_u8, 0..Mode::ALL.len(), any::<bool>());
    let submit = submit.prop_map(|(key, mode, delayed)| Step::Submit { key, mode: Mode::ALL[mode], delayed });
    prop::collection::vec(prop_oneof![4 => submit, 1 => Just(Step::Begin), 1 => Just(Step::End)], 1..40)
}

/// What is known of a job.
#[derive(Clone, Copy)]
struct Known {
    key: u8,
    mode: Mode,
}

#[derive(Default)]
struct Model {
    owners: BTreeMap<u8, JobId>,
    jobs: BTreeMap<JobId, Known>,
    ready: Vec<JobId>,
    delayed: Vec<JobId>,
    running: Vec<JobId>,
}

impl Model {
    /// The id of the answer, whether it refuses, and what was replaced.
    fn submit(&mut self, id: JobId, known: Known, delayed: bool) -> (JobId, bool, Option<JobId>) {
        let owner = self.owners.get(&known.key).copied();
        match (owner, known.mode) {
            (Some(owner), Mode::Reject) => return (owner, true, None),
            (Some(owner), Mode::Existing | Mode::Throttle) => return (owner, false, None),
            _ => {}
        }
        let replaced = owner.filter(|owner| self.ready.contains(owner) || self.delayed.contains(owner));
        for waiting in [&mut self.ready, &mut self.delayed] {
            waiting.retain(|&job| Some(job) != replaced);
        }
        let delayed = delayed || known.mode == Mode::Debounce;
        if delayed { &mut self.delayed } else { &mut self.ready }.push(id);
        self.owners.insert(known.key, id);
        self.jobs.insert(id, known);
        (id, false, replaced)
    }

    fn end(&mut self, id: JobId) {
        self.running.retain(|&job| job != id);
        let known = self.jobs[&id];
        if known.mode != Mode::Throttle && self.owners.get(&known.key) == Some(&id) {
            self.owners.remove(&known.key);
        }
    }
}

/// The same servers under another prefix.
async fn anew(fixture: &Fixture) -> Fixture {
    let keys = Keys::new(format!("test-{}:", uuid::Uuid::now_v7().simple()));
    let options = ClientOptions { keys: keys.clone(), ..fixture.client.options().clone() };
    Fixture {
        store: fixture.store.clone(),
        pool: fixture.pool.clone(),
        database_url: fixture.database_url.clone(),
        dragonfly_url: fixture.dragonfly_url.clone(),
        address: fixture.address.clone(),
        client: Client::connect(options).await.unwrap(),
        keys,
    }
}

async fn follow(corner: &Corner, steps: Vec<Step>) {
    let mut model = Model::default();
    let mut running: Vec<(Entry, JobId)> = Vec::new();
    for step in steps {
        match step {
            Step::Submit { key, mode, delayed } => {
                let mut submission = job_with(&key.to_string(), mode, HOUR);
                submission.delay = delayed.then_some(HOUR);
                let wanted = model.submit(submission.envelope.id, Known { key, mode }, delayed);
                let told = match corner.submit(submission).await {
                    Ok(accepted) => (accepted.id, false, accepted.replaced),
                    Err(SubmitError::Duplicate { owner }) => (owner, true, None),
                    Err(other) => panic!("{other}"),
                };
                assert_eq!(told, wanted);
            }
            Step::Begin => match corner.take().await {
                None => assert!(model.ready.is_empty()),
                Some(entry) => {
                    let id = super::envelope(&entry).id;
                    assert_eq!(id, model.ready.remove(0));
                    model.running.push(id);
                    running.push((entry, id));
                }
            },
            Step::End if running.is_empty() => {}
            Step::End => {
                let (entry, id) = running.remove(0);
                corner.settle(&entry, Verb::Done).await;
                model.end(id);
            }
        }
        let (stream, later) = corner.depth().await;
        assert_eq!(stream, (model.ready.len() + model.running.len()) as u64);
        assert_eq!(later, model.delayed.len() as u64);
    }
}

#[test]
fn any_sequence_of_submissions_does_what_the_model_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let fixture = runtime.block_on(Fixture::new());
    let outcome = runner.run(&steps(), |steps| {
        runtime.block_on(async {
            let corner = Corner::of(anew(&fixture).await).await;
            follow(&corner, steps).await;
            corner.partition.close().await;
        });
        Ok(())
    });
    outcome.unwrap();
}
