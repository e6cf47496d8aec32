//! What an operator does with dead letters: put them back to work, or forget them.
//!
//! Promise: a letter leaves the stream only in the step that puts its job back, or by an explicit purge;
//! there is no cap and no retention that acts unseen. The streams in Dragonfly decide; Postgres mirrors
//! them for listing.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::{
    broker::{BrokerError, Connection, EntryId, QueueTags, Redrive, StoredLetter, dead_letters, redrive},
    envelope::{Envelope, Reading},
    job::{JobId, Priority},
    keys::{Keys, PartitionKeys},
    letter::Letter,
    store::{DeadFilter, Store, StoreError},
};

/// Works on dead letters.
pub struct DeadLetters {
    /// Dragonfly.
    pub connection: Connection,
    /// Its keys.
    pub keys: Keys,
    /// Postgres.
    pub store: Store,
    /// The partitions to look in.
    pub queues: QueueTags,
}

/// How to act.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Count only, change nothing.
    pub dry_run: bool,
    /// At most this many a second.
    pub per_second: Option<u32>,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Acted {
    /// Letters that the filter meant.
    pub matched: usize,
    /// Of those: put back, or deleted. 0 in a dry run.
    pub done: usize,
    /// Letters that are no letters: left where they are.
    pub unreadable: usize,
}

/// Why acting stopped half-way. What was done until then stays done; the same call goes on where it stopped.
#[derive(Debug, thiserror::Error)]
pub enum DeadLettersError {
    /// Dragonfly could not be asked.
    #[error("work on dead letters: {0}")]
    Broker(#[from] BrokerError),
    /// Postgres could not be asked.
    #[error("work on dead letters: {0}")]
    Store(#[from] StoreError),
}

enum Act {
    Redrive,
    Purge,
}

struct Found {
    entry: EntryId,
    id: JobId,
    priority: Priority,
    envelope: Bytes,
}

impl DeadLetters {
    /// Puts dead jobs back to work, their attempts reset; `progress` hears how many so far.
    ///
    /// # Errors
    /// [`DeadLettersError`]; what was done until then stays done.
    pub async fn redrive(
        &self,
        filter: &DeadFilter,
        manner: Manner,
        progress: impl FnMut(usize),
    ) -> Result<Acted, DeadLettersError> {
        self.act(&Act::Redrive, filter, manner, progress).await
    }

    /// Deletes dead letters for good; `progress` hears how many so far.
    ///
    /// # Errors
    /// [`DeadLettersError`]; what was done until then stays done.
    pub async fn purge(
        &self,
        filter: &DeadFilter,
        manner: Manner,
        progress: impl FnMut(usize),
    ) -> Result<Acted, DeadLettersError> {
        self.act(&Act::Purge, filter, manner, progress).await
    }

    async fn act(
        &self,
        act: &Act,
        filter: &DeadFilter,
        manner: Manner,
        mut progress: impl FnMut(usize),
    ) -> Result<Acted, DeadLettersError> {
        let mut acted = Acted::default();
        let queues = self
            .queues
            .iter()
            .filter(|(queue, _)| filter.queue.as_deref().is_none_or(|wanted| wanted == queue.as_str()));
        for tag in queues.flat_map(|(_, tags)| tags) {
            let keys = self.keys.partition(tag);
            let mut after: Option<EntryId> = None;
            loop {
                let page = dead_letters::page(&self.connection, &keys, after.as_ref()).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.entry.clone());
                let (found, n_unreadable) = matching(&page, filter);
                acted.matched += found.len();
                acted.unreadable += n_unreadable;
                if !manner.dry_run {
                    acted.done += self.act_on(act, &keys, &found, manner).await?;
                }
                progress(acted.matched);
            }
        }
        Ok(acted)
    }

    async fn act_on(
        &self,
        act: &Act,
        keys: &PartitionKeys,
        found: &[Found],
        manner: Manner,
    ) -> Result<usize, DeadLettersError> {
        let mut n_done = 0;
        let chunk = manner.per_second.map_or(500, |rate| (rate as usize).div_ceil(10)).max(1);
        for some in found.chunks(chunk) {
            n_done += self.act_on_some(act, keys, some).await?;
            if let Some(rate) = manner.per_second {
                let fair = Duration::from_secs_f64(
                    f64::from(u32::try_from(some.len()).unwrap_or(u32::MAX)) / f64::from(rate.max(1)),
                );
                tokio::time::sleep(fair).await;
            }
        }
        Ok(n_done)
    }

    async fn act_on_some(&self, act: &Act, keys: &PartitionKeys, some: &[Found]) -> Result<usize, DeadLettersError> {
        let ids: Vec<JobId> = some.iter().map(|found| found.id).collect();
        match act {
            Act::Redrive => {
                let letters = some.iter().map(|found| Redrive {
                    letter: found.entry.clone(),
                    priority: found.priority,
                    envelope: found.envelope.clone(),
                });
                // Marked first: a job that dies again at once must be listed again.
                self.store.mark_redriven(&ids).await?;
                Ok(redrive::redrive(&self.connection, keys, &letters.collect::<Vec<_>>()).await?)
            }
            Act::Purge => {
                let entries: Vec<EntryId> = some.iter().map(|found| found.entry.clone()).collect();
                let n_deleted = dead_letters::delete(&self.connection, keys, &entries).await?;
                self.store.forget_dead(&ids).await?;
                Ok(n_deleted)
            }
        }
    }
}

fn matching(page: &[StoredLetter], filter: &DeadFilter) -> (Vec<Found>, usize) {
    let mut n_unreadable = 0;
    let mut found = Vec::new();
    for stored in page {
        match Letter::read(&stored.letter) {
            Ok(letter) => found.extend(meant(stored, &letter, filter)),
            Err(_) => n_unreadable += 1,
        }
    }
    (found, n_unreadable)
}

/// What of a letter the filter means; a job that cannot be read goes back as it came.
fn meant(stored: &StoredLetter, letter: &Letter, filter: &DeadFilter) -> Option<Found> {
    let bytes = Bytes::copy_from_slice(&letter.envelope);
    let envelope = match Envelope::read(&bytes, || letter.id) {
        Ok(Reading::Whole(envelope)) => Some(envelope),
        _ => None,
    };
    let options = envelope.as_ref().map(|envelope| envelope.options.clone()).unwrap_or_default();
    let class = letter.last_error().map(|error| error.class.clone()).unwrap_or_default();
    let died_at =
        i64::try_from(letter.died_at_ms).ok().and_then(DateTime::<Utc>::from_timestamp_millis).unwrap_or_default();
    let is = |wanted: &Option<String>, value: Option<&str>| wanted.is_none() || wanted.as_deref() == value;
    let meant = filter.id.is_none_or(|id| id == letter.id)
        && is(&filter.queue, Some(letter.queue.as_str()))
        && is(&filter.kind, letter.kind.as_ref().map(crate::job::Kind::as_str))
        && is(&filter.class, Some(&class))
        && is(&filter.user_id, options.user_id.as_deref())
        && filter.since.is_none_or(|since| died_at >= since)
        && filter.until.is_none_or(|until| died_at <= until);
    let envelope = meant.then(|| envelope.map_or(bytes, fresh))?;
    Some(Found { entry: stored.entry.clone(), id: letter.id, priority: options.priority, envelope })
}

/// The job as if it had never been tried, save that it remembers having been put back.
fn fresh(mut envelope: Envelope) -> Bytes {
    envelope.options.failed_attempts = 0;
    envelope.options.errors.clear();
    envelope.options.n_redriven += 1;
    envelope.options.deadline_ms = None;
    envelope.write()
}
