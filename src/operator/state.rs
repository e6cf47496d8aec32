//! What is to be said of one job, in every state that it can be in.

use serde::Serialize;

use super::{
    Operator, OperatorError,
    find::{Seen, Stand},
};
use crate::{
    broker::{
        Expiring,
        sightings::{self, PAGE},
    },
    completion::Timings,
    job::{JobId, Kind, Priority, QueueName},
    outcome::{AttemptError, Status},
    progress::Progress,
    store::{DeadFilter, DeadJob},
};

/// Where a job is.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum JobState {
    /// Ready, and nobody has taken it yet.
    Waiting {
        /// Since when, milliseconds since 1970 by the server's clock.
        since_ms: u64,
        /// How many of its partition and priority are taken before it; approximately, for they go on.
        ahead: u64,
        /// There are more ahead than were counted.
        ahead_or_more: bool,
        /// The job.
        #[serde(flatten)]
        job: Live,
    },
    /// Accepted in Postgres, and not in Dragonfly's memory yet, or not any more: the relay brings it.
    Journaled {
        /// Since when, milliseconds since 1970 by Postgres' clock.
        since_ms: u64,
        /// The job.
        #[serde(flatten)]
        job: Live,
    },
    /// It waits for its time.
    Delayed {
        /// When it is due, milliseconds since 1970 by the server's clock.
        due_ms: u64,
        /// The job.
        #[serde(flatten)]
        job: Live,
    },
    /// Attempts failed, and it waits for the next.
    Retrying {
        /// When it is due, milliseconds since 1970 by the server's clock.
        due_ms: u64,
        /// The job.
        #[serde(flatten)]
        job: Live,
    },
    /// A worker has it.
    Running {
        /// Which.
        worker: String,
        /// Since when, milliseconds since 1970 by the server's clock.
        since_ms: u64,
        /// How often it was handed out.
        deliveries: u32,
        /// How far it says it has come.
        #[serde(skip_serializing_if = "Option::is_none")]
        progress: Option<Progress>,
        /// The job.
        #[serde(flatten)]
        job: Live,
    },
    /// Its result is committed.
    Done(Ended),
    /// It was taken back.
    Cancelled(Ended),
    /// It is among the dead letters: its handler or its deadline ruled out another try.
    Failed(Box<DeadJob>),
    /// It is among the dead letters: given up.
    Dead(Box<DeadJob>),
    /// Nowhere: never submitted here, or its result or dead letter was deleted.
    Unknown,
}

/// What is known of a job that is not over.
#[derive(Clone, Debug, Serialize)]
pub struct Live {
    /// Its queue.
    pub queue: QueueName,
    /// Its partition.
    pub partition: String,
    /// Its kind; none where its envelope cannot be read.
    pub kind: Option<Kind>,
    /// Which jobs it goes before.
    pub priority: Priority,
    /// Whose job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The attempt that runs or comes next; the first is 1.
    pub attempt: u32,
    /// What the attempts before said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<AttemptError>,
}

/// How a job ended.
#[derive(Clone, Debug, Serialize)]
pub struct Ended {
    /// Done or cancelled.
    pub status: Status,
    /// The attempt that ended it.
    pub attempt: u32,
    /// Who ended it.
    pub worker: String,
    /// When things happened.
    pub timings: Timings,
    /// Its result.
    pub result: serde_json::Value,
}

/// As many pages are counted to say how many jobs are ahead.
const COUNTED_PAGES: usize = 20;

impl Operator {
    /// Where a job is, and all that is known of it.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn state(&self, id: JobId) -> Result<JobState, OperatorError> {
        if let Some(ended) = self.ended(id).await? {
            return Ok(ended);
        }
        if let Some(seen) = self.find(id).await? {
            return self.describe(&seen).await;
        }
        // It may have ended while we looked.
        Ok(self.ended(id).await?.unwrap_or(JobState::Unknown))
    }

    /// The state of a job that is over; none when it is not.
    pub(super) async fn ended(&self, id: JobId) -> Result<Option<JobState>, OperatorError> {
        if let Some(stored) = self.store.results(&[id]).await?.remove(&id) {
            let (status, attempt, worker, timings) = (stored.status, stored.attempt, stored.worker, stored.timings);
            let ended = Ended { status, attempt, worker, timings, result: stored.result };
            let state = if status == Status::Cancelled { JobState::Cancelled } else { JobState::Done };
            return Ok(Some(state(ended)));
        }
        let filter = DeadFilter { id: Some(id), ..DeadFilter::default() };
        let dead = self.store.dead_jobs(&filter, 1).await?.pop().map(Box::new);
        Ok(dead
            .map(|job| if job.status == Status::Failed.as_str() { JobState::Failed(job) } else { JobState::Dead(job) }))
    }

    async fn describe(&self, seen: &Seen) -> Result<JobState, OperatorError> {
        let job = live(seen);
        let (entry, hold) = match &seen.stand {
            Stand::Later(delayed) if job.attempt > 1 => return Ok(JobState::Retrying { due_ms: delayed.due_ms, job }),
            Stand::Later(delayed) => return Ok(JobState::Delayed { due_ms: delayed.due_ms, job }),
            Stand::Journal(journaled) => return Ok(JobState::Journaled { since_ms: journaled.accepted_ms, job }),
            Stand::Stream(entry, _) => (entry, seen.hold()),
        };
        let Some(hold) = hold else {
            let (ahead, ahead_or_more) = self.ahead(seen, entry).await?;
            return Ok(JobState::Waiting { since_ms: entry.id.ms(), ahead, ahead_or_more, job });
        };
        let since_ms = self.connection.now_ms().await?.saturating_sub(hold.idle_ms);
        let said = Expiring::new(self.connection.clone()).get(&self.keys.progress(&seen.tag, seen.id)).await?;
        let progress = said.and_then(|json| serde_json::from_slice(&json).ok());
        let (worker, deliveries) = (hold.consumer.clone(), hold.n_deliveries);
        Ok(JobState::Running { worker, since_ms, deliveries, progress, job })
    }

    /// How many entries of the same stream are to be handed out before this one; and whether there are more.
    async fn ahead(&self, seen: &Seen, entry: &crate::broker::Entry) -> Result<(u64, bool), OperatorError> {
        let lane = (&seen.keys, entry.priority);
        let mut after = sightings::last_delivered(&self.connection, lane).await?;
        let (mut n_ahead, to) = (0, format!("({}", entry.id.as_str()));
        for _ in 0..COUNTED_PAGES {
            let from = format!("({after}");
            let page = sightings::entries(&self.connection, lane, (&from, &to), PAGE).await?;
            n_ahead += u64::try_from(page.len()).unwrap_or_default();
            match page.last() {
                Some(last) if page.len() == PAGE => after = last.id.as_str().to_owned(),
                _ => return Ok((n_ahead, false)),
            }
        }
        Ok((n_ahead, true))
    }
}

/// What its envelope says of a job that is not over.
pub(super) fn live(seen: &Seen) -> Live {
    let options = seen.envelope.as_ref().map(|envelope| envelope.options.clone()).unwrap_or_default();
    let priority = match &seen.stand {
        Stand::Later(delayed) => delayed.priority,
        Stand::Journal(journaled) => journaled.priority,
        Stand::Stream(entry, _) => entry.priority,
    };
    Live {
        queue: seen.queue.clone(),
        partition: seen.tag.to_string(),
        kind: seen.envelope.as_ref().map(|envelope| envelope.kind.clone()),
        priority,
        user_id: options.user_id,
        attempt: options.failed_attempts + 1,
        errors: options.errors,
    }
}
