//! How many jobs of a queue run at once. A delivery is taken only when it can start.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A queue's slots in this worker, shared by its partitions.
#[derive(Clone)]
pub(crate) struct Slots {
    semaphore: Arc<Semaphore>,
    n_slots: u32,
}

/// One job's slot, or several until they are split.
pub(crate) struct Slot {
    permit: OwnedSemaphorePermit,
}

const NEVER_CLOSED: &str = "the semaphore is never closed";

impl Slots {
    pub(crate) fn new(n_slots: usize) -> Self {
        let n_slots = u32::try_from(n_slots.clamp(1, 1_000_000)).expect("at most a million");
        Self { semaphore: Arc::new(Semaphore::new(n_slots as usize)), n_slots }
    }

    /// Waits for a slot, then takes up to `limit` that are free.
    pub(crate) async fn some(&self, limit: usize) -> Slot {
        let first = Arc::clone(&self.semaphore).acquire_owned().await.expect(NEVER_CLOSED);
        let mut slot = Slot { permit: first };
        slot.permit.merge_some(&self.semaphore, limit.saturating_sub(1));
        slot
    }

    /// Every slot of the queue: nothing else runs beside who holds them.
    pub(crate) async fn all(&self) -> Slot {
        Slot { permit: Arc::clone(&self.semaphore).acquire_many_owned(self.n_slots).await.expect(NEVER_CLOSED) }
    }
}

impl Slot {
    pub(crate) fn len(&self) -> usize {
        self.permit.num_permits()
    }

    /// One slot of these; none when only one is left and it is `self`.
    pub(crate) fn split(&mut self) -> Option<Self> {
        self.permit.split(1).map(|permit| Self { permit })
    }
}

trait MergeSome {
    fn merge_some(&mut self, semaphore: &Arc<Semaphore>, limit: usize);
}

impl MergeSome for OwnedSemaphorePermit {
    fn merge_some(&mut self, semaphore: &Arc<Semaphore>, limit: usize) {
        let n_free = u32::try_from(semaphore.available_permits().min(limit)).unwrap_or_default();
        if n_free > 0
            && let Ok(more) = Arc::clone(semaphore).try_acquire_many_owned(n_free)
        {
            self.merge(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn no_more_are_given_than_there_are() {
        let slots = Slots::new(5);
        let three = slots.some(3).await;
        assert_eq!(three.len(), 3);
        let rest = slots.some(9).await;
        assert_eq!(rest.len(), 2);
        assert_eq!(slots.some(1).now_or_never().map(|slot| slot.len()), None);
        drop((three, rest));
        assert_eq!(slots.all().await.len(), 5);
    }

    #[tokio::test]
    async fn split_slots_are_freed_one_by_one() {
        let slots = Slots::new(2);
        let mut both = slots.some(2).await;
        drop(both.split());
        assert_eq!(both.len(), 1);
        assert_eq!(slots.some(2).await.len(), 1);
    }
}
