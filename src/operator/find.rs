//! Finds a job where it stands: delayed, or in a stream.
//!
//! There is no index of jobs, for every job would pay for it: an id says when it was made, and near that time its
//! entry is looked for first, then everywhere.

use bytes::Bytes;

use super::{Operator, OperatorError};
use crate::{
    broker::{
        Entry, Held, Place,
        sightings::{self, Delayed, Hold, PAGE},
    },
    envelope::{Envelope, Reading},
    job::{JobId, Priority, QueueName},
    keys::{PartitionKeys, RELEASED},
    partition::{Tag, tags},
    store::Journaled,
};

/// A job where it was seen.
pub(super) struct Seen {
    pub(super) id: JobId,
    pub(super) queue: QueueName,
    pub(super) tag: Tag,
    pub(super) keys: PartitionKeys,
    pub(super) stand: Stand,
    /// None where it cannot be read.
    pub(super) envelope: Option<Envelope>,
}

/// Where it stands.
pub(super) enum Stand {
    Later(Delayed),
    Stream(Entry, Option<Hold>),
    /// Accepted, and not in Dragonfly's memory yet, or not any more: the relay brings it.
    Journal(Journaled),
}

impl Seen {
    /// The worker that has it; none while it waits, handed back or not.
    pub(super) fn hold(&self) -> Option<&Hold> {
        match &self.stand {
            Stand::Stream(_, Some(hold)) if hold.consumer != RELEASED => Some(hold),
            _ => None,
        }
    }

    pub(super) fn place(&self) -> Place {
        match &self.stand {
            Stand::Later(_) => Place::Later,
            Stand::Journal(_) => Place::Journal,
            Stand::Stream(entry, _) => Place::Stream(Held { priority: entry.priority, entry: entry.id.clone() }),
        }
    }
}

/// One partition to look in.
pub(super) struct Corner {
    pub(super) queue: QueueName,
    pub(super) tag: Tag,
    pub(super) keys: PartitionKeys,
}

impl Corner {
    pub(super) fn delayed(&self, delayed: Delayed) -> Seen {
        let id = delayed.id;
        let envelope = read(&delayed.envelope, id);
        let (queue, tag, keys) = (self.queue.clone(), self.tag.clone(), self.keys.clone());
        Seen { id, queue, tag, keys, stand: Stand::Later(delayed), envelope }
    }

    /// What an entry is; an entry without an id, or that cannot be read, has the id that workers derive from its place.
    pub(super) fn entry(&self, entry: Entry, hold: Option<Hold>) -> Seen {
        let derived = entry.derived_job_id(self.keys.lane(entry.priority));
        let envelope = entry.job.as_ref().and_then(|job| read(job, derived));
        let id = envelope.as_ref().map_or(derived, |envelope| envelope.id);
        let (queue, tag, keys) = (self.queue.clone(), self.tag.clone(), self.keys.clone());
        Seen { id, queue, tag, keys, stand: Stand::Stream(entry, hold), envelope }
    }
}

fn read(bytes: &Bytes, fallback: JobId) -> Option<Envelope> {
    match Envelope::read(bytes, || fallback) {
        Ok(Reading::Whole(envelope)) => Some(envelope),
        Ok(Reading::Newer { .. }) | Err(_) => None,
    }
}

/// An entry is usually added this soon after its id was made, and clocks differ this little, milliseconds.
const BEFORE_MS: u64 = 2_000;
const AFTER_MS: u64 = 10_000;

impl Operator {
    /// Every partition of a queue, or of all.
    pub(super) fn corners(&self, queue: Option<&QueueName>) -> Vec<Corner> {
        let queues = self.queues.iter().filter(|(name, _)| queue.is_none_or(|wanted| wanted == *name));
        let corners = queues.flat_map(|(name, tags)| tags.iter().map(move |tag| (name, tag)));
        corners
            .map(|(name, tag)| Corner { queue: name.clone(), tag: tag.clone(), keys: self.keys.partition(tag) })
            .collect()
    }

    /// The job where it stands. It may move while we look: twice in vain, and it was not there.
    pub(super) async fn find(&self, id: JobId) -> Result<Option<Seen>, OperatorError> {
        let corners = self.corners(None);
        for _ in 0..2 {
            if let Some(found) = self.find_later(&corners, id).await? {
                return Ok(Some(found));
            }
            if let Some((seconds, nanos)) = id.0.get_timestamp().map(|time| time.to_unix()) {
                let made_ms = seconds * 1_000 + u64::from(nanos / 1_000_000);
                let (from, to) = (made_ms.saturating_sub(BEFORE_MS), made_ms.saturating_add(AFTER_MS));
                let range = (from.to_string(), to.to_string());
                if let Some(found) = self.find_entry(&corners, id, range).await? {
                    return Ok(Some(found));
                }
            }
            let everywhere = ("-".to_owned(), "+".to_owned());
            if let Some(found) = self.find_entry(&corners, id, everywhere).await? {
                return Ok(Some(found));
            }
        }
        self.find_journaled(id).await
    }

    async fn find_journaled(&self, id: JobId) -> Result<Option<Seen>, OperatorError> {
        let Some(journaled) = self.store.journaled(id).await? else { return Ok(None) };
        // A name that is none was written by hand, and no worker serves it.
        let Ok(queue) = journaled.queue.parse::<QueueName>() else { return Ok(None) };
        let tag = self.tags(&queue).first().cloned().unwrap_or_else(|| tags(&queue, 1, 1).swap_remove(0));
        let (keys, envelope) = (self.keys.partition(&tag), read(&journaled.envelope, id));
        Ok(Some(Seen { id, queue, tag, keys, stand: Stand::Journal(journaled), envelope }))
    }

    async fn find_later(&self, corners: &[Corner], id: JobId) -> Result<Option<Seen>, OperatorError> {
        let asked = corners.iter().map(|corner| sightings::delayed(&self.connection, &corner.keys, id));
        let found = futures::future::try_join_all(asked).await?;
        let found = corners.iter().zip(found).find_map(|(corner, found)| Some((corner, found?)));
        Ok(found.map(|(corner, delayed)| corner.delayed(delayed)))
    }

    async fn find_entry(
        &self,
        corners: &[Corner],
        id: JobId,
        (from, to): (String, String),
    ) -> Result<Option<Seen>, OperatorError> {
        for corner in corners {
            for priority in Priority::ALL {
                let mut from = from.clone();
                loop {
                    let lane = (&corner.keys, priority);
                    let page = sightings::entries(&self.connection, lane, (&from, &to), PAGE).await?;
                    let n_entries = page.len();
                    from = page.last().map(|last| format!("({}", last.id.as_str())).unwrap_or_default();
                    let mut seen = page.into_iter().map(|entry| corner.entry(entry, None));
                    if let Some(mut found) = seen.find(|seen| seen.id == id) {
                        self.look_who_holds(&mut found).await?;
                        return Ok(Some(found));
                    }
                    if n_entries < PAGE {
                        break;
                    }
                }
            }
        }
        Ok(None)
    }

    async fn look_who_holds(&self, seen: &mut Seen) -> Result<(), OperatorError> {
        if let Stand::Stream(entry, hold) = &mut seen.stand {
            let (lane, at) = ((&seen.keys, entry.priority), entry.id.as_str());
            *hold = sightings::holds(&self.connection, lane, (at, at), 1).await?.pop();
        }
        Ok(())
    }
}
