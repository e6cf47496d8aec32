//! What an operator does with dead letters: put them back to work, or forget them.
//!
//! Promise: a letter leaves the stream only in the step that puts its job back, by an explicit purge, or by the retention
//! that an operator set, which counts and logs what it forgets; there is no cap. The streams in Dragonfly decide; what they lost with their
//! memory is taken from the mirror in Postgres, and goes back to work through the journal.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::{
    broker::{BrokerError, Connection, EntryId, QueueTags, Redrive, StoredLetter, dead_letters, redrive},
    envelope::{Envelope, Reading},
    job::{JobId, Kind, Priority, QueueName},
    keys::{Keys, PartitionKeys},
    letter::Letter,
    store::{DeadFilter, DeadJob, JournalRow, Store, StoreError},
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

/// Dead jobs read from the mirror at once.
const PAGE: u32 = 500;

enum Act {
    Redrive,
    Purge,
}

#[derive(Clone)]
struct Found {
    /// Where its letter lies; nowhere when Dragonfly lost it.
    entry: Option<EntryId>,
    id: JobId,
    queue: QueueName,
    /// None of a job that cannot be read: it goes back as it came.
    kind: Option<Kind>,
    priority: Priority,
    journaled: bool,
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
        Box::pin(self.act(&Act::Redrive, filter, manner, progress)).await
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
        Box::pin(self.act(&Act::Purge, filter, manner, progress)).await
    }

    async fn act(
        &self,
        act: &Act,
        filter: &DeadFilter,
        manner: Manner,
        mut progress: impl FnMut(usize),
    ) -> Result<Acted, DeadLettersError> {
        let (mut acted, mut seen) = (Acted::default(), HashSet::new());
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
                let (found, n_unreadable) = matching(&page, filter, &mut seen);
                acted.matched += found.len();
                acted.unreadable += n_unreadable;
                if !manner.dry_run {
                    acted.done += self.act_on(act, &keys, &found, manner).await?;
                }
                progress(acted.matched);
            }
        }
        self.act_on_lost(act, filter, manner, (&mut acted, &seen)).await?;
        progress(acted.matched);
        Ok(acted)
    }

    /// Acts on dead jobs whose letters are in no stream: Dragonfly lost them, the mirror did not.
    async fn act_on_lost(
        &self,
        act: &Act,
        filter: &DeadFilter,
        manner: Manner,
        (acted, seen): (&mut Acted, &HashSet<JobId>),
    ) -> Result<(), DeadLettersError> {
        let mut after = None;
        loop {
            let page = self.store.dead_page(filter, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            let lost: Vec<Found> = page.iter().filter(|job| !seen.contains(&job.id)).filter_map(mirrored).collect();
            acted.matched += lost.len();
            if !manner.dry_run {
                for some in lost.chunks(manner.chunk()) {
                    acted.done += match act {
                        Act::Redrive => self.journal(some).await?,
                        Act::Purge => self.forget(some).await?,
                    };
                    manner.rest(some.len()).await;
                }
            }
        }
    }

    /// Puts dead jobs back to work by a committed transaction: a relay brings them to Dragonfly.
    async fn journal(&self, some: &[Found]) -> Result<usize, DeadLettersError> {
        let rows: Vec<JournalRow> = some.iter().filter_map(journal_row).collect();
        let ids: Vec<JobId> = rows.iter().map(|row| row.id).collect();
        let mut tx = self.store.begin().await?;
        tx.journal(&rows).await?;
        tx.mark_redriven(&ids).await?;
        tx.wake_relays().await?;
        tx.commit().await?;
        Ok(ids.len())
    }

    async fn forget(&self, some: &[Found]) -> Result<usize, DeadLettersError> {
        let ids: Vec<JobId> = some.iter().map(|found| found.id).collect();
        Ok(usize::try_from(self.store.forget_dead(&ids).await?).unwrap_or_default())
    }

    async fn act_on(
        &self,
        act: &Act,
        keys: &PartitionKeys,
        found: &[Found],
        manner: Manner,
    ) -> Result<usize, DeadLettersError> {
        let mut n_done = 0;
        for some in found.chunks(manner.chunk()) {
            n_done += self.act_on_some(act, keys, some).await?;
            manner.rest(some.len()).await;
        }
        Ok(n_done)
    }

    async fn act_on_some(&self, act: &Act, keys: &PartitionKeys, some: &[Found]) -> Result<usize, DeadLettersError> {
        match act {
            Act::Redrive => {
                let (journaled, plain): (Vec<Found>, Vec<Found>) =
                    some.iter().cloned().partition(|found| found.journaled);
                Ok(self.redrive_journaled(keys, &journaled).await? + self.redrive_plain(keys, &plain).await?)
            }
            Act::Purge => {
                let n_deleted = dead_letters::delete(&self.connection, keys, &entries(some)).await?;
                self.forget(some).await?;
                Ok(n_deleted)
            }
        }
    }

    /// Accepted first, then their letters go: those that are left in between are put back once more, and have one result.
    async fn redrive_journaled(&self, keys: &PartitionKeys, some: &[Found]) -> Result<usize, DeadLettersError> {
        if some.is_empty() {
            return Ok(0);
        }
        let n_journaled = self.journal(some).await?;
        dead_letters::delete(&self.connection, keys, &entries(some)).await?;
        Ok(n_journaled)
    }

    async fn redrive_plain(&self, keys: &PartitionKeys, some: &[Found]) -> Result<usize, DeadLettersError> {
        let ids: Vec<JobId> = some.iter().map(|found| found.id).collect();
        let letters = some.iter().filter_map(|found| {
            let Found { priority, envelope, .. } = found;
            Some(Redrive { letter: found.entry.clone()?, priority: *priority, envelope: envelope.clone() })
        });
        // Marked first: a job that dies again at once must be listed again.
        self.store.mark_redriven(&ids).await?;
        Ok(redrive::redrive(&self.connection, keys, &letters.collect::<Vec<_>>()).await?)
    }
}

impl Manner {
    /// How many are acted on together.
    fn chunk(self) -> usize {
        self.per_second.map_or(500, |rate| (rate as usize).div_ceil(10)).max(1)
    }

    /// The pause after so many.
    async fn rest(self, n_jobs: usize) {
        if let Some(rate) = self.per_second {
            let n_jobs = f64::from(u32::try_from(n_jobs).unwrap_or(u32::MAX));
            tokio::time::sleep(Duration::from_secs_f64(n_jobs / f64::from(rate.max(1)))).await;
        }
    }
}

fn entries(some: &[Found]) -> Vec<EntryId> {
    some.iter().filter_map(|found| found.entry.clone()).collect()
}

/// What the filter means of a page; every letter that can be read is `seen`.
fn matching(page: &[StoredLetter], filter: &DeadFilter, seen: &mut HashSet<JobId>) -> (Vec<Found>, usize) {
    let mut n_unreadable = 0;
    let mut found = Vec::new();
    for stored in page {
        match Letter::read(&stored.letter) {
            Ok(letter) => {
                seen.insert(letter.id);
                found.extend(meant(Some(&stored.entry), &letter, filter));
            }
            Err(_) => n_unreadable += 1,
        }
    }
    (found, n_unreadable)
}

/// A dead job out of the mirror, which was asked with the filter; one whose job cannot be read stays where it is.
fn mirrored(job: &DeadJob) -> Option<Found> {
    let letter = Letter::read(&job.letter).ok()?;
    meant(None, &letter, &DeadFilter::default()).filter(|found| found.kind.is_some())
}

fn journal_row(found: &Found) -> Option<JournalRow> {
    let Found { id, queue, priority, envelope, .. } = found.clone();
    Some(JournalRow { id, queue, kind: found.kind.clone()?, priority, delay: None, run_at_ms: None, envelope })
}

/// What of a letter the filter means; a job that cannot be read goes back as it came.
fn meant(entry: Option<&EntryId>, letter: &Letter, filter: &DeadFilter) -> Option<Found> {
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
    let kind = envelope.as_ref().map(|envelope| envelope.kind.clone());
    // What goes back by the journal alone is journaled from now on.
    let journaled = options.journaled || (entry.is_none() && kind.is_some());
    let envelope = meant.then(|| envelope.map_or(bytes, |envelope| fresh(envelope, journaled)))?;
    let (entry, queue) = (entry.cloned(), letter.queue.clone());
    Some(Found { entry, id: letter.id, queue, kind, priority: options.priority, journaled, envelope })
}

/// The job as if it had never been tried, save that it remembers having been put back.
fn fresh(mut envelope: Envelope, journaled: bool) -> Bytes {
    envelope.options.journaled = journaled;
    envelope.options.failed_attempts = 0;
    envelope.options.errors.clear();
    envelope.options.n_redriven += 1;
    envelope.options.deadline_ms = None;
    envelope.write()
}
