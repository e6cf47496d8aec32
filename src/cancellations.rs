//! Which jobs were cancelled lately, as this worker heard.
//!
//! Promise: a running job is told as soon as the word arrives, one that arrives after the word is not begun;
//! while nobody cancels, a job costs a glance at a number. It decides nothing: whether a job is cancelled
//! stands in Postgres, and a word that was lost costs a handler's time, never an effect.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::watch;

use crate::job::JobId;

/// As many are remembered; older ones are forgotten.
const REMEMBERED: usize = 100_000;

const NOT_POISONED: &str = "no code panics while it holds this lock";

/// The words that were heard.
pub(crate) struct Cancellations {
    heard: watch::Sender<u64>,
    any: AtomicBool,
    lately: Mutex<Lately>,
}

#[derive(Default)]
struct Lately {
    ids: HashSet<JobId>,
    in_order: VecDeque<JobId>,
}

impl Cancellations {
    /// None heard yet.
    pub(crate) fn new() -> Self {
        Self { heard: watch::Sender::new(0), any: AtomicBool::new(false), lately: Mutex::default() }
    }

    /// The word came.
    pub(crate) fn cancel(&self, ids: &[JobId]) {
        let mut lately = self.lately.lock().expect(NOT_POISONED);
        for &id in ids {
            if lately.ids.insert(id) {
                lately.in_order.push_back(id);
            }
        }
        while lately.in_order.len() > REMEMBERED {
            if let Some(oldest) = lately.in_order.pop_front() {
                lately.ids.remove(&oldest);
            }
        }
        drop(lately);
        self.any.store(true, Ordering::Release);
        self.heard.send_modify(|n_words| *n_words += 1);
    }

    /// The word was wrong: Postgres knows of no cancellation.
    pub(crate) fn forget(&self, id: JobId) {
        let mut lately = self.lately.lock().expect(NOT_POISONED);
        if lately.ids.remove(&id) {
            lately.in_order.retain(|&heard| heard != id);
        }
    }

    /// Whether any word came since this worker began.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Whether it was cancelled lately.
    pub(crate) fn has(&self, id: JobId) -> bool {
        self.any() && self.lately.lock().expect(NOT_POISONED).ids.contains(&id)
    }

    /// Ends when the word for this job comes, or has come.
    pub(crate) async fn of(&self, id: JobId) {
        let mut heard = self.heard.subscribe();
        while !self.has(id) {
            // The sender is `self`'s own: it is never gone before this ends.
            drop(heard.changed().await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_job_that_is_meant_hears_the_word() {
        let cancellations = Cancellations::new();
        let (meant, other) = (JobId::generate(), JobId::generate());
        let word = async { cancellations.cancel(&[meant]) };
        tokio::join!(cancellations.of(meant), word);
        assert!(cancellations.has(meant) && !cancellations.has(other));
        cancellations.of(meant).await;
        cancellations.forget(meant);
        assert!(!cancellations.has(meant));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_latest_stay() {
        let cancellations = Cancellations::new();
        let ids: Vec<JobId> = (0..REMEMBERED + 5).map(|_| JobId::generate()).collect();
        cancellations.cancel(&ids);
        assert!(!cancellations.has(ids[4]) && cancellations.has(ids[5]));
    }
}
