//! The loops of a worker and when each completed its last cycle, for the worker's health.
//!
//! Promise: a loop that stands still, fails again and again or has ended is named; one that rests, because no job may
//! start, is not late. Costs an atomic store a cycle. Never ends or restarts a loop.

use std::{
    fmt::Display,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A loop is late after so many of its intervals, and after two leases at least.
const INTERVALS: u32 = 10;

/// So many loops are named; where a server is away nearly all of them are late.
const TOLD: usize = 3;

/// The roles without which a worker takes no jobs, or holds them without a lease.
const ESSENTIAL: [&str; 3] = ["heart", "consumer", "reclaimer"];

/// Every loop of one worker.
#[derive(Debug)]
pub struct Cycles {
    started: Instant,
    lease: Duration,
    known: Mutex<Vec<Arc<Known>>>,
    is_over: AtomicBool,
}

#[derive(Debug)]
struct Known {
    role: &'static str,
    /// The partition or queue, where it is one of several.
    of: String,
    /// None for a loop that waits for what may never come.
    interval: Option<Duration>,
    started: Instant,
    /// Milliseconds from the start to the end of the last cycle.
    completed_ms: AtomicU64,
    /// Milliseconds from the start to the beginning of a rest that lasts; 0 for none.
    rests_ms: AtomicU64,
    has_ended: AtomicBool,
}

/// One loop's own record, kept by the loop itself: when it is dropped, the loop has ended.
#[derive(Debug)]
pub struct Cycle {
    known: Arc<Known>,
    has_failed: AtomicBool,
}

impl Cycles {
    /// No loop yet; a lease says how long a loop may be late at least.
    pub fn new(lease: Duration) -> Arc<Self> {
        Arc::new(Self { started: Instant::now(), lease, known: Mutex::default(), is_over: AtomicBool::new(false) })
    }

    /// A loop that begins now and completes a cycle every `interval`.
    pub fn begin(&self, role: &'static str, of: impl Display, interval: Duration) -> Cycle {
        self.add(role, of.to_string(), Some(interval))
    }

    /// A loop that begins now and may wait for ever; it is to go on running, no more.
    pub fn begin_waiting(&self, role: &'static str, of: impl Display) -> Cycle {
        self.add(role, of.to_string(), None)
    }

    fn add(&self, role: &'static str, of: String, interval: Option<Duration>) -> Cycle {
        let (started, has_ended) = (self.started, AtomicBool::new(false));
        let (completed_ms, rests_ms) = (AtomicU64::default(), AtomicU64::default());
        let known = Arc::new(Known { role, of, interval, started, completed_ms, rests_ms, has_ended });
        known.completed_ms.store(known.ms(Instant::now()), Ordering::Relaxed);
        self.known().push(Arc::clone(&known));
        Cycle { known, has_failed: AtomicBool::new(false) }
    }

    /// The worker stops: loops end because they are told to.
    pub fn close(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// The loops that have ended without being told to: only a new process brings them back.
    pub fn ended(&self) -> Vec<String> {
        if self.is_over.load(Ordering::Relaxed) {
            return Vec::new();
        }
        self.known().iter().filter(|known| known.has_ended.load(Ordering::Relaxed)).map(|known| known.name()).collect()
    }

    /// What is wrong with the loops, in words; none when nothing is.
    pub fn problem(&self, now: Instant) -> Option<String> {
        if self.is_over.load(Ordering::Relaxed) {
            return None;
        }
        let known = self.known();
        let problems: Vec<String> = known.iter().filter_map(|known| known.problem(self.lease, now)).collect();
        let n_more = problems.len().saturating_sub(TOLD);
        let more = if n_more > 0 { format!("; and {n_more} loops more") } else { String::new() };
        (!problems.is_empty()).then(|| problems[..problems.len() - n_more].join("; ") + &more)
    }

    /// Whether a loop has a problem without which this worker takes and settles no jobs.
    pub fn keep_from_work(&self, now: Instant) -> bool {
        let is_broken = |known: &Arc<Known>| known.problem(self.lease, now).is_some();
        !self.is_over.load(Ordering::Relaxed)
            && self.known().iter().filter(|known| ESSENTIAL.contains(&known.role)).any(is_broken)
    }

    fn known(&self) -> MutexGuard<'_, Vec<Arc<Known>>> {
        self.known.lock().expect("no code panics while it holds this lock")
    }
}

impl Known {
    fn name(&self) -> String {
        if self.of.is_empty() { self.role.to_owned() } else { format!("{} of {}", self.role, self.of) }
    }

    /// Milliseconds from the start, not 0.
    fn ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.started).as_millis()).unwrap_or_default().max(1)
    }

    fn problem(&self, lease: Duration, now: Instant) -> Option<String> {
        let name = self.name();
        if self.has_ended.load(Ordering::Relaxed) {
            return Some(format!("{name} has ended; start this worker again"));
        }
        let (interval, ms) = (self.interval?, self.completed_ms.load(Ordering::Relaxed));
        if self.rests_ms.load(Ordering::Relaxed) != 0 {
            return None;
        }
        let still = now.saturating_duration_since(self.started + Duration::from_millis(ms));
        let is_late = still > (interval * INTERVALS).max(lease * 2);
        is_late.then(|| format!("{name} has completed no cycle for {} s, expected every {interval:?}", still.as_secs()))
    }
}

impl Cycle {
    /// A cycle is over; it counts unless it failed.
    pub fn completed(&self) {
        self.resumes();
        if !self.has_failed.swap(false, Ordering::Relaxed) {
            self.known.completed_ms.store(self.known.ms(Instant::now()), Ordering::Relaxed);
        }
    }

    /// The cycle that runs has failed.
    pub fn failed(&self) {
        self.has_failed.store(true, Ordering::Relaxed);
    }

    /// What is waited for from now on has nothing to do with the loop's own work.
    pub fn rests(&self) {
        self.known.rests_ms.store(self.known.ms(Instant::now()), Ordering::Relaxed);
    }

    /// A rest is over; its time counts for none.
    pub fn resumes(&self) {
        let began = self.known.rests_ms.swap(0, Ordering::Relaxed);
        if began != 0 {
            let rested = self.known.ms(Instant::now()).saturating_sub(began);
            self.known.completed_ms.fetch_add(rested, Ordering::Relaxed);
        }
    }
}

impl Drop for Cycle {
    fn drop(&mut self) {
        self.known.has_ended.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(5);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_loop_that_stands_still_is_named_after_ten_intervals_and_two_leases_at_least() {
        let (cycles, now) = (Cycles::new(LEASE), Instant::now());
        let _loops = [cycles.begin("heart", "search~0", SECOND / 3), cycles.begin("registrar", "", SECOND * 5)];
        assert_eq!(cycles.problem(now + SECOND * 9), None);
        let late = cycles.problem(now + SECOND * 12).expect("one is late");
        assert!(late.starts_with("heart of search~0 has completed no cycle for 1"), "{late}");
        assert!(cycles.problem(now + SECOND * 52).is_some_and(|late| late.contains("; registrar has")));
        assert!(cycles.ended().is_empty(), "late is not ended");
    }

    #[test]
    fn of_many_late_loops_some_are_named_and_the_rest_is_counted() {
        let (cycles, later) = (Cycles::new(LEASE), Instant::now() + SECOND * 60);
        let _loops: Vec<Cycle> = (0..20).map(|number| cycles.begin("heart", number, SECOND)).collect();
        let late = cycles.problem(later).expect("all are late");
        assert!(late.matches("completed no cycle").count() == TOLD && late.ends_with("; and 17 loops more"), "{late}");
    }

    #[test]
    fn a_cycle_that_failed_is_none_and_the_next_counts() {
        let cycles = Cycles::new(LEASE);
        let heart = cycles.begin("heart", "", SECOND);
        let completed = || heart.known.completed_ms.swap(0, Ordering::Relaxed);
        completed();
        heart.rests();
        heart.failed();
        heart.completed();
        assert_eq!(completed(), 0, "neither a failure nor a rest is a cycle");
        heart.completed();
        assert_ne!(completed(), 0);
    }

    #[test]
    fn a_loop_that_rests_or_may_wait_is_never_late() {
        let cycles = Cycles::new(LEASE);
        let consumer = cycles.begin("consumer", "search~0", SECOND);
        let _listener = cycles.begin_waiting("listener", "");
        consumer.rests();
        let later = Instant::now() + SECOND * 3600;
        assert_eq!(cycles.problem(later), None);
        consumer.resumes();
        assert!(cycles.problem(later).is_some_and(|late| late.starts_with("consumer of search~0")));
    }

    #[test]
    fn a_loop_that_ended_by_itself_is_told_and_one_that_was_told_to_is_not() {
        let cycles = Cycles::new(LEASE);
        drop(cycles.begin_waiting("listener", ""));
        assert_eq!(cycles.ended(), ["listener"]);
        assert!(cycles.problem(Instant::now()).is_some_and(|ended| ended.contains("has ended")));
        cycles.close();
        assert!(cycles.ended().is_empty() && cycles.problem(Instant::now()).is_none());
    }
}
