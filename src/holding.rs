//! A partition as this worker holds it: the connection, what is in hand, and how fresh the lease is.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Mutex,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::broker::{Held, Partition};

/// One partition in this worker's hands, shared by its roles.
pub(crate) struct Holding {
    pub(crate) partition: Partition,
    /// With each delivery, how many gaps the heart had had when it came.
    in_hand: Mutex<HashMap<Held, u64>>,
    beats: Mutex<Beats>,
    nudged: Notify,
}

const NOT_POISONED: &str = "no code panics while it holds this lock";

impl Holding {
    pub(crate) fn new(partition: Partition) -> Self {
        Self { partition, in_hand: Mutex::default(), beats: Mutex::default(), nudged: Notify::new() }
    }

    /// A delivery arrived; false when it was in hand already.
    pub(crate) fn receive(&self, held: Held) -> bool {
        let n_gaps = self.beats.lock().expect(NOT_POISONED).n_gaps;
        match self.in_hand.lock().expect(NOT_POISONED).entry(held) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(n_gaps);
                true
            }
        }
    }

    /// A delivery is settled, handed back or given up.
    pub(crate) fn put_down(&self, held: &Held) {
        self.in_hand.lock().expect(NOT_POISONED).remove(held);
    }

    pub(crate) fn has(&self, held: &Held) -> bool {
        self.in_hand.lock().expect(NOT_POISONED).contains_key(held)
    }

    /// A job has become the earliest of those that wait here.
    pub(crate) fn nudge(&self) {
        self.nudged.notify_one();
    }

    /// Until the next nudge; one that came meanwhile counts.
    pub(crate) async fn nudged(&self) {
        self.nudged.notified().await;
    }

    /// The server has heard our heart, somewhen between these two moments.
    pub(crate) fn beaten(&self, asked: Instant, heard: Instant, lease: Duration) {
        self.beats.lock().expect(NOT_POISONED).beaten(asked, heard, lease);
    }

    /// Whether the server heard our heart lately, and without a gap since this delivery came, so that nobody can have
    /// claimed it.
    pub(crate) fn is_fresh(&self, held: &Held, now: Instant, lease: Duration) -> bool {
        let came_after = self.in_hand.lock().expect(NOT_POISONED).get(held).copied();
        came_after.is_some_and(|n_gaps| self.beats.lock().expect(NOT_POISONED).is_unbroken_since(n_gaps, now, lease))
    }
}

/// How steadily the server has heard our heart. A beat after a gap proves nothing about what was held before it: that
/// may have been claimed meanwhile.
#[derive(Default)]
struct Beats {
    /// When the last one was sent.
    last: Option<Instant>,
    /// How often the server may have missed them for a lease.
    n_gaps: u64,
}

impl Beats {
    fn beaten(&mut self, asked: Instant, heard: Instant, lease: Duration) {
        if self.last.is_some_and(|last| heard.duration_since(last) >= lease) {
            self.n_gaps += 1;
        }
        self.last = Some(asked);
    }

    fn is_unbroken_since(&self, n_gaps: u64, now: Instant, lease: Duration) -> bool {
        self.n_gaps == n_gaps && self.last.is_some_and(|last| now.duration_since(last) < lease / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(3);

    fn beats(at_ms: &[u64]) -> (Beats, Instant) {
        let start = Instant::now();
        let mut beats = Beats::default();
        for &ms in at_ms {
            let asked = start + Duration::from_millis(ms);
            beats.beaten(asked, asked + Duration::from_millis(5), LEASE);
        }
        (beats, start)
    }

    #[test]
    fn a_heart_that_beats_is_proof_for_as_long_as_half_a_lease() {
        let (beats, start) = beats(&[0, 1_000, 2_000]);
        assert!(beats.is_unbroken_since(0, start + Duration::from_millis(3_400), LEASE));
        assert!(!beats.is_unbroken_since(0, start + Duration::from_millis(3_600), LEASE));
    }

    #[test]
    fn a_beat_after_a_pause_is_no_proof_of_what_was_held_before() {
        let (beats, start) = beats(&[0, 1_000, 4_000, 5_000]);
        let now = start + Duration::from_millis(5_100);
        assert!(!beats.is_unbroken_since(0, now, LEASE), "it may have been claimed while nothing was heard");
        assert!(beats.is_unbroken_since(1, now, LEASE), "what came afterwards cannot have been");
    }

    #[test]
    fn an_answer_that_was_long_on_its_way_may_hide_a_gap() {
        let start = Instant::now();
        let mut beats = Beats::default();
        beats.beaten(start, start, LEASE);
        beats.beaten(start + Duration::from_secs(1), start + Duration::from_secs(4), LEASE);
        assert_eq!(beats.n_gaps, 1);
    }
}
