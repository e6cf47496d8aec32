//! A partition as this worker holds it: the connection, what is in hand, and how fresh the lease is.

use std::{
    collections::HashSet,
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::broker::{Held, Partition};

/// One partition in this worker's hands, shared by its roles.
pub(crate) struct Holding {
    pub(crate) partition: Partition,
    in_hand: Mutex<HashSet<Held>>,
    /// What was in hand while our heart was not heard: somebody may have claimed it since, however we beat now.
    doubtful: Mutex<HashSet<Held>>,
    last_beat: Mutex<Option<Instant>>,
}

const NOT_POISONED: &str = "no code panics while it holds this lock";

impl Holding {
    pub(crate) fn new(partition: Partition) -> Self {
        Self { partition, in_hand: Mutex::default(), doubtful: Mutex::default(), last_beat: Mutex::default() }
    }

    /// A delivery arrived; false when it was in hand already.
    pub(crate) fn receive(&self, held: Held) -> bool {
        self.in_hand.lock().expect(NOT_POISONED).insert(held)
    }

    /// A delivery is settled, handed back or given up.
    pub(crate) fn put_down(&self, held: &Held) {
        self.in_hand.lock().expect(NOT_POISONED).remove(held);
        self.doubtful.lock().expect(NOT_POISONED).remove(held);
    }

    pub(crate) fn has(&self, held: &Held) -> bool {
        self.in_hand.lock().expect(NOT_POISONED).contains(held)
    }

    /// The server has just heard our heart. After a silence what is in hand stays doubtful.
    pub(crate) fn beaten(&self, now: Instant, lease: Duration) {
        let before = self.last_beat.lock().expect(NOT_POISONED).replace(now);
        if before.is_some_and(|before| !is_recent(before, now, lease)) {
            let in_hand = self.in_hand.lock().expect(NOT_POISONED).clone();
            self.doubtful.lock().expect(NOT_POISONED).extend(in_hand);
        }
    }

    /// Whether the server has heard our heart so steadily that nobody can have claimed this delivery.
    pub(crate) fn is_fresh(&self, held: &Held, now: Instant, lease: Duration) -> bool {
        let last = *self.last_beat.lock().expect(NOT_POISONED);
        let beats = last.is_some_and(|last| is_recent(last, now, lease));
        beats && !self.doubtful.lock().expect(NOT_POISONED).contains(held)
    }
}

fn is_recent(last: Instant, now: Instant, lease: Duration) -> bool {
    now.duration_since(last) < lease / 2
}
