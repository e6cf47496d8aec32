//! A partition as this worker holds it: the connection, what is in hand, and how fresh the lease is.

use std::{
    collections::HashSet,
    sync::Mutex,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::broker::{Held, Partition};

/// One partition in this worker's hands, shared by its roles.
pub(crate) struct Holding {
    pub(crate) partition: Partition,
    in_hand: Mutex<HashSet<Held>>,
    last_beat: Mutex<Option<Instant>>,
    nudged: Notify,
}

const NOT_POISONED: &str = "no code panics while it holds this lock";

impl Holding {
    pub(crate) fn new(partition: Partition) -> Self {
        Self { partition, in_hand: Mutex::default(), last_beat: Mutex::default(), nudged: Notify::new() }
    }

    /// A delivery arrived; false when it was in hand already.
    pub(crate) fn receive(&self, held: Held) -> bool {
        self.in_hand.lock().expect(NOT_POISONED).insert(held)
    }

    /// A delivery is settled, handed back or given up.
    pub(crate) fn put_down(&self, held: &Held) {
        self.in_hand.lock().expect(NOT_POISONED).remove(held);
    }

    pub(crate) fn has(&self, held: &Held) -> bool {
        self.in_hand.lock().expect(NOT_POISONED).contains(held)
    }

    /// A job has become the earliest of those that wait here.
    pub(crate) fn nudge(&self) {
        self.nudged.notify_one();
    }

    /// Until the next nudge; one that came meanwhile counts.
    pub(crate) async fn nudged(&self) {
        self.nudged.notified().await;
    }

    /// The server has just heard our heart.
    pub(crate) fn beaten(&self, now: Instant) {
        *self.last_beat.lock().expect(NOT_POISONED) = Some(now);
    }

    /// Whether the server heard our heart lately enough that nobody can have claimed our deliveries.
    pub(crate) fn is_fresh(&self, now: Instant, lease: Duration) -> bool {
        let last = *self.last_beat.lock().expect(NOT_POISONED);
        last.is_some_and(|last| now.duration_since(last) < lease / 2)
    }
}
