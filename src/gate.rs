//! A queue as this worker is told to run it: whether it may start jobs, and how many at once.
//!
//! Promise: once closed, nothing of the queue is started here; what runs goes on. Never reads a policy by
//! itself: the registrar tells it.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use crate::{policy::Policy, slots::Slots};

/// One queue's gate in this worker, shared by its roles.
pub(crate) struct Gate {
    closed: watch::Sender<bool>,
    limits_producers: AtomicBool,
    slots: Slots,
    /// How many jobs at once where no operator decided.
    concurrency: usize,
}

impl Gate {
    /// Open, with as many slots as the settings say.
    pub(crate) fn new(slots: Slots, concurrency: usize) -> Self {
        Self { closed: watch::Sender::new(false), limits_producers: AtomicBool::new(false), slots, concurrency }
    }

    /// Does as an operator decided; true when that changed anything.
    pub(crate) fn obey(&self, policy: &Policy) -> bool {
        self.limits_producers.store(policy.limits_producers(), Ordering::Relaxed);
        let wanted = policy.concurrency.map_or(self.concurrency, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let before = self.slots.n_slots();
        self.slots.resize(wanted);
        let turned = self.closed.send_if_modified(|closed| std::mem::replace(closed, policy.paused) != policy.paused);
        turned || before != self.slots.n_slots()
    }

    /// Whether nothing may be started.
    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Whether a producer has to ask before it adds a job.
    pub(crate) fn limits_producers(&self) -> bool {
        self.limits_producers.load(Ordering::Relaxed)
    }

    /// How many jobs may run at once.
    pub(crate) fn n_slots(&self) -> usize {
        self.slots.n_slots()
    }

    /// Ends when the gate is open.
    pub(crate) async fn opened(&self) {
        let mut closed = self.closed.subscribe();
        // The sender is `self`'s own: it is never gone before this ends.
        drop(closed.wait_for(|closed| !closed).await);
    }

    /// Hears of every time that the gate is opened or closed.
    pub(crate) fn turns(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gate_does_what_was_decided_and_else_as_the_settings_say() {
        let slots = Slots::new(4);
        let gate = Gate::new(slots.clone(), 4);
        let decided = Policy { paused: true, concurrency: Some(9), ..Policy::default() };
        assert!(gate.obey(&decided) && !gate.obey(&decided), "only a change is one");
        assert!(gate.is_closed() && gate.n_slots() == 9);
        assert!(gate.obey(&Policy::default()));
        gate.opened().await;
        assert_eq!(slots.try_some(99).map(|free| free.len()), Some(4));
    }
}
