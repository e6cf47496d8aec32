//! A settlement is packed for the server's sake; what it does to each delivery is the same however they come.

use std::{collections::BTreeMap, time::Duration};

use bytes::BytesMut;
use engine::{
    broker::{Entry, Finish, Held, Partition, Scope, SettleContext, Settled, Settling, Verb, register, replay::replay},
    client::Submission,
    completion::{Completion, Ending, Format, Timings, read_batch},
    completions::Filter,
    envelope::Options,
    handler::{Attempt, Job, Output},
    job::{JobId, Kind, Priority, QueueName},
    outcome::{JobError, Status},
    partition::tags,
    registry::Registry,
};
use harness::{Fixture, RunningWorker, WorkerOptions, eventually, patience};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const TOYS: QueueName = QueueName::from_static("toys");
const KINDS: [Kind; 2] = [Kind::from_static("toy.a"), Kind::from_static("toy.b")];
const ME: &str = "me";

struct Corner {
    fixture: Fixture,
    partition: Partition,
    context: SettleContext,
}

impl Corner {
    async fn new(format: Format) -> Self {
        let fixture = Fixture::new().await;
        register(fixture.client.connection(), &fixture.keys, &TOYS, &tags(&TOYS, 1, 1)).await.unwrap();
        let tag = tags(&TOYS, 1, 1).remove(0);
        let partition = Partition::open(&fixture.address, &fixture.keys, TOYS, tag).await.unwrap();
        let retention = Duration::from_secs(60);
        let context = SettleContext { consumer: ME.to_owned(), format, scope: Scope::Global, retention };
        Self { fixture, partition, context }
    }

    /// So many jobs, every third urgent, all taken.
    async fn taken(&self, n_jobs: usize) -> Vec<Entry> {
        let priority = |n| if n % 3 == 0 { Priority::High } else { Priority::Normal };
        let options = |n| Options { priority: priority(n), ..Options::default() };
        let job = |n| Submission::of(KINDS[0].clone(), TOYS, &n).unwrap().with(options(n));
        self.fixture.client.submit_all((0..n_jobs).map(job).collect()).await.unwrap();
        self.partition.beat(ME).await.unwrap();
        let mut taken = Vec::new();
        while taken.len() < n_jobs {
            taken.extend(self.partition.take(ME, 128).await.unwrap().jobs());
        }
        taken
    }

    /// Done, with a completion of either kind.
    fn done(&self, entry: &Entry, kind: &Kind) -> Settling {
        let id = entry.derived_job_id(self.partition.keys.lane(entry.priority));
        let completion = Completion {
            id,
            kind: kind.clone(),
            queue: TOYS,
            status: Status::Done,
            attempt: 1,
            result: None,
            result_ref: None,
            error: None,
            timings: Timings::default(),
            user_id: None,
            worker: ME.to_owned(),
            traceparent: None,
            partition: "toys~0".to_owned(),
            seq: 0,
        };
        let mut open = BytesMut::new();
        Ending::of(&completion).write_open(self.context.format, &mut open);
        let kind_channel = self.fixture.keys.kind_channel(kind).into();
        let finish = Finish { open: open.freeze(), kind_channel, further: Vec::new() };
        let held = Held { priority: entry.priority, entry: entry.id.clone() };
        Settling { held, id, verb: Verb::Done, finish: Some(finish), n_crashes: 0, dedup_key: None }
    }

    async fn settle(&self, batch: &[Settling]) -> Vec<Settled> {
        self.partition.settle(&self.context, &self.fixture.keys.done_channel(&TOYS), batch).await.unwrap()
    }

    /// The replayed completions: job and number, in the order of the numbers.
    async fn replayed(&self) -> BTreeMap<u64, JobId> {
        let batches = replay(self.fixture.client.connection(), &self.partition.keys, None, 100).await.unwrap();
        let completions = batches.iter().flat_map(|replayed| read_batch(&replayed.batch).unwrap());
        completions.map(|completion| (completion.seq, completion.id)).collect()
    }
}

/// What is handed back, settled already or never was ours is neither settled nor told; all others are, each in its place.
#[tokio::test]
async fn every_delivery_has_its_own_answer_in_whatever_order_they_come() {
    for format in [Format::MsgPack, Format::Json] {
        let corner = Corner::new(format).await;
        let taken = corner.taken(40).await;
        let not_ours: Vec<usize> = vec![0, 7, 8, 39];
        let back: Vec<Held> = not_ours.iter().map(|&place| taken[place].clone().into_held()).collect();
        assert_eq!(corner.partition.release(ME, &back).await.unwrap(), back.len());

        let numbers: Vec<usize> = (0..taken.len()).map(|n| n * 17 % taken.len()).collect();
        let mut batch: Vec<Settling> =
            numbers.iter().map(|&number| corner.done(&taken[number], &KINDS[number % 2])).collect();
        let mut of_one_job = corner.fixture.client.completions(&Filter::Job(batch[3].id)).await.unwrap();
        batch[3].finish.as_mut().unwrap().further = vec![corner.fixture.keys.job_channel(batch[3].id)];
        batch[5].n_crashes = 1;
        batch[9].verb = Verb::Later(Duration::from_secs(3_600), b"2x".as_slice().into());
        batch[9].finish = None;
        let mut of_kind = corner.fixture.client.completions(&Filter::Kind(KINDS[1].clone())).await.unwrap();

        let verdicts = corner.settle(&batch).await;
        let wanted = |number: &usize| if not_ours.contains(number) { Settled::NotOwned } else { Settled::Done };
        assert_eq!(verdicts, numbers.iter().map(wanted).collect::<Vec<_>>());

        let told: Vec<JobId> = corner.replayed().await.into_values().collect();
        let retried = batch[9].id;
        let ours =
            || numbers.iter().zip(&batch).filter(|(number, one)| !not_ours.contains(number) && one.id != retried);
        let mut wanted: Vec<JobId> = ours().map(|(_, one)| one.id).collect();
        let mut sorted = told.clone();
        sorted.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(sorted, wanted);
        assert_eq!(
            corner.replayed().await.into_keys().collect::<Vec<_>>(),
            (1..=told.len() as u64).collect::<Vec<_>>()
        );

        let odd = ours().filter(|(number, _)| **number % 2 == 1).count();
        let heard = of_kind.next().await.unwrap().completions;
        assert_eq!(heard.len(), odd);
        assert!(heard.iter().all(|completion| completion.kind == KINDS[1]));
        assert_eq!(of_one_job.next().await.unwrap().completions.len(), 1);
        assert!(corner.settle(&batch).await.iter().all(|&verdict| verdict == Settled::NotOwned), "once");
        corner.partition.close().await;
    }
}

/// The numbers go on across calls, also where their last byte runs over.
#[tokio::test]
async fn numbers_have_no_gap_across_many_settlements() {
    let corner = Corner::new(Format::MsgPack).await;
    for n_jobs in [120, 15, 16, 1, 128, 100] {
        let taken = corner.taken(n_jobs).await;
        let batch: Vec<Settling> = taken.iter().map(|entry| corner.done(entry, &KINDS[0])).collect();
        assert!(corner.settle(&batch).await.iter().all(|&verdict| verdict == Settled::Done));
    }
    assert_eq!(corner.replayed().await.into_keys().collect::<Vec<_>>(), (1..=380).collect::<Vec<u64>>());
    corner.partition.close().await;
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Warm {
    n: u64,
}

#[derive(Serialize, JsonSchema)]
struct Warmed {
    n: u64,
}

impl Output for Warmed {
    const IS_KEPT: bool = false;
}

impl Job for Warm {
    const KIND: &'static str = "toy.warm";
    const QUEUE: QueueName = TOYS;
    type Context = ();
    type Output = Warmed;
    async fn run(self, _attempt: &Attempt<()>) -> Result<Warmed, JobError> {
        Ok(Warmed { n: self.n })
    }
}

#[tokio::test]
async fn a_result_that_is_not_kept_is_told_and_leaves_no_row() {
    let fixture = Fixture::new().await;
    let registry = Registry::default().job::<Warm>().unwrap();
    let worker = RunningWorker::start(&fixture, registry, ().into(), WorkerOptions::default()).await;
    let completion =
        fixture.client.submit_and_wait(Submission::job(&Warm { n: 7 }).unwrap(), patience()).await.unwrap();
    assert_eq!((completion.status, completion.result), (Status::Done, Some(serde_json::json!({ "n": 7 }))));
    eventually("nothing to be left", async || (fixture.depth(&TOYS).await == (0, 0)).then_some(())).await;
    assert_eq!(fixture.number("select count(*) from job_results").await, 0);
    worker.stop().await;
}
