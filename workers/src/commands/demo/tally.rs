//! What was submitted and what was heard of it: the demonstration's own book, kept apart from the service's.
//!
//! A job's latency is the time from just before its submission to the arrival of its first completion, both on
//! this process's monotonic clock.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use engine::{completion::Completion, job::JobId, outcome::Status};
use serde_json::Value;
use tokio::sync::watch;

use super::phase::Phase;

/// What is known of one job.
#[derive(Clone, Debug)]
pub(super) struct Fate {
    /// In which phase it was submitted.
    pub(super) phase: Phase,
    /// Just before it was submitted.
    pub(super) submitted: Instant,
    /// When its first completion came.
    pub(super) completed: Option<Instant>,
    /// When its completion as done came, and that completion.
    pub(super) done: Option<(Instant, Completion)>,
    /// Completions as dead or failed, and the attempts that they say were made.
    pub(super) n_dead: u32,
    pub(super) n_dead_attempts: u32,
    /// Completions as done beyond the first that say the same: published again, which is no second effect.
    pub(super) n_republished: u32,
    /// Completions as done beyond the first that say something else: the job had two effects.
    pub(super) n_contradicting: u32,
}

/// The book.
pub(super) struct Tally {
    pages: Mutex<Pages>,
    n_heard: watch::Sender<u64>,
}

#[derive(Default)]
struct Pages {
    fates: HashMap<JobId, Fate>,
    /// Completions by partition and number: one that was seen live is not counted again when it is replayed.
    seen: HashSet<(String, u64)>,
}

impl Tally {
    /// Nothing is submitted yet.
    pub(super) fn new() -> Self {
        Self { pages: Mutex::default(), n_heard: watch::Sender::new(0) }
    }

    /// Jobs that are about to be submitted. Noted before, for a completion may come before the server's answer.
    pub(super) fn submitting(&self, phase: Phase, ids: impl Iterator<Item = JobId>) {
        let submitted = Instant::now();
        let mut pages = self.pages();
        pages.fates.extend(ids.map(|id| (id, Fate::new(phase, submitted))));
    }

    /// Completions that came, live or replayed; gives how many of them are new.
    pub(super) fn heard(&self, completions: Vec<Completion>) -> u64 {
        let now = Instant::now();
        let mut n_new = 0;
        let mut pages = self.pages();
        for completion in completions {
            if pages.seen.insert((completion.partition.clone(), completion.seq)) {
                n_new += 1;
                if let Some(fate) = pages.fates.get_mut(&completion.id) {
                    fate.hear(completion, now);
                }
            }
        }
        drop(pages);
        self.n_heard.send_modify(|n_heard| *n_heard += n_new);
        n_new
    }

    /// Waits until no job is left of which `open` is true; `progress` hears how many are left. Gives false when
    /// nothing was heard for `patience`.
    pub(super) async fn wait(
        &self,
        open: impl Fn(&Fate) -> bool,
        patience: Duration,
        mut progress: impl FnMut(usize),
    ) -> bool {
        let mut n_heard = self.n_heard.subscribe();
        loop {
            n_heard.mark_unchanged();
            let n_open = self.pages().fates.values().filter(|fate| open(fate)).count();
            progress(n_open);
            if n_open == 0 {
                return true;
            }
            if !matches!(tokio::time::timeout(patience, n_heard.changed()).await, Ok(Ok(()))) {
                return false;
            }
        }
    }

    /// Everything, as it stands.
    pub(super) fn snapshot(&self) -> HashMap<JobId, Fate> {
        self.pages().fates.clone()
    }

    /// The result of a job that is done.
    pub(super) fn result(&self, id: JobId) -> Option<Value> {
        self.pages().fates.get(&id)?.done.as_ref()?.1.result.clone()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().expect("no code panics while it holds this lock")
    }
}

impl Fate {
    fn new(phase: Phase, submitted: Instant) -> Self {
        Self {
            phase,
            submitted,
            completed: None,
            done: None,
            n_dead: 0,
            n_dead_attempts: 0,
            n_republished: 0,
            n_contradicting: 0,
        }
    }

    /// Whether anything final was heard.
    pub(super) fn is_settled(&self) -> bool {
        self.completed.is_some()
    }

    /// From submission to the first completion.
    pub(super) fn latency(&self) -> Option<Duration> {
        Some(self.completed?.duration_since(self.submitted))
    }

    fn hear(&mut self, completion: Completion, now: Instant) {
        self.completed.get_or_insert(now);
        match (completion.status, &self.done) {
            (Status::Done, None) => self.done = Some((now, completion)),
            (Status::Done, Some((_, first))) if says_the_same(first, &completion) => self.n_republished += 1,
            (Status::Done, Some(_)) => self.n_contradicting += 1,
            _ => {
                self.n_dead += 1;
                self.n_dead_attempts += completion.attempt;
            }
        }
    }
}

/// The same run of the job: what is published again speaks of the one committed result.
fn says_the_same(first: &Completion, again: &Completion) -> bool {
    (first.attempt, &first.result, &first.result_ref, first.timings.finished_ms)
        == (again.attempt, &again.result, &again.result_ref, again.timings.finished_ms)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use engine::{
        completion::Timings,
        job::{Kind, QueueName},
    };

    use super::*;

    fn completion(id: JobId, seq: u64, status: Status, attempt: u32) -> Completion {
        Completion {
            id,
            kind: Kind::from_static("a.b"),
            queue: QueueName::from_static("search"),
            status,
            attempt,
            result: None,
            result_ref: None,
            error: None,
            timings: Timings::default(),
            user_id: None,
            worker: "w".into(),
            traceparent: None,
            partition: "search~0".into(),
            seq,
        }
    }

    #[test]
    fn the_same_completion_seen_twice_counts_once_and_published_again_is_no_second_effect() {
        let (tally, id) = (Tally::new(), JobId::generate());
        tally.submitting(Phase::Searches, [id].into_iter());
        let done = |seq, attempt| vec![completion(id, seq, Status::Done, attempt)];
        assert_eq!((tally.heard(done(1, 1)), tally.heard(done(1, 1))), (1, 0));
        tally.heard(done(2, 1));
        tally.heard(done(3, 2));
        let fate = tally.snapshot().remove(&id).unwrap();
        assert_eq!((fate.n_republished, fate.n_contradicting), (1, 1));
    }

    #[test]
    fn a_redriven_job_is_dead_and_then_done() {
        let (tally, id) = (Tally::new(), JobId::generate());
        tally.submitting(Phase::Failures, [id].into_iter());
        tally.heard(vec![completion(id, 1, Status::Dead, 3)]);
        assert!(tally.snapshot()[&id].is_settled() && tally.snapshot()[&id].done.is_none());
        tally.heard(vec![completion(id, 2, Status::Done, 1)]);
        let fate = tally.snapshot().remove(&id).unwrap();
        assert!(fate.done.is_some() && (fate.n_dead, fate.n_dead_attempts, fate.n_contradicting) == (1, 3, 0));
    }
}
