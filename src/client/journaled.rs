//! Accepts jobs by a committed transaction: they outlive Dragonfly's memory.
//!
//! Promise: what is accepted has a row that goes only with its settlement; while Dragonfly is away or full, jobs are
//! accepted all the same and brought there later; while Postgres is away nothing is accepted and nothing runs.
//!
//! Why a loss of memory in the middle loses nothing: the row says which generation of memory was believed in *before*
//! the job was added. If that memory was lost since, the row's generation is not the present one and the relay brings
//! the job again, whenever the row becomes visible; if it was not, the job is in it.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;

use super::{Accepted, Client, Fleet, Submission, SubmitError, Submitted, Unplaced, place::at_once};
use crate::{
    broker::BrokerErrorKind,
    dedup::Mode,
    job::JobId,
    store::{Held, JournalRow, Store, Tx},
};

/// Jobs of one transaction.
const CHUNK: usize = 1_000;

/// Transactions of a batch that are open at once: Dragonfly is given one's jobs while Postgres writes another's rows.
const TRANSACTIONS: usize = 2;

/// Accepts jobs into the journal alone, for when Dragonfly cannot be reached: a worker's relay brings them.
///
/// # Errors
/// [`SubmitError`] says whether they may have been accepted; those of earlier chunks may have been.
pub async fn accept_without_dragonfly(store: &Store, submissions: &[Submission]) -> Result<(), SubmitError> {
    for some in submissions.chunks(CHUNK) {
        let rows: Vec<JournalRow> = some.iter().map(|job| row(job, marked(job))).collect();
        let mut tx = store.begin().await.map_err(SubmitError::NotJournaled)?;
        tx.journal(&rows, Held::ByTheJournal).await.map_err(SubmitError::NotJournaled)?;
        tx.wake_relays().await.map_err(SubmitError::NotJournaled)?;
        tx.commit().await.map_err(SubmitError::MaybeJournaled)?;
    }
    Ok(())
}

impl Client {
    /// Accepts jobs of journaled queues.
    pub(super) async fn submit_journaled(
        &self,
        fleet: &Fleet,
        jobs: &[Unplaced<'_>],
    ) -> Result<Vec<(usize, Submitted)>, SubmitError> {
        let Some(first) = jobs.first() else { return Ok(Vec::new()) };
        let Some(store) = &self.journal else {
            return Err(SubmitError::NoJournal(first.submission.queue.clone()));
        };
        let n_at_once = if independent(jobs) { TRANSACTIONS } else { 1 };
        let transactions: Vec<_> = jobs.chunks(CHUNK).map(|some| self.journal_some(store, fleet, some)).collect();
        let submitted = at_once(transactions, n_at_once).await?;
        Ok(submitted.into_iter().flatten().collect())
    }

    async fn journal_some(
        &self,
        store: &Store,
        fleet: &Fleet,
        jobs: &[Unplaced<'_>],
    ) -> Result<Vec<(usize, Submitted)>, SubmitError> {
        let accepted: Vec<_> = jobs.iter().map(|job| (job.number, job.submission.envelope.id)).collect();
        let rows: Vec<JournalRow> =
            jobs.iter().map(|job| row(job.submission, job.submission.envelope.write())).collect();
        let mut tx = store.begin().await.map_err(SubmitError::NotJournaled)?;
        tx.journal(&rows, Held::ByDragonfly).await.map_err(SubmitError::NotJournaled)?;
        let jobs =
            jobs.iter().zip(&rows).map(|(job, row)| Unplaced { written: Some(row.envelope.clone()), ..job.clone() });
        let submitted = match Box::pin(self.place(fleet, jobs.collect())).await {
            Ok(placed) => settle_rows(&mut tx, placed, &accepted).await?,
            Err(SubmitError::Unknown(error)) => {
                tracing::warn!(%error, n_jobs = rows.len(), "Dragonfly is away: jobs are accepted into the journal, the relay brings them");
                let ids: Vec<JobId> = rows.iter().map(|row| row.id).collect();
                tx.leave_to_relay(&ids).await.map_err(SubmitError::MaybeJournaled)?;
                accepted.iter().map(|&(number, id)| (number, Ok(Accepted::new(id)))).collect()
            }
            Err(other) => return Err(other), // dropped, the transaction takes the rows back
        };
        tx.commit().await.map_err(SubmitError::MaybeJournaled)?;
        Ok(submitted)
    }
}

/// Whether transactions may be open side by side. Not where a job may take the place of another one of its batch: that
/// one's row has to be there to be seen. And only when all lock rows in the same order, so that none waits for another in a
/// circle.
fn independent(jobs: &[Unplaced<'_>]) -> bool {
    let keyed = jobs.iter().any(|job| job.submission.envelope.options.dedup.is_some());
    !keyed && jobs.is_sorted_by(|one, next| one.submission.envelope.id < next.submission.envelope.id)
}

/// Rows of jobs that were refused, or that another stands for, go; what Dragonfly has no room for stays with the relay.
async fn settle_rows(
    tx: &mut Tx,
    placed: Vec<(usize, Submitted)>,
    accepted: &[(usize, JobId)],
) -> Result<Vec<(usize, Submitted)>, SubmitError> {
    let ids: HashMap<usize, JobId> = accepted.iter().copied().collect();
    let id = |number: usize| ids.get(&number).copied();
    let (mut back, mut replaced_ids, mut left) = (Vec::new(), Vec::new(), Vec::new());
    let mut submitted = Vec::with_capacity(placed.len());
    for (number, verdict) in placed {
        let verdict = match verdict {
            Ok(Accepted { existing: false, replaced, .. }) => {
                replaced_ids.extend(replaced);
                verdict
            }
            Err(SubmitError::Refused(error)) if error.kind() == BrokerErrorKind::OutOfMemory => {
                left.extend(id(number));
                id(number).map(Accepted::new).ok_or(SubmitError::Refused(error))
            }
            verdict => {
                back.extend(id(number));
                verdict
            }
        };
        submitted.push((number, verdict));
    }
    if !back.is_empty() {
        tx.take_back(&back).await.map_err(SubmitError::MaybeJournaled)?;
    }
    if !replaced_ids.is_empty() {
        tx.unjournal(&replaced_ids).await.map_err(SubmitError::MaybeJournaled)?;
    }
    if !left.is_empty() {
        tracing::warn!(
            n_jobs = left.len(),
            "Dragonfly's memory is full: jobs are accepted into the journal, the relay brings them"
        );
        tx.leave_to_relay(&left).await.map_err(SubmitError::MaybeJournaled)?;
    }
    Ok(submitted)
}

/// The envelope of a job that has a row.
fn marked(submission: &Submission) -> Bytes {
    let mut envelope = submission.envelope.clone();
    envelope.options.journaled = true;
    envelope.write()
}

fn row(submission: &Submission, written: Bytes) -> JournalRow {
    let Submission { queue, envelope, delay } = submission;
    let options = &envelope.options;
    let window = options.dedup.as_ref().filter(|dedup| dedup.mode == Mode::Debounce).map(|dedup| dedup.window_ms);
    let quiet = window.map(Duration::from_millis);
    JournalRow {
        id: envelope.id,
        queue: queue.clone(),
        kind: envelope.kind.clone(),
        priority: options.priority,
        delay: (*delay).max(quiet),
        run_at_ms: options.run_at_ms,
        envelope: written,
    }
}
