//! Finds results that are committed already, for many deliveries with one question.
//!
//! Promise: an answer is as new as its question. While Postgres is away questions wait. Never guesses.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::{
    job::JobId,
    shutdown::Shutdown,
    store::{Store, StoreError, StoredResult},
    telemetry::metrics,
};

/// Questions that are asked together.
const TOGETHER: usize = 512;

const PAUSE: Duration = Duration::from_millis(500);

type Question = (JobId, oneshot::Sender<Option<StoredResult>>);

/// Asks for results.
#[derive(Clone)]
pub(crate) struct Finder {
    questions: mpsc::Sender<Question>,
}

impl Finder {
    /// Starts; ends when nobody can ask any more, or when told to stop.
    pub(crate) fn start(store: Store, shutdown: &Shutdown) -> Self {
        let (questions, asked) = mpsc::channel(TOGETHER);
        drop(shutdown.spawn(answer(store, asked, shutdown.clone())));
        Self { questions }
    }

    /// The result of a job; none twice over when we stop before Postgres answered.
    pub(crate) async fn find(&self, id: JobId) -> Option<Option<StoredResult>> {
        let (sender, answer) = oneshot::channel();
        self.questions.send((id, sender)).await.ok()?;
        answer.await.ok()
    }
}

async fn answer(store: Store, mut asked: mpsc::Receiver<Question>, shutdown: Shutdown) {
    let mut questions = Vec::new();
    while asked.recv_many(&mut questions, TOGETHER).await > 0 {
        while let Err(error) = answer_some(&store, &mut questions).await {
            metrics::role_failed("finder");
            tracing::warn!(%error, n_jobs = questions.len(), "could not look for committed results; asking again");
            if shutdown.run_until_stopped(tokio::time::sleep(PAUSE)).await.is_none() {
                questions.clear();
            }
        }
    }
}

/// Answers all of them, or none when Postgres cannot be asked.
async fn answer_some(store: &Store, questions: &mut Vec<Question>) -> Result<(), StoreError> {
    if questions.is_empty() {
        return Ok(());
    }
    let ids: Vec<JobId> = questions.iter().map(|(id, _)| *id).collect();
    let found = store.results(&ids).await?;
    for (id, sender) in questions.drain(..) {
        drop(sender.send(found.get(&id).cloned())); // who stopped waiting needs no answer
    }
    Ok(())
}
