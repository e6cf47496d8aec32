//! Accepts jobs by a committed transaction: they outlive Dragonfly's memory.
//!
//! Promise: what is accepted has a row that goes only with its settlement; while Dragonfly is away or full, jobs are
//! accepted all the same and brought there later; while Postgres is away nothing is accepted and nothing runs.
//!
//! Why a loss of memory in the middle loses nothing: the row says which generation of memory was believed in *before*
//! the job was added. If that memory was lost since, the row's generation is not the present one and the relay brings
//! the job again, whenever the row becomes visible; if it was not, the job is in it.

use crate::{
    broker::{BrokerErrorKind, Due, QueueTags},
    client::{Submission, SubmitError},
    placer::{Placer, ToPlace},
    store::{Held, JournalRow, Store},
};

/// Jobs of one transaction.
const CHUNK: usize = 1_000;

/// Accepts jobs into the journal alone, for when Dragonfly cannot be reached: a worker's relay brings them.
///
/// # Errors
/// [`SubmitError`] says whether they may have been accepted; those of earlier chunks may have been.
pub async fn accept(store: &Store, submissions: Vec<Submission>) -> Result<(), SubmitError> {
    for rows in rows(submissions).chunks(CHUNK) {
        let mut tx = store.begin().await.map_err(SubmitError::NotJournaled)?;
        tx.journal(rows, Held::ByTheJournal).await.map_err(SubmitError::NotJournaled)?;
        tx.wake_relays().await.map_err(SubmitError::NotJournaled)?;
        tx.commit().await.map_err(SubmitError::MaybeJournaled)?;
    }
    Ok(())
}

/// Accepts jobs into the journal and into Dragonfly.
pub(crate) struct Journal {
    pub(crate) store: Store,
    pub(crate) placer: Placer,
}

impl Journal {
    /// Accepts jobs.
    ///
    /// # Errors
    /// [`SubmitError`] says whether they may have been accepted; those of earlier chunks may have been.
    pub(crate) async fn accept(&self, queues: &QueueTags, submissions: Vec<Submission>) -> Result<(), SubmitError> {
        for rows in rows(submissions).chunks(CHUNK) {
            self.accept_some(queues, rows).await?;
        }
        Ok(())
    }

    async fn accept_some(&self, queues: &QueueTags, rows: &[JournalRow]) -> Result<(), SubmitError> {
        let mut tx = self.store.begin().await.map_err(SubmitError::NotJournaled)?;
        tx.journal(rows, Held::ByDragonfly).await.map_err(SubmitError::NotJournaled)?;
        let placed = self.placer.place(queues, rows.iter().map(to_place).collect()).await;
        if let Err(error) = placed {
            let away = matches!(error.kind(), BrokerErrorKind::Unreachable | BrokerErrorKind::OutOfMemory);
            if !away {
                return Err(SubmitError::Refused(error)); // dropped, the transaction takes the rows back
            }
            tracing::warn!(%error, n_jobs = rows.len(), "Dragonfly takes no jobs now: they are accepted into the journal, the relay brings them");
            let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
            tx.leave_to_relay(&ids).await.map_err(SubmitError::MaybeJournaled)?;
        }
        tx.commit().await.map_err(SubmitError::MaybeJournaled)
    }
}

fn rows(submissions: Vec<Submission>) -> Vec<JournalRow> {
    let row = |Submission { queue, mut envelope, delay }| {
        envelope.options.journaled = true;
        JournalRow {
            id: envelope.id,
            queue,
            kind: envelope.kind.clone(),
            priority: envelope.options.priority,
            delay,
            run_at_ms: envelope.options.run_at_ms,
            envelope: envelope.write(),
        }
    };
    submissions.into_iter().map(row).collect()
}

fn to_place(row: &JournalRow) -> ToPlace {
    let due = row.delay.map(Due::In).or_else(|| row.run_at_ms.map(Due::At));
    ToPlace { id: row.id, queue: row.queue.clone(), priority: row.priority, due, envelope: row.envelope.clone() }
}
