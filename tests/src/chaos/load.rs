//! A producer with an open loop: it submits at its rate whatever becomes of what it submitted before.
//!
//! Promise: a job counts as accepted when the client said so; one without an answer is submitted again under the same
//! id until there is one.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use engine::{
    client::{Client, Submission, SubmitError},
    job::JobId,
};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::patience;

/// What the producer was told.
#[derive(Default)]
pub(super) struct Answers {
    accepted: Mutex<HashMap<JobId, DateTime<Utc>>>,
    n_refused: AtomicUsize,
    n_unknown: AtomicUsize,
    n_not_replicated: AtomicUsize,
}

impl Answers {
    /// Every accepted job, and when its acceptance was told.
    pub(super) fn accepted(&self) -> HashMap<JobId, DateTime<Utc>> {
        self.accepted.lock().unwrap().clone()
    }

    /// Notes an answer; gives none when it was yes, else when to ask again.
    fn heard(&self, answer: Result<Vec<JobId>, SubmitError>) -> Option<Duration> {
        match answer {
            Ok(ids) => {
                let now = Utc::now();
                self.accepted.lock().unwrap().extend(ids.into_iter().map(|id| (id, now)));
                return None;
            }
            Err(SubmitError::Busy { retry_after, .. } | SubmitError::JournalBusy { retry_after }) => {
                self.n_refused.fetch_add(1, Ordering::Relaxed);
                return Some(retry_after);
            }
            Err(SubmitError::Unknown(_) | SubmitError::MaybeJournaled(_)) => {
                self.n_unknown.fetch_add(1, Ordering::Relaxed)
            }
            Err(SubmitError::NotReplicated { .. }) => self.n_not_replicated.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.n_refused.fetch_add(1, Ordering::Relaxed),
        };
        Some(AGAIN)
    }

    /// How many jobs were accepted.
    pub(super) fn n_accepted(&self) -> usize {
        self.accepted.lock().unwrap().len()
    }

    /// How often the server said no.
    pub(super) fn n_refused(&self) -> usize {
        self.n_refused.load(Ordering::Relaxed)
    }

    /// How often too few replicas had it.
    pub(super) fn n_not_replicated(&self) -> usize {
        self.n_not_replicated.load(Ordering::Relaxed)
    }

    /// How often there was no answer.
    pub(super) fn n_unknown(&self) -> usize {
        self.n_unknown.load(Ordering::Relaxed)
    }
}

/// The producer; what it still has to say is lost when it is dropped.
pub(super) struct Load {
    stop: CancellationToken,
    submitting: JoinSet<JoinSet<()>>,
}

/// What the producer makes of a number.
pub(super) type Make = Box<dyn Fn(u64) -> Submission + Send>;

const TICK: Duration = Duration::from_millis(20);
const AGAIN: Duration = Duration::from_millis(100);

impl Load {
    /// Begins to submit `per_second` jobs each second.
    pub(super) fn begin(client: Arc<Client>, answers: Arc<Answers>, per_second: u64, make: Make) -> Self {
        let stop = CancellationToken::new();
        let mut submitting = JoinSet::new();
        submitting.spawn(produce(client, answers, (per_second, make), stop.clone()));
        Self { stop, submitting }
    }

    /// Submits nothing new, and waits until everything has its answer.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        let mut under_way = self.submitting.join_next().await.context("a load that began")??;
        let all = async {
            while under_way.join_next().await.transpose()?.is_some() {}
            anyhow::Ok(())
        };
        let limit = patience();
        tokio::time::timeout(limit, all)
            .await
            .with_context(|| format!("some submissions have no answer after {limit:?}"))?
    }
}

async fn produce(
    client: Arc<Client>,
    answers: Arc<Answers>,
    (per_second, make): (u64, Make),
    stop: CancellationToken,
) -> JoinSet<()> {
    let (begun, mut n_made) = (Instant::now(), 0);
    let mut under_way = JoinSet::new();
    let mut ticks = tokio::time::interval(TICK);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        while under_way.try_join_next().is_some() {}
        let due = u64::try_from(begun.elapsed().as_millis()).unwrap() * per_second / 1000;
        let jobs: Vec<Submission> = (n_made..due).map(&make).collect();
        n_made = due;
        if !jobs.is_empty() {
            under_way.spawn(submit(Arc::clone(&client), Arc::clone(&answers), jobs));
        }
    }
    under_way
}

/// Submits until there is an answer, and the answer is yes. After a no each goes alone: what was accepted of them is not
/// submitted again and again, which would fill up a server that is full already.
pub(super) async fn submit(client: Arc<Client>, answers: Arc<Answers>, jobs: Vec<Submission>) {
    let Some(mut wait) = answers.heard(client.submit_all(jobs.clone()).await) else { return };
    for job in jobs {
        loop {
            tokio::time::sleep(wait).await;
            match answers.heard(client.submit_all(vec![job.clone()]).await) {
                Some(again) => wait = again,
                None => break,
            }
        }
        wait = AGAIN;
    }
}
