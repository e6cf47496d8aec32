//! Taking jobs back.
//!
//! Promise: first the job's one result is written, which says that it is cancelled; whoever else would end it loses
//! against that. Only then is it removed, or the worker that has it told.

use std::{collections::HashSet, time::Duration};

use bytes::BytesMut;

use super::{
    Operator, OperatorError,
    find::{Seen, Stand},
    state::{JobState, live},
};
use crate::{
    broker::{Cancelling, Finish, Place, cancel, sightings},
    completion::{Completion, Ending, Timings, channels},
    dedup::Mode,
    envelope::Options,
    job::{JobId, QueueName},
    listener::Word,
    outcome::Status,
    settlement::UNREADABLE,
    store::CancelledRow,
};

/// What became of an order to cancel a job.
#[derive(Clone, Debug)]
pub enum Cancelled {
    /// It waited or was delayed, and is gone.
    Removed,
    /// It ran; its worker has ended it.
    Stopped,
    /// A worker has it and is told. Should the word be lost, what its handler does is dropped when it ends.
    Told,
    /// It was cancelled before.
    Already,
    /// It is over, and stays as it is: done, failed or dead.
    Over(Box<JobState>),
    /// Nobody knows it.
    Unknown,
}

/// How a worker that was told is waited for.
const LOOKS: u32 = 20;
const LOOK: Duration = Duration::from_millis(100);

impl Operator {
    /// Takes a job back, wherever it is.
    ///
    /// # Errors
    /// [`OperatorError`]; the same call again goes on where it stopped.
    pub async fn cancel(&self, id: JobId) -> Result<Cancelled, OperatorError> {
        let already = match self.ended(id).await? {
            Some(JobState::Cancelled(_)) => true,
            Some(over) => return Ok(Cancelled::Over(Box::new(over))),
            None => false,
        };
        let Some(seen) = self.find(id).await? else {
            return Ok(match self.ended(id).await? {
                Some(JobState::Cancelled(_)) => Cancelled::Already,
                Some(over) => Cancelled::Over(Box::new(over)),
                None => Cancelled::Unknown,
            });
        };
        if !already && self.store.cancel(&[self.row(&seen)]).await?.is_empty() {
            return Ok(match self.ended(id).await? {
                Some(JobState::Cancelled(_)) | None => Cancelled::Already,
                Some(over) => Cancelled::Over(Box::new(over)),
            });
        }
        self.take_back(&seen).await
    }

    async fn take_back(&self, seen: &Seen) -> Result<Cancelled, OperatorError> {
        let removed = self.remove(&seen.queue, std::slice::from_ref(seen)).await?;
        if removed.contains(&seen.id) {
            return Ok(Cancelled::Removed);
        }
        self.say(&Word::Cancel { ids: vec![seen.id] }).await?;
        for _ in 0..LOOKS {
            tokio::time::sleep(LOOK).await;
            // It may have been promoted just now, or put back for another attempt before the word came.
            let Some(now) = self.near(seen).await? else { return Ok(Cancelled::Stopped) };
            if now.hold().is_none() && self.remove(&now.queue, std::slice::from_ref(&now)).await?.contains(&now.id) {
                return Ok(Cancelled::Removed);
            }
        }
        Ok(Cancelled::Told)
    }

    /// The job in its partition, where it was seen or among the delayed; looked for anew when it was promoted meanwhile.
    async fn near(&self, seen: &Seen) -> Result<Option<Seen>, OperatorError> {
        let corners = self.corners(Some(&seen.queue));
        let Some(corner) = corners.into_iter().find(|corner| corner.tag == seen.tag) else { return Ok(None) };
        if let Some(delayed) = sightings::delayed(&self.connection, &corner.keys, seen.id).await? {
            return Ok(Some(corner.delayed(delayed)));
        }
        let Place::Stream(held) = seen.place() else { return self.find(seen.id).await };
        let (lane, at) = ((&corner.keys, held.priority), held.entry.as_str());
        let Some(entry) = sightings::entries(&self.connection, lane, (at, at), 1).await?.pop() else { return Ok(None) };
        let hold = sightings::holds(&self.connection, lane, (at, at), 1).await?.pop();
        Ok(Some(corner.entry(entry, hold)))
    }

    /// Removes those that nobody works on, and tells the world; gives which.
    pub(super) async fn remove(&self, queue: &QueueName, seen: &[Seen]) -> Result<HashSet<JobId>, OperatorError> {
        let Some(first) = seen.first() else { return Ok(HashSet::new()) };
        let now_ms = self.connection.now_ms().await?;
        let jobs: Vec<Cancelling> = seen.iter().map(|seen| self.cancelling(seen, now_ms)).collect();
        let channel = self.keys.done_channel(queue);
        let removed = cancel(&self.connection, &first.keys, (&self.context, &channel), &jobs).await?;
        Ok(jobs.iter().zip(removed).filter(|(_, is_removed)| *is_removed).map(|(job, _)| job.id).collect())
    }

    fn cancelling(&self, seen: &Seen, now_ms: u64) -> Cancelling {
        let completion = completion(seen, now_ms);
        let options = seen.envelope.as_ref().map_or(&self.no_options, |envelope| &envelope.options);
        let dedup = options.dedup.as_ref().filter(|dedup| dedup.mode != Mode::Throttle);
        let mut open = BytesMut::new();
        Ending::of(&completion).write_open(self.context.format, &mut open);
        Cancelling {
            id: seen.id,
            place: seen.place(),
            dedup: dedup.map(|dedup| seen.keys.dedup(&dedup.key)),
            finish: Finish {
                open: open.freeze(),
                kind_channel: self.keys.kind_channel(&completion.kind).into(),
                further: channels(seen.id, options, &self.keys),
            },
        }
    }

    /// The result of a cancelled job.
    pub(super) fn row(&self, seen: &Seen) -> CancelledRow {
        let job = live(seen);
        CancelledRow {
            id: seen.id,
            queue: job.queue.to_string(),
            kind: job.kind.unwrap_or(UNREADABLE).to_string(),
            user_id: job.user_id,
            attempt: job.attempt - 1,
            worker: OPERATOR.to_owned(),
            timings: timings(seen, self.clock.now_ms()),
        }
    }
}

/// Who ends a cancelled job, in its result and its completion.
const OPERATOR: &str = "operator";

fn timings(seen: &Seen, now_ms: u64) -> Timings {
    let queued_ms = match &seen.stand {
        Stand::Later(_) => now_ms,
        Stand::Journal(journaled) => journaled.accepted_ms,
        Stand::Stream(entry, _) => entry.id.ms(),
    };
    Timings { queued_ms, started_ms: 0, finished_ms: now_ms }
}

fn completion(seen: &Seen, now_ms: u64) -> Completion {
    let job = live(seen);
    let Options { traceparent, .. } = seen.envelope.as_ref().map(|seen| seen.options.clone()).unwrap_or_default();
    Completion {
        id: seen.id,
        kind: job.kind.unwrap_or(UNREADABLE),
        queue: job.queue,
        status: Status::Cancelled,
        attempt: job.attempt - 1,
        result: None,
        result_ref: None,
        error: None,
        timings: timings(seen, now_ms),
        user_id: job.user_id,
        worker: OPERATOR.to_owned(),
        traceparent,
        partition: job.partition,
        seq: 0,
    }
}
