//! Emptying a queue: letting it run dry, or taking everything back that nobody works on.

use super::{Operator, OperatorError, find::Seen};
use crate::{
    broker::{MAX_PER_SCRIPT, sampling, sightings},
    job::{JobId, QueueName},
    listener::Word,
    policy::Policy,
};

/// How much is left of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Left {
    /// Ready, nobody has them.
    pub waiting: u64,
    /// Workers have them.
    pub running: u64,
    /// Delayed and retrying.
    pub delayed: u64,
}

impl Left {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.waiting + self.running + self.delayed
    }
}

/// What a purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Purged {
    /// Taken back.
    pub cancelled: u64,
    /// A worker took these meanwhile: it is told, and what it does has no effect.
    pub told: u64,
}

impl Operator {
    /// Closes a queue to new jobs; what is there runs. [`Operator::resume`] opens it again.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn close(&self, queue: &QueueName) -> Result<Policy, OperatorError> {
        self.decide(queue, |policy| policy.closed = true).await
    }

    /// How much is left of a queue.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn left(&self, queue: &QueueName) -> Result<Left, OperatorError> {
        let mut left = Left::default();
        for corner in self.corners(Some(queue)) {
            let depths = sampling::depths(&self.connection, &corner.keys).await?;
            left.waiting += depths.ready();
            left.running += depths.in_flight;
            left.delayed += depths.later;
        }
        Ok(left)
    }

    /// Cancels every job of a queue that waits or is delayed; those that run go on. `progress` hears how many so far.
    /// What is submitted meanwhile may be among them or not.
    ///
    /// # Errors
    /// [`OperatorError`]; what was done until then stays done, and the same call goes on where it stopped.
    pub async fn purge(&self, queue: &QueueName, mut progress: impl FnMut(u64)) -> Result<Purged, OperatorError> {
        let mut purged = Purged::default();
        for corner in self.corners(Some(queue)) {
            loop {
                // Each time from the beginning: what was there before is gone.
                let page = (0, MAX_PER_SCRIPT);
                let delayed = sightings::delayed_page(&self.connection, &corner.keys, page).await?;
                let mut seen: Vec<Seen> = delayed.into_iter().map(|delayed| corner.delayed(delayed)).collect();
                if seen.is_empty() {
                    seen = self.waiting(&corner, MAX_PER_SCRIPT).await?;
                }
                if seen.is_empty() {
                    break;
                }
                self.purge_some(queue, &seen, &mut purged).await?;
                progress(purged.cancelled);
            }
        }
        Ok(purged)
    }

    async fn purge_some(&self, queue: &QueueName, seen: &[Seen], purged: &mut Purged) -> Result<(), OperatorError> {
        let rows: Vec<_> = seen.iter().map(|seen| self.row(seen)).collect();
        // Those that have a result already go too: nothing of theirs is left to do.
        self.store.cancel(&rows).await?;
        let removed = self.remove(queue, seen).await?;
        purged.cancelled += u64::try_from(removed.len()).unwrap_or_default();
        let ids: Vec<JobId> = seen.iter().map(|seen| seen.id).filter(|id| !removed.contains(id)).collect();
        if !ids.is_empty() {
            purged.told += u64::try_from(ids.len()).unwrap_or_default();
            self.say(&Word::Cancel { ids }).await?;
        }
        Ok(())
    }
}
