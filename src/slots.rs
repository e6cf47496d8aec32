//! How many jobs of a queue run at once. A delivery is taken only when it can start.
//!
//! Promise: the number can be changed while jobs run. More slots are there at once; fewer come about as
//! running jobs end, for none is cut short. Who holds all slots stays alone, whatever is decided meanwhile, until it
//! shares them.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// A queue's slots in this worker, shared by its partitions.
#[derive(Clone)]
pub(crate) struct Slots {
    shared: Arc<Shared>,
}

struct Shared {
    semaphore: Arc<Semaphore>,
    /// How many slots there shall be.
    wanted: watch::Sender<usize>,
    /// How many slots are still out that are to vanish when they come back.
    n_owed: AtomicUsize,
    sizes: Mutex<Sizes>,
}

struct Sizes {
    /// How many slots there are, those owed not counted.
    n_slots: usize,
    /// How many hold all slots: while one does, the number stays as it is.
    n_alone: usize,
}

/// One job's slot, or several until they are split.
pub(crate) struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    shared: Arc<Shared>,
    is_alone: bool,
    /// The slots of the worker's other queues, where nothing may run there either.
    beside: Vec<Slot>,
}

const NEVER_CLOSED: &str = "the semaphore is never closed";
const NOT_POISONED: &str = "no code panics while it holds this lock";
const HELD: &str = "a slot holds its permit until it is dropped";

impl Slots {
    pub(crate) fn new(n_slots: usize) -> Self {
        let n_slots = bounded(n_slots);
        let shared = Shared {
            semaphore: Arc::new(Semaphore::new(n_slots)),
            wanted: watch::Sender::new(n_slots),
            n_owed: AtomicUsize::new(0),
            sizes: Mutex::new(Sizes { n_slots, n_alone: 0 }),
        };
        Self { shared: Arc::new(shared) }
    }

    /// How many jobs may run at once.
    pub(crate) fn n_slots(&self) -> usize {
        *self.shared.wanted.borrow()
    }

    /// From now on so many; running jobs go on.
    pub(crate) fn resize(&self, n_slots: usize) {
        let n_slots = bounded(n_slots);
        if self.shared.wanted.send_replace(n_slots) != n_slots {
            self.shared.fit();
        }
    }

    /// Waits for a slot, then takes up to `limit` that are free.
    pub(crate) async fn some(&self, limit: usize) -> Slot {
        let first = Arc::clone(&self.shared.semaphore).acquire_owned().await.expect(NEVER_CLOSED);
        self.slot(first, limit)
    }

    /// Takes up to `limit` free slots, none when none is free.
    #[cfg(test)]
    pub(crate) fn try_some(&self, limit: usize) -> Option<Slot> {
        let first = Arc::clone(&self.shared.semaphore).try_acquire_owned().ok()?;
        Some(self.slot(first, limit))
    }

    /// Every slot of the queue: nothing else runs beside who holds them.
    pub(crate) async fn all(&self) -> Slot {
        let mut wanted = self.shared.wanted.subscribe();
        loop {
            let n_slots = *wanted.borrow_and_update();
            let permits = u32::try_from(n_slots).expect("at most a million");
            tokio::select! {
                permit = Arc::clone(&self.shared.semaphore).acquire_many_owned(permits) => {
                    let slot = self.holding(permit.expect(NEVER_CLOSED));
                    if let Some(alone) = slot.alone() {
                        return alone;
                    }
                }
                Ok(()) = wanted.changed() => {}
            }
            // What was gathered in vain may have been owed meanwhile.
            self.shared.pay();
        }
    }

    fn slot(&self, mut permit: OwnedSemaphorePermit, limit: usize) -> Slot {
        permit.merge_some(&self.shared.semaphore, limit.saturating_sub(1));
        self.holding(permit)
    }

    fn holding(&self, permit: OwnedSemaphorePermit) -> Slot {
        Slot { permit: Some(permit), shared: Arc::clone(&self.shared), is_alone: false, beside: Vec::new() }
    }

    /// Whether these are the slots of the same queue.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

fn bounded(n_slots: usize) -> usize {
    n_slots.clamp(1, 1_000_000)
}

impl Shared {
    /// Makes the number of slots the one that is wanted.
    fn fit(&self) {
        let mut sizes = self.sizes.lock().expect(NOT_POISONED);
        if sizes.n_alone > 0 {
            return; // whoever is alone sees to it at the end
        }
        let wanted = *self.wanted.borrow();
        if wanted > sizes.n_slots {
            let n_more = wanted - sizes.n_slots;
            let n_kept = n_more.min(self.n_owed.load(Ordering::Acquire));
            self.n_owed.fetch_sub(n_kept, Ordering::AcqRel);
            self.semaphore.add_permits(n_more - n_kept);
        } else {
            let n_fewer = sizes.n_slots - wanted;
            let n_free = self.semaphore.forget_permits(n_fewer);
            self.n_owed.fetch_add(n_fewer - n_free, Ordering::AcqRel);
        }
        sizes.n_slots = wanted;
    }

    /// Nobody holds all slots any more.
    fn leave_alone(&self) {
        self.sizes.lock().expect(NOT_POISONED).n_alone -= 1;
        self.fit();
    }

    /// Lets free slots vanish that are owed.
    fn pay(&self) {
        let _sizes = self.sizes.lock().expect(NOT_POISONED);
        let n_paid = self.semaphore.forget_permits(self.n_owed.load(Ordering::Acquire));
        self.n_owed.fetch_sub(n_paid, Ordering::AcqRel);
    }
}

impl Slot {
    pub(crate) fn len(&self) -> usize {
        self.permit.as_ref().expect(HELD).num_permits()
    }

    /// One slot of these; none when only one is left and it is `self`.
    pub(crate) fn split(&mut self) -> Option<Self> {
        let permit = self.permit.as_mut().expect(HELD).split(1)?;
        Some(Self { permit: Some(permit), shared: Arc::clone(&self.shared), is_alone: false, beside: Vec::new() })
    }

    /// With these of other queues: they are given back with it, or when it is shared.
    pub(crate) fn with(mut self, beside: Vec<Self>) -> Self {
        self.beside = beside;
        self
    }

    /// Whether nothing else can run beside it.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Gives all but one of its slots back: others run beside it from now on.
    pub(crate) fn share(&mut self) {
        self.beside.clear();
        if !std::mem::take(&mut self.is_alone) {
            return;
        }
        let n_others = self.len() - 1;
        drop(self.permit.as_mut().expect(HELD).split(n_others));
        self.shared.leave_alone();
    }

    /// These slots as all that there are; none when there are more, or some are still owed by running jobs.
    fn alone(mut self) -> Option<Self> {
        let mut sizes = self.shared.sizes.lock().expect(NOT_POISONED);
        if self.len() != sizes.n_slots || self.shared.n_owed.load(Ordering::Acquire) > 0 {
            return None;
        }
        sizes.n_alone += 1;
        drop(sizes);
        self.is_alone = true;
        Some(self)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut permit = self.permit.take().expect(HELD);
        if self.shared.n_owed.load(Ordering::Acquire) > 0 {
            let _sizes = self.shared.sizes.lock().expect(NOT_POISONED);
            let n_paid = self.shared.n_owed.load(Ordering::Acquire).min(permit.num_permits());
            self.shared.n_owed.fetch_sub(n_paid, Ordering::AcqRel);
            if let Some(paid) = permit.split(n_paid) {
                paid.forget();
            }
        }
        drop(permit);
        if self.is_alone {
            self.shared.leave_alone();
        }
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

    #[tokio::test]
    async fn more_slots_are_there_at_once() {
        let slots = Slots::new(2);
        let both = slots.some(2).await;
        slots.resize(5);
        assert_eq!(slots.try_some(9).map(|more| more.len()), Some(3));
        drop(both);
        assert_eq!(slots.all().await.len(), 5);
    }

    #[tokio::test]
    async fn fewer_slots_cut_nobody_short_and_hold_when_jobs_end() {
        let slots = Slots::new(6);
        let mut held = slots.some(6).await;
        let (one, two) = (held.split().expect("one of six"), held.split().expect("one of five"));
        slots.resize(3);
        drop((one, two));
        assert!(slots.try_some(1).is_none(), "four still run, three may");
        drop(held);
        assert_eq!(slots.try_some(9).map(|all| all.len()), Some(3));
        slots.resize(1);
        slots.resize(4);
        assert_eq!(slots.all().await.len(), 4, "what was owed is kept when more are wanted again");
    }

    #[tokio::test]
    async fn who_waits_for_all_gets_as_many_as_there_are_now() {
        let slots = Slots::new(4);
        let mut held = slots.some(4).await;
        let turn = async {
            drop(held.split());
            tokio::task::yield_now().await;
            slots.resize(2);
            drop(held);
        };
        let (n_slots, ()) = tokio::join!(async { slots.all().await.len() }, turn);
        assert_eq!(n_slots, 2);
        assert_eq!(slots.try_some(9).map(|free| free.len()), Some(2));
    }

    #[tokio::test]
    async fn who_is_alone_stays_alone() {
        let slots = Slots::new(2);
        let alone = slots.all().await;
        slots.resize(8);
        assert!(slots.try_some(1).is_none());
        drop(alone);
        assert_eq!(slots.try_some(9).map(|free| free.len()), Some(8));
    }

    #[tokio::test]
    async fn who_shares_keeps_one_slot_and_lets_the_others_go_on() {
        let slots = Slots::new(3);
        let mut alone = slots.all().await;
        assert!(alone.is_alone() && slots.try_some(1).is_none());
        let (waiting, next) = (slots.some(9), slots.all());
        tokio::pin!(waiting, next);
        assert!(waiting.as_mut().now_or_never().is_none() && next.as_mut().now_or_never().is_none());
        alone.share();
        assert!(!alone.is_alone() && alone.len() == 1);
        drop(waiting.await);
        assert!(next.as_mut().now_or_never().is_none(), "who shares still runs");
        drop(alone);
        assert_eq!(next.await.len(), 3);
    }

    #[tokio::test]
    async fn what_was_decided_while_one_was_alone_comes_about_when_it_shares() {
        for (wanted, n_free) in [(5, Some(4)), (2, Some(1)), (1, None)] {
            let slots = Slots::new(3);
            let mut alone = slots.all().await;
            slots.resize(wanted);
            alone.share();
            alone.share();
            assert_eq!(slots.try_some(9).map(|free| free.len()), n_free, "of {wanted}");
            drop(alone);
            assert_eq!(slots.all().await.len(), wanted);
        }
    }

    #[tokio::test]
    async fn slots_held_beside_go_back_with_it_or_when_it_shares() {
        let (own, other) = (Slots::new(2), Slots::new(2));
        let mut alone = own.all().await.with(vec![other.all().await]);
        assert!(other.try_some(1).is_none());
        alone.share();
        assert_eq!(other.try_some(9).map(|free| free.len()), Some(2));
        drop(alone);
        drop(own.all().await.with(vec![other.all().await]));
        assert_eq!(other.try_some(9).map(|free| free.len()), Some(2));
    }
}
