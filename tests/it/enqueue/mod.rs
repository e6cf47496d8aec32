//! How jobs are accepted: each dedup key once, within budgets, nothing left behind by what was refused.

mod budgets;
mod bulk;
mod dedup;
mod model;
mod replicas;

use std::time::Duration;

use bytes::Bytes;
use engine::{
    broker::{Entry, Finish, Held, Partition, Scope, SettleContext, Settled, Settling, Verb, sampling},
    client::{Accepted, Submission, SubmitError},
    completion::Format,
    dedup::{Dedup, Mode},
    envelope::{Envelope, Options, Reading},
    job::{JobId, Kind, QueueName},
    partition::tags,
};
use harness::Fixture;

const TOYS: QueueName = QueueName::from_static("toys");
const HOUR: Duration = Duration::from_secs(3_600);

/// A queue of one partition whose only worker is the test itself.
struct Corner {
    fixture: Fixture,
    partition: Partition,
}

impl Corner {
    async fn new() -> Self {
        Self::of(Fixture::new().await).await
    }

    async fn of(fixture: Fixture) -> Self {
        let tag = tags(&TOYS, 1, 1).remove(0);
        let partition = Partition::open(&fixture.address, &fixture.keys, TOYS, tag).await.unwrap();
        Self { fixture, partition }
    }

    async fn submit(&self, submission: Submission) -> Result<Accepted, SubmitError> {
        self.fixture.client.submit_each(vec![submission]).await?.remove(0)
    }

    /// The next ready job, which runs from now on.
    async fn take(&self) -> Option<Entry> {
        self.partition.take("me", 1).await.unwrap().jobs().pop()
    }

    /// Takes the next ready job and gives its id.
    async fn begin(&self) -> (Entry, JobId) {
        let entry = self.take().await.expect("a ready job");
        let id = envelope(&entry).id;
        (entry, id)
    }

    /// Settles what [`Corner::begin`] gave, as a worker would.
    async fn settle(&self, entry: &Entry, verb: Verb) {
        let Envelope { id, options, .. } = envelope(entry);
        let over = !matches!(verb, Verb::Later(..));
        let dedup = options.dedup.filter(|dedup| over && dedup.mode != Mode::Throttle);
        let dedup_key = dedup.map(|dedup| self.partition.keys.dedup(&dedup.key));
        let held = Held { priority: entry.priority, entry: entry.id.clone() };
        let open = Bytes::from_static(b"{\"seq\":");
        let finish = over.then(|| Finish { open, kind_channel: "kind".into(), further: Vec::new() });
        let settling = [Settling { held, id, verb, finish, n_crashes: 0, dedup_key }];
        let channel = self.fixture.keys.done_channel(&TOYS);
        assert_eq!(self.partition.settle(&me(), &channel, &settling).await.unwrap(), [Settled::Done]);
    }

    /// How many jobs are ready or running, and how many are delayed.
    async fn depth(&self) -> (u64, u64) {
        let depths = sampling::depths(self.fixture.client.connection(), &self.partition.keys).await.unwrap();
        (depths.lanes.iter().sum(), depths.later)
    }
}

fn me() -> SettleContext {
    let retention = Duration::from_secs(60);
    SettleContext { consumer: "me".to_owned(), format: Format::Json, scope: Scope::Global, retention }
}

fn envelope(entry: &Entry) -> Envelope {
    let read = Envelope::read(entry.job.as_ref().unwrap(), || panic!("it has an id")).unwrap();
    let Reading::Whole(envelope) = read else { panic!("it is not newer") };
    envelope
}

fn job() -> Submission {
    Submission::of(Kind::from_static("toy.echo"), TOYS, &serde_json::json!({ "n": 1 })).unwrap()
}

fn job_with(key: &str, mode: Mode, window: Duration) -> Submission {
    let window_ms = u64::try_from(window.as_millis()).unwrap();
    let dedup = Some(Dedup { key: key.to_owned(), window_ms, mode });
    job().with(Options { dedup, ..Options::default() })
}
