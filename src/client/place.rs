//! Puts jobs into Dragonfly, spread over their queues' partitions.
//!
//! Promise: each job is answered for by itself; jobs that share a dedup key meet in one partition. Jobs of a replicated
//! queue are accepted once enough replicas have them.

use std::{borrow::Cow, collections::HashSet};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Accepted, Client, Guarantees, Submission, SubmitError, Submitted,
    fleet::{Fleet, place, tag_at},
};
use crate::{
    broker::{BrokerError, Door, Due, Enqueue, Enqueued, MAX_PER_SCRIPT, Writes},
    dedup,
    job::{JobId, QueueName},
    partition::Tag,
    policy::{Durability, Policy},
};

/// How many calls of a batch are on their way at once: enough that the server never waits, few enough that none of them
/// is out of time before its turn.
const CALLS: usize = 32;

/// A job to place.
#[derive(Clone)]
pub(super) struct Unplaced<'s> {
    /// Its place among what is submitted together.
    pub(super) number: usize,
    /// The job.
    pub(super) submission: &'s Submission,
    /// Its envelope, where somebody had to write it already; the others are written while those before are on their way.
    pub(super) written: Option<Bytes>,
}

impl Unplaced<'_> {
    fn envelope(&self) -> Bytes {
        self.written.clone().unwrap_or_else(|| self.submission.envelope.write())
    }

    fn due(&self) -> Option<Due> {
        let at = self.submission.envelope.options.run_at_ms.map(Due::At);
        self.submission.delay.map(Due::In).or(at)
    }
}

/// Jobs of one partition.
struct Group<'s> {
    queue: &'s QueueName,
    tag: Tag,
    jobs: Vec<Unplaced<'s>>,
}

impl Client {
    /// Puts jobs into Dragonfly, spread over their queues' partitions.
    pub(super) async fn place(
        &self,
        fleet: &Fleet,
        jobs: Vec<Unplaced<'_>>,
    ) -> Result<Vec<(usize, Submitted)>, SubmitError> {
        if let Some(error) = fleet.away.clone().filter(|_| !jobs.is_empty()) {
            return Err(error.into());
        }
        let replicated: HashSet<usize> = if self.any_replicated(fleet) {
            let is_replicated =
                |job: &&Unplaced<'_>| self.durability(fleet, &job.submission.queue) == Durability::Replicated;
            jobs.iter().filter(is_replicated).map(|job| job.number).collect()
        } else {
            HashSet::new()
        };
        let groups = spread(fleet, jobs)?;
        let writes = if replicated.is_empty() { None } else { Some(self.replicas.begin().await?) };
        let added = groups.into_iter().map(|group| self.add(fleet, group));
        let submitted = futures::future::try_join_all(added).await?;
        let mut submitted: Vec<(usize, Submitted)> = submitted.into_iter().flatten().collect();
        if let Some(writes) = writes {
            self.replicate(&writes, submitted.iter_mut().filter(|(number, _)| replicated.contains(number))).await?;
        }
        Ok(submitted)
    }

    fn any_replicated(&self, fleet: &Fleet) -> bool {
        let decided = fleet.policies.values().filter_map(|policy| policy.durability);
        decided.chain([self.options.guarantees.durability]).any(|durability| durability == Durability::Replicated)
    }

    pub(super) fn durability(&self, fleet: &Fleet, queue: &QueueName) -> Durability {
        let decided = fleet.policies.get(queue).and_then(|policy| policy.durability);
        decided.unwrap_or(self.options.guarantees.durability)
    }

    /// Waits once for all of them.
    async fn replicate(
        &self,
        writes: &Writes<'_>,
        submitted: impl Iterator<Item = &mut (usize, Submitted)>,
    ) -> Result<(), SubmitError> {
        let Guarantees { min_replicas: wanted, replicas_within, .. } = self.options.guarantees;
        let got = writes.replicated(wanted, replicas_within).await?;
        if got < wanted {
            let accepted = submitted.filter(|(_, submitted)| submitted.is_ok());
            accepted.for_each(|(_, submitted)| *submitted = Err(SubmitError::NotReplicated { wanted, got }));
        }
        Ok(())
    }

    /// Ready jobs that nobody has to judge go as plain additions, the others through the script.
    async fn add(&self, fleet: &Fleet, group: Group<'_>) -> Result<Vec<(usize, Submitted)>, SubmitError> {
        let limited = fleet.policies.get(group.queue).is_some_and(Policy::limits_producers);
        let (mut lanes, mut judged) = ([const { Vec::new() }; 3], Vec::new());
        let mut submitted = Vec::with_capacity(group.jobs.len());
        for job in group.jobs {
            let envelope = &job.submission.envelope;
            if limited || envelope.options.dedup.is_some() || job.due().is_some() {
                judged.push(job);
            } else {
                submitted.push((job.number, Ok(Accepted::new(envelope.id))));
                lanes[usize::from(envelope.options.priority.lane()) - 1].push(job);
            }
        }
        self.add_ready(&group.tag, &lanes).await?;
        submitted.extend(self.add_judged(&group.tag, &judged).await?);
        Ok(submitted)
    }

    /// Each lane's jobs in their order, many in a call.
    async fn add_ready(&self, tag: &Tag, lanes: &[Vec<Unplaced<'_>>; 3]) -> Result<(), SubmitError> {
        let names = self.options.keys.partition(tag).lanes;
        for (name, jobs) in names.iter().zip(lanes) {
            let calls = jobs
                .chunks(MAX_PER_SCRIPT)
                .map(async |some| self.submitter.add_some(name, some.iter().map(Unplaced::envelope).collect()).await);
            at_once(calls.collect(), CALLS).await?;
        }
        Ok(())
    }

    async fn add_judged(&self, tag: &Tag, jobs: &[Unplaced<'_>]) -> Result<Vec<(usize, Submitted)>, SubmitError> {
        let calls = jobs.chunks(MAX_PER_SCRIPT).map(async |some| {
            let asked: Vec<Enqueue<'_>> = some.iter().map(enqueue).collect();
            self.door().enqueue_some(tag, &asked).await
        });
        let verdicts = at_once(calls.collect(), CALLS).await?.into_iter().flatten();
        let submitted = jobs.iter().zip(verdicts).map(|(Unplaced { number, submission, .. }, verdict)| {
            (*number, told(submission.envelope.id, &submission.queue, verdict))
        });
        Ok(submitted.collect())
    }

    fn door(&self) -> Door<'_> {
        Door { connection: &self.connection, keys: &self.options.keys, scope: self.options.scope }
    }
}

/// Begun one after the other and answered in that order, at most so many at once.
pub(super) async fn at_once<T, E>(calls: Vec<impl Future<Output = Result<T, E>>>, most: usize) -> Result<Vec<T>, E> {
    let mut calls = calls.into_iter();
    match (calls.next(), calls.len()) {
        (None, _) => Ok(Vec::new()),
        // Alone it is awaited as it is: a stream of one wakes its own task each time that it has to wait.
        (Some(only), 0) => Ok(vec![only.await?]),
        (Some(first), _) => stream::iter(std::iter::once(first).chain(calls)).buffered(most).try_collect().await,
    }
}

/// Jobs by the partition that each goes to: that of its dedup key, or all of its queue's in turn.
fn spread<'s>(fleet: &Fleet, jobs: Vec<Unplaced<'s>>) -> Result<Vec<Group<'s>>, SubmitError> {
    let turn = fastrand::usize(..1 << 16);
    // By the queue and the place of the partition among its queue's. Few, and neighbours mostly share it.
    let mut groups: Vec<(usize, Group<'s>)> = Vec::new();
    let mut last = 0;
    for job in jobs {
        let queue = &job.submission.queue;
        let key = job.submission.envelope.options.dedup.as_ref().map(check).transpose()?;
        let place = place(&fleet.queues, queue, key, turn + job.number);
        let is_its = |(at, group): &(usize, Group<'s>)| *at == place && group.queue == queue;
        if !groups.get(last).is_some_and(is_its) {
            last = groups.iter().position(is_its).unwrap_or_else(|| {
                groups.push((place, Group { queue, tag: tag_at(&fleet.queues, queue, place), jobs: Vec::new() }));
                groups.len() - 1
            });
        }
        groups[last].1.jobs.push(job);
    }
    Ok(groups.into_iter().map(|(_, group)| group).collect())
}

fn enqueue<'s>(job: &Unplaced<'s>) -> Enqueue<'s> {
    let envelope = &job.submission.envelope;
    let dedup = envelope.options.dedup.as_ref().map(Cow::Borrowed);
    let priority = envelope.options.priority;
    Enqueue { id: envelope.id, priority, due: job.due(), dedup, again: false, envelope: job.envelope() }
}

fn check(dedup: &dedup::Dedup) -> Result<&str, SubmitError> {
    let reason = match dedup.key.len() {
        0 => "the dedup key is empty; expected what makes two jobs the same".to_owned(),
        n if n > dedup::MAX_KEY_BYTES => {
            format!("the dedup key has {n} bytes; expected at most {}", dedup::MAX_KEY_BYTES)
        }
        _ if dedup.window_ms == 0 => "the dedup window is 0 ms; expected how long the key shall last".to_owned(),
        _ => return Ok(&dedup.key),
    };
    Err(SubmitError::Invalid(reason))
}

fn told(id: JobId, queue: &QueueName, verdict: Enqueued) -> Submitted {
    match verdict {
        Enqueued::Accepted => Ok(Accepted::new(id)),
        Enqueued::Replaced(replaced) => Ok(Accepted { replaced: Some(replaced), ..Accepted::new(id) }),
        Enqueued::Existing(owner) => Ok(Accepted { existing: true, ..Accepted::new(owner) }),
        Enqueued::Duplicate(owner) => Err(SubmitError::Duplicate { owner }),
        Enqueued::Busy(retry_after) => Err(SubmitError::Busy { queue: queue.clone(), retry_after }),
        Enqueued::Closed => Err(SubmitError::Closed(queue.clone())),
        Enqueued::OutOfMemory => Err(SubmitError::Refused(BrokerError::out_of_memory("enqueue"))),
    }
}
