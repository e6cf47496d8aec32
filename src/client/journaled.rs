//! Accepts jobs by a committed transaction: they outlive Dragonfly's memory.
//!
//! Promise: what is accepted has a row that goes only with its settlement; while Dragonfly is away or full, jobs are
//! accepted all the same and brought there later; while Postgres is away nothing is accepted and nothing runs.
//!
//! Why a loss of memory in the middle loses nothing: the row says which generation of memory was believed in *before*
//! the job was added. If that memory was lost since, the row's generation is not the present one and the relay brings
//! the job again, whenever the row becomes visible; if it was not, the job is in it.

use std::{collections::HashMap, time::Duration};

use super::{Accepted, Client, Fleet, Submission, SubmitError, Submitted};
use crate::{
    broker::BrokerErrorKind,
    dedup::Mode,
    job::JobId,
    store::{Held, JournalRow, Store, Tx},
};

/// Jobs of one transaction.
const CHUNK: usize = 1_000;

/// Accepts jobs into the journal alone, for when Dragonfly cannot be reached: a worker's relay brings them.
///
/// # Errors
/// [`SubmitError`] says whether they may have been accepted; those of earlier chunks may have been.
pub async fn accept_without_dragonfly(store: &Store, submissions: &[Submission]) -> Result<(), SubmitError> {
    for some in submissions.chunks(CHUNK) {
        let rows: Vec<JournalRow> = some.iter().map(row).collect();
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
        mut jobs: Vec<(usize, Submission)>,
    ) -> Result<Vec<(usize, Submitted)>, SubmitError> {
        let Some((_, first)) = jobs.first() else { return Ok(Vec::new()) };
        let Some(store) = &self.journal else { return Err(SubmitError::NoJournal(first.queue.clone())) };
        jobs.iter_mut().for_each(|(_, job)| job.envelope.options.journaled = true);
        let mut submitted = Vec::with_capacity(jobs.len());
        while !jobs.is_empty() {
            let rest = jobs.split_off(jobs.len().min(CHUNK));
            submitted.extend(self.journal_some(store, fleet, std::mem::replace(&mut jobs, rest)).await?);
        }
        Ok(submitted)
    }

    async fn journal_some(
        &self,
        store: &Store,
        fleet: &Fleet,
        jobs: Vec<(usize, Submission)>,
    ) -> Result<Vec<(usize, Submitted)>, SubmitError> {
        let accepted: Vec<_> = jobs.iter().map(|(number, job)| (*number, job.envelope.id)).collect();
        let rows: Vec<JournalRow> = jobs.iter().map(|(_, job)| row(job)).collect();
        let mut tx = store.begin().await.map_err(SubmitError::NotJournaled)?;
        tx.journal(&rows, Held::ByDragonfly).await.map_err(SubmitError::NotJournaled)?;
        let submitted = match Box::pin(self.place(fleet, jobs)).await {
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

fn row(submission: &Submission) -> JournalRow {
    let Submission { queue, envelope, delay } = submission;
    let mut envelope = envelope.clone();
    envelope.options.journaled = true;
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
        envelope: envelope.write(),
    }
}
