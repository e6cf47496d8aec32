//! Puts jobs into Dragonfly, spread over their queues' partitions.
//!
//! Promise: each job is answered for by itself; jobs that share a dedup key meet in one partition. Jobs of a replicated
//! queue are accepted once enough replicas have them.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{Accepted, Client, Guarantees, Submission, SubmitError, Submitted, fleet::Fleet, fleet::choose};
use crate::{
    broker::{BrokerError, Door, Due, Enqueue, Enqueued, Writes},
    dedup,
    job::{JobId, QueueName},
    partition::Tag,
    policy::{Durability, Policy},
};

/// Whether ready jobs go through the script too, 128 a call, where nothing has to be judged.
const PACK_ALL: bool = false;

impl Client {
    /// Puts jobs into Dragonfly, spread over their queues' partitions.
    pub(super) async fn place(
        &self,
        fleet: &Fleet,
        jobs: Vec<(usize, Submission)>,
    ) -> Result<Vec<(usize, Submitted)>, SubmitError> {
        if let Some(error) = fleet.away.clone().filter(|_| !jobs.is_empty()) {
            return Err(error.into());
        }
        let mut by_partition: HashMap<Tag, Vec<(usize, Submission)>> = HashMap::new();
        let turn = fastrand::usize(..1 << 16);
        for (number, submission) in jobs {
            let key = submission.envelope.options.dedup.as_ref().map(check).transpose()?;
            let tag = choose(&fleet.queues, &submission.queue, key, turn + number);
            by_partition.entry(tag).or_default().push((number, submission));
        }
        let replicated: HashSet<usize> = if self.any_replicated(fleet) {
            let all = by_partition.values().flatten();
            let replicated = all.filter(|(_, job)| self.durability(fleet, &job.queue) == Durability::Replicated);
            replicated.map(|(number, _)| *number).collect()
        } else {
            HashSet::new()
        };
        let writes = if replicated.is_empty() { None } else { Some(Writes::begin(&self.connection).await?) };
        let added = by_partition.into_iter().map(|(tag, jobs)| self.add(fleet, tag, jobs));
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
    async fn add(
        &self,
        fleet: &Fleet,
        tag: Tag,
        jobs: Vec<(usize, Submission)>,
    ) -> Result<Vec<(usize, Submitted)>, SubmitError> {
        let mut submitted = Vec::with_capacity(jobs.len());
        let queue = jobs.first().map(|(_, submission)| &submission.queue);
        let limited = queue.and_then(|queue| fleet.policies.get(queue)).is_some_and(Policy::limits_producers);
        let (mut ready, mut judged, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for (number, Submission { queue, envelope, delay }) in jobs {
            let due = due(delay, envelope.options.run_at_ms);
            let (id, priority) = (envelope.id, envelope.options.priority);
            if PACK_ALL || limited || due.is_some() || envelope.options.dedup.is_some() {
                let dedup = envelope.options.dedup.clone();
                judged.push(Enqueue { id, priority, due, dedup, again: false, envelope: envelope.write() });
                places.push((number, queue));
            } else {
                ready.push((priority, envelope.write()));
                submitted.push((number, Ok(Accepted::new(id))));
            }
        }
        self.submitter.add_all(&self.options.keys.partition(&tag), ready).await?;
        let verdicts = self.door().enqueue(&tag, &judged).await?;
        let judged = judged.iter().zip(places).zip(verdicts);
        submitted.extend(judged.map(|((job, (number, queue)), verdict)| (number, told(job.id, queue, verdict))));
        Ok(submitted)
    }

    fn door(&self) -> Door<'_> {
        Door { connection: &self.connection, keys: &self.options.keys, scope: self.options.scope }
    }
}

fn due(delay: Option<Duration>, run_at_ms: Option<u64>) -> Option<Due> {
    delay.map(Due::In).or_else(|| run_at_ms.map(Due::At))
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

fn told(id: JobId, queue: QueueName, verdict: Enqueued) -> Submitted {
    match verdict {
        Enqueued::Accepted => Ok(Accepted::new(id)),
        Enqueued::Replaced(replaced) => Ok(Accepted { replaced: Some(replaced), ..Accepted::new(id) }),
        Enqueued::Existing(owner) => Ok(Accepted { existing: true, ..Accepted::new(owner) }),
        Enqueued::Duplicate(owner) => Err(SubmitError::Duplicate { owner }),
        Enqueued::Busy(retry_after) => Err(SubmitError::Busy { queue, retry_after }),
        Enqueued::Closed => Err(SubmitError::Closed(queue)),
        Enqueued::OutOfMemory => Err(SubmitError::Refused(BrokerError::out_of_memory("enqueue"))),
    }
}
