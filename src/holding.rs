//! A partition as this worker holds it: the connection, what is in hand, and how fresh the lease is.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Mutex,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::broker::{COMMAND_TIMEOUT, Held, Partition, Stray};

/// One partition in this worker's hands, shared by its roles.
pub(crate) struct Holding {
    pub(crate) partition: Partition,
    /// With each delivery, how many gaps the heart had had when it came.
    in_hand: Mutex<HashMap<Held, u64>>,
    beats: Mutex<Beats>,
    reads: Mutex<Reads>,
    turns: Mutex<Turns>,
    nudged: Notify,
}

/// How long after its claim a job that saw one worker die waits for its turn to be alone.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long after turns began no others begin.
const REST: Duration = Duration::from_secs(5);

const NOT_POISONED: &str = "no code panics while it holds this lock";

impl Holding {
    pub(crate) fn new(partition: Partition) -> Self {
        Self {
            partition,
            in_hand: Mutex::default(),
            beats: Mutex::default(),
            reads: Mutex::default(),
            turns: Mutex::default(),
            nudged: Notify::new(),
        }
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

    /// The consumer begins to read, one read at a time; what it brings is received before the answer is dropped.
    pub(crate) fn reading(&self) -> Reading<'_> {
        self.reads.lock().expect(NOT_POISONED).since = Some(Instant::now());
        Reading(self)
    }

    /// A read failed because the server could not be reached: it may hand deliveries to us all the same, now or when the
    /// network heals, and nobody hears of it.
    pub(crate) fn doubt(&self, now: Instant) {
        self.reads.lock().expect(NOT_POISONED).failed = Some(now);
    }

    /// Whether a read failed so lately that what it brought may just have come.
    pub(crate) fn is_doubtful(&self, now: Instant, lease: Duration) -> bool {
        self.reads.lock().expect(NOT_POISONED).are_doubtful(now, lease)
    }

    /// Whether the reply that brought a delivery to us is lost: nobody here has it, and no read is under way that could
    /// bring it. Asked when the server's answer is there.
    pub(crate) fn lost(&self, stray: &Stray, now: Instant) -> bool {
        // In this order: a read that ends in between has put into hand what it brought.
        self.reads.lock().expect(NOT_POISONED).cannot_bring(stray.idle, now)
            && !self.in_hand.lock().expect(NOT_POISONED).contains_key(&stray.held)
    }

    /// Until when a job that is claimed now may wait for its turn to be alone. What is claimed soon after others shares their
    /// time, so that a crowd that comes in small parts holds nobody up again and again.
    pub(crate) fn patience(&self, now: Instant) -> Instant {
        self.turns.lock().expect(NOT_POISONED).until(now)
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

/// The time in which suspects have their turns.
#[derive(Default)]
struct Turns {
    begun: Option<Instant>,
}

impl Turns {
    fn until(&mut self, now: Instant) -> Instant {
        let begun = self.begun.filter(|begun| now.duration_since(*begun) < REST).unwrap_or(now);
        self.begun = Some(begun);
        begun + PATIENCE
    }
}

/// A read under way.
pub(crate) struct Reading<'a>(&'a Holding);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.reads.lock().expect(NOT_POISONED).since = None;
    }
}

/// Whether the server may believe that we have what we never got.
#[derive(Default)]
struct Reads {
    /// When the one under way began.
    since: Option<Instant>,
    /// When the last one failed.
    failed: Option<Instant>,
}

impl Reads {
    /// A read that follows on the last failure may be held up for as long as a command may take, and be answered when the
    /// network heals; that is when those that failed before it are carried out.
    fn are_doubtful(&self, now: Instant, lease: Duration) -> bool {
        self.failed.is_some_and(|failed| now.duration_since(failed) < COMMAND_TIMEOUT + lease)
    }

    /// What has been held for longer than the read is under way was handed out before it.
    fn cannot_bring(&self, idle: Duration, now: Instant) -> bool {
        self.since.is_none_or(|since| idle > now.duration_since(since))
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
    fn what_is_claimed_in_small_parts_shares_one_time_for_its_turns() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut turns = Turns::default();
        for claimed in [0, 20, 499, 700, 4_999] {
            assert_eq!(turns.until(at(claimed)), at(500), "claimed after {claimed} ms");
        }
        assert_eq!(turns.until(at(5_000)), at(5_500), "a later crowd has its own");
        assert_eq!(turns.until(at(9_000)), at(5_500));
    }

    #[test]
    fn doubt_lasts_a_lease_after_the_last_failed_read_can_have_been_followed_by_one_that_succeeds() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut reads = Reads::default();
        assert!(!reads.are_doubtful(start, LEASE));
        reads.failed = Some(start);
        reads.failed = Some(at(1_000));
        assert!(reads.are_doubtful(at(8_900), LEASE));
        assert!(!reads.are_doubtful(at(9_000), LEASE));
    }

    #[test]
    fn what_a_read_under_way_may_bring_is_not_lost() {
        let start = Instant::now();
        let reads = Reads { since: Some(start), failed: None };
        let now = start + Duration::from_millis(1_500);
        assert!(!reads.cannot_bring(Duration::from_millis(1_500), now), "it may have been handed out at its beginning");
        assert!(reads.cannot_bring(Duration::from_millis(1_501), now));
        assert!(Reads::default().cannot_bring(Duration::ZERO, now), "none is under way");
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
