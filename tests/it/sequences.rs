//! Any sequence of what workers and producers do leaves every job in exactly the place that a simple reference says: the
//! scripts do what the model in `harness::model` takes for granted.

mod seen;
mod step;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use engine::{
    broker::{
        Deaths, Door, Due, Enqueue, Enqueued, Entry, Held, Partition, Scope, SettleContext, Settled, Settling,
        Submitter, Verb,
    },
    completion::Format,
    job::{JobId, Priority, QueueName},
    keys::Keys,
    partition::tags,
};
use fred::{clients::Client, interfaces::LuaInterface, prelude::ClientLike, types::config::Config};
use harness::{Fixture, eventually};
use proptest::{
    prelude::*,
    test_runner::{Config as Cases, TestRunner},
};

use self::{
    seen::{LOOK, Place, Seen, id_in},
    step::{Step, Verdict, steps},
};

const TOYS: QueueName = QueueName::from_static("toys");
const HOUR: Duration = Duration::from_secs(3_600);
const CONSUMERS: [&str; 3] = ["anna", "bob", "carl"];
const ALL: usize = 128;

/// What the scripts should have made of it.
#[derive(Default)]
struct Reference {
    jobs: BTreeMap<JobId, Place>,
    /// Delayed jobs that are due already.
    due: Vec<JobId>,
    /// Every delivery that was ever made.
    deliveries: Vec<(JobId, Held)>,
    /// How often an entry's worker died beside others, in thousands, and how often it began to run alone.
    noted: BTreeMap<String, u32>,
    beating: [bool; 3],
}

impl Reference {
    fn owner(&self, id: JobId, held: &Held, seen: &Seen) -> Option<&str> {
        match self.jobs.get(&id) {
            Some(Place::Pending(_, owner)) if seen.entries.get(held_name(held).as_str()) == Some(&id) => Some(owner),
            _ => None,
        }
    }

    fn beats(&self, consumer: &str) -> bool {
        CONSUMERS.iter().position(|known| *known == consumer).is_some_and(|number| self.beating[number])
    }
}

fn held_name(held: &Held) -> String {
    format!("{}:{}", held.priority.lane(), held.entry.as_str())
}

fn envelope(id: JobId) -> Bytes {
    Bytes::from(format!("{{\"kind\":\"toy.echo\",\"id\":\"{id}\"}}"))
}

/// A partition, what should be in it, and what is.
struct Corner {
    partition: Partition,
    keys: Keys,
    observer: Client,
    submitter: Submitter,
    connection: engine::broker::Connection,
    reference: Reference,
    seen: Seen,
}

impl Corner {
    async fn new(fixture: &Fixture, observer: &Client) -> Self {
        let keys = Keys::new(format!("test-{}:", uuid::Uuid::now_v7().simple()));
        let tag = tags(&TOYS, 1, 1).remove(0);
        let partition = Partition::open(&fixture.address, &keys, TOYS, tag).await.unwrap();
        let connection = fixture.client.connection().clone();
        let submitter = Submitter::new(connection.clone());
        let (reference, seen) = (Reference { beating: [true; 3], ..Reference::default() }, Seen::default());
        let mut corner = Self { partition, keys, observer: observer.clone(), submitter, connection, reference, seen };
        corner.look().await;
        for consumer in CONSUMERS {
            corner.partition.beat(consumer).await.unwrap();
        }
        corner
    }

    async fn look(&mut self) {
        let keys = &self.partition.keys;
        let mut names = keys.lanes.to_vec();
        names.extend([&keys.later, &keys.later_jobs, &keys.crashes, &keys.dead, &keys.control].map(Clone::clone));
        let text: String = self.observer.eval(LOOK, names, Vec::<String>::new()).await.unwrap();
        self.seen = Seen::read(&text);
    }

    async fn follow(&mut self, step: &Step) {
        match step {
            Step::Submit { lane } => self.submit(*lane).await,
            Step::Delay { lane, due } => self.delay(*lane, *due).await,
            Step::Take { by, limit } => self.take(CONSUMERS[*by], *limit).await,
            Step::Settle { by, verdicts } => self.settle(CONSUMERS[*by], verdicts).await,
            Step::HandBack { by, which } => self.hand_back(CONSUMERS[*by], *which).await,
            Step::Note { by, which, alone } => self.note(CONSUMERS[*by], *which, *alone).await,
            Step::Crash { who } => {
                self.partition.stop_beating(CONSUMERS[*who]).await.unwrap();
                self.reference.beating[*who] = false;
            }
            Step::Beat { who } => {
                self.partition.beat(CONSUMERS[*who]).await.unwrap();
                self.reference.beating[*who] = true;
            }
            Step::Reclaim { by } => self.reclaim(CONSUMERS[*by]).await,
            Step::Promote => {
                self.promote().await;
                for id in std::mem::take(&mut self.reference.due) {
                    let Some(Place::Later(lane)) = self.reference.jobs.remove(&id) else { panic!("it waits") };
                    self.reference.jobs.insert(id, Place::Ready(lane));
                }
            }
        }
        self.look().await;
        assert_eq!(self.seen.jobs, self.reference.jobs, "after {step:?}");
        assert_eq!(self.seen.noted, self.reference.noted, "after {step:?}");
    }

    /// All that is due, and nothing else; the clock may have to move on by a millisecond.
    async fn promote(&mut self) {
        let (n_due, mut n_moved) = (self.reference.due.len(), 0);
        while n_moved < n_due {
            n_moved += eventually("what is due", async || {
                let promoted = self.partition.promote().await.unwrap();
                (promoted.n_moved > 0).then_some(promoted.n_moved)
            })
            .await;
        }
        assert_eq!(n_moved + self.partition.promote().await.unwrap().n_moved, n_due);
    }

    async fn submit(&mut self, lane: Priority) {
        let id = JobId::generate();
        self.submitter.add(&self.partition.keys, lane, envelope(id)).await.unwrap();
        self.reference.jobs.insert(id, Place::Ready(lane));
    }

    async fn delay(&mut self, priority: Priority, due: bool) {
        let id = JobId::generate();
        let wait = Some(Due::In(if due { Duration::ZERO } else { HOUR }));
        let job = Enqueue { id, priority, due: wait, dedup: None, again: false, envelope: envelope(id) };
        let door = Door { connection: &self.connection, keys: &self.keys, scope: Scope::Global };
        assert_eq!(door.enqueue(&self.partition.tag, &[job]).await.unwrap(), [Enqueued::Accepted]);
        self.delayed(id, priority, due);
    }

    fn delayed(&mut self, id: JobId, lane: Priority, due: bool) {
        self.reference.jobs.insert(id, Place::Later(lane));
        if due {
            self.reference.due.push(id);
        }
    }

    async fn take(&mut self, by: &str, limit: usize) {
        let taken = self.partition.take(by, limit).await.unwrap().jobs();
        let ids: Vec<JobId> = taken.iter().map(job).collect();
        let first: Vec<JobId> = self.seen.ready.iter().take(limit).copied().collect();
        assert_eq!(ids, first, "high before normal before low, each in its order");
        self.receive(by, &taken);
    }

    fn receive(&mut self, by: &str, entries: &[Entry]) {
        for entry in entries {
            self.reference.jobs.insert(job(entry), Place::Pending(entry.priority, by.to_owned()));
            let held = Held { priority: entry.priority, entry: entry.id.clone() };
            self.reference.deliveries.push((job(entry), held));
        }
    }

    async fn settle(&mut self, by: &str, verdicts: &[(prop::sample::Index, Verdict)]) {
        let mut chosen: BTreeMap<String, (JobId, Held, Verdict)> = BTreeMap::new();
        for (which, verdict) in verdicts.iter().filter(|_| !self.reference.deliveries.is_empty()) {
            let (id, held) = which.get(&self.reference.deliveries).clone();
            chosen.insert(held_name(&held), (id, held, *verdict));
        }
        let batch: Vec<Settling> = chosen.values().map(|(id, held, verdict)| settling(*id, held, *verdict)).collect();
        let retention = Duration::from_secs(60);
        let context = SettleContext { consumer: by.to_owned(), format: Format::Json, scope: Scope::Global, retention };
        let channel = self.keys.done_channel(&TOYS);
        let settled = self.partition.settle(&context, &channel, &batch).await.unwrap();
        for ((id, held, verdict), settled) in chosen.into_values().zip(settled) {
            let owned = self.reference.owner(id, &held, &self.seen) == Some(by);
            assert_eq!(settled, if owned { Settled::Done } else { Settled::NotOwned });
            if owned {
                self.reference.noted.remove(&held_name(&held));
                self.end(id, held.priority, verdict);
            }
        }
    }

    fn end(&mut self, id: JobId, lane: Priority, verdict: Verdict) {
        match verdict {
            Verdict::Done => drop(self.reference.jobs.remove(&id)),
            Verdict::Retry { due } => self.delayed(id, lane, due),
            Verdict::Dead => drop(self.reference.jobs.insert(id, Place::Dead)),
        }
    }

    async fn hand_back(&mut self, by: &str, which: prop::sample::Index) {
        if self.reference.deliveries.is_empty() {
            return;
        }
        let (id, held) = which.get(&self.reference.deliveries).clone();
        let owned = self.reference.owner(id, &held, &self.seen) == Some(by);
        assert_eq!(self.partition.release(by, std::slice::from_ref(&held)).await.unwrap(), usize::from(owned));
        if owned {
            self.reference.jobs.insert(id, Place::Pending(held.priority, engine::keys::RELEASED.to_owned()));
        }
    }

    /// A suspected entry begins to run alone, or does so no more.
    async fn note(&mut self, by: &str, which: prop::sample::Index, alone: bool) {
        if self.reference.deliveries.is_empty() {
            return;
        }
        let (id, held) = which.get(&self.reference.deliveries).clone();
        let owned = self.reference.owner(id, &held, &self.seen) == Some(by);
        let noted = self.reference.noted.get(&held_name(&held)).copied().unwrap_or_default();
        let n_before = if alone { noted % 1_000 } else { (noted % 1_000).saturating_sub(1) };
        let known = Deaths { in_company: noted / 1_000, alone: n_before };
        let told = if alone {
            self.partition.begin_alone(by, &held, known).await
        } else {
            self.partition.forget_alone(by, &held, known).await
        };
        assert_eq!(told.unwrap(), owned);
        if owned {
            let n_alone = known.alone + u32::from(alone);
            self.reference.noted.insert(held_name(&held), 1_000 * known.in_company + n_alone);
        }
    }

    /// All that nobody holds whose heart beats, and nothing else.
    async fn reclaim(&mut self, by: &str) {
        let claimed = self.partition.reclaim(by, HOUR, ALL, &[]).await.unwrap().entries;
        let mut wanted: BTreeMap<JobId, Deaths> = BTreeMap::new();
        for (name, id) in &self.seen.entries {
            let Some(Place::Pending(_, owner)) = self.reference.jobs.get(id) else { continue };
            if owner != by && !self.reference.beats(owner) {
                let mut noted = self.reference.noted.get(name).copied().unwrap_or_default();
                if owner != engine::keys::RELEASED && noted % 1_000 == 0 {
                    noted += 1_000;
                    self.reference.noted.insert(name.clone(), noted);
                }
                wanted.insert(*id, Deaths { in_company: noted / 1_000, alone: noted % 1_000 });
            }
        }
        let got: BTreeMap<JobId, Deaths> = claimed.iter().map(|entry| (job(entry), entry.deaths)).collect();
        assert_eq!(got, wanted);
        self.receive(by, &claimed);
    }
}

fn job(entry: &Entry) -> JobId {
    id_in(std::str::from_utf8(entry.job.as_ref().expect("a job")).unwrap())
}

fn settling(id: JobId, held: &Held, verdict: Verdict) -> Settling {
    let verb = match verdict {
        Verdict::Done => Verb::Done,
        Verdict::Retry { due } => {
            let again = [&[b'0' + held.priority.lane()], &envelope(id)[..]].concat();
            Verb::Later(if due { Duration::ZERO } else { HOUR }, Bytes::from(again))
        }
        Verdict::Dead => Verb::Dead(envelope(id)),
    };
    Settling { held: held.clone(), id, verb, finish: None, n_crashes: 1, dedup_key: None }
}

#[test]
fn any_sequence_of_calls_leaves_every_job_in_exactly_one_place() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (fixture, observer) = runtime.block_on(async {
        let fixture = Fixture::new().await;
        let observer = Client::new(Config::from_url(&fixture.dragonfly_url).unwrap(), None, None, None);
        drop(observer.init().await.unwrap());
        (fixture, observer)
    });
    let mut runner = TestRunner::new(Cases { cases: 32, failure_persistence: None, ..Cases::default() });
    let outcome = runner.run(&steps(), |steps| {
        runtime.block_on(async {
            let mut corner = Corner::new(&fixture, &observer).await;
            for step in &steps {
                corner.follow(step).await;
            }
            corner.partition.close().await;
        });
        Ok(())
    });
    outcome.unwrap();
}
