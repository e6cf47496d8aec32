//! Accepts jobs by a committed transaction: they outlive Dragonfly's memory.
//!
//! Promise: what is accepted has a row that goes only with its settlement; while Dragonfly is away or full, jobs are
//! accepted all the same and brought there later; while Postgres is away nothing is accepted and nothing runs. No
//! connection is held while Dragonfly is asked; more than Postgres can serve in time is told when to come again.
//!
//! Why a loss of memory in the middle loses nothing: the row says which generation of memory was believed in *before*
//! the job was added. If that memory was lost since, the row's generation is not the present one and the relay brings
//! the job again; if it was not, the job is in it. Why a submitter's death loses nothing: with the rows it commits one
//! that names them all, and deletes that one when it has added the jobs. Where it does not, a sweeper finds it in a while
//! and leaves the jobs to the relay.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use bytes::Bytes;

use super::{Accepted, Client, Fleet, Submission, SubmitError, Submitted, Unplaced, limiter::Limiter, place::at_once};
use crate::{
    broker::BrokerErrorKind,
    dedup::Mode,
    job::JobId,
    store::{JournalRow, OpenSubmission, Store, StoreError, SubmissionError},
};

/// Jobs of one transaction.
const CHUNK: usize = 1_000;

/// Submissions of a batch that are open at once: Dragonfly is given one's jobs while Postgres writes another's rows.
const OPEN: usize = 2;

/// Where jobs are journaled.
pub(super) struct Journal {
    pub(super) store: Store,
    limiter: Limiter,
}

impl Journal {
    pub(super) fn new(store: Store) -> Self {
        Self { limiter: Limiter::new(&store), store }
    }
}

/// What Dragonfly made of a submission's jobs, and what follows for their rows.
#[derive(Default)]
struct Outcome {
    submitted: Vec<(usize, Submitted)>,
    /// Refused, or another stands for them: their rows go.
    back: Vec<JobId>,
    /// Others, whose place they took: their rows go.
    replaced: Vec<JobId>,
    /// Dragonfly is away or has no room for them: the relay brings them.
    left: Vec<JobId>,
}

/// Accepts jobs into the journal alone, for when Dragonfly cannot be reached: a worker's relay brings them.
///
/// # Errors
/// [`SubmitError`] says whether they may have been accepted; those of earlier chunks may have been.
pub async fn accept_without_dragonfly(store: &Store, submissions: &[Submission]) -> Result<(), SubmitError> {
    for some in submissions.chunks(CHUNK) {
        let rows: Vec<JournalRow> = some.iter().map(|job| row(job, marked(job))).collect();
        let mut tx = store.begin().await.map_err(SubmitError::NotJournaled)?;
        tx.journal(&rows).await.map_err(SubmitError::NotJournaled)?;
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
        let Some(journal) = &self.journal else {
            return Err(SubmitError::NoJournal(first.submission.queue.clone()));
        };
        let n_at_once = if independent(jobs) { OPEN } else { 1 };
        let submissions: Vec<_> = jobs.chunks(CHUNK).map(|some| self.journal_some(journal, fleet, some)).collect();
        let submitted = at_once(submissions, n_at_once).await?;
        Ok(submitted.into_iter().flatten().collect())
    }

    async fn journal_some(
        &self,
        journal: &Journal,
        fleet: &Fleet,
        jobs: &[Unplaced<'_>],
    ) -> Result<Vec<(usize, Submitted)>, SubmitError> {
        let permit = match journal.limiter.admit().await {
            Ok(permit) => permit,
            Err(retry_after) => {
                let busy = |job: &Unplaced<'_>| (job.number, Err(SubmitError::JournalBusy { retry_after }));
                return Ok(jobs.iter().map(busy).collect());
            }
        };
        let rows: Vec<JournalRow> =
            jobs.iter().map(|job| row(job.submission, job.submission.envelope.write())).collect();
        let open = journal.store.open_submission(&rows).await?;
        drop(permit);
        let ids: HashMap<usize, JobId> = jobs.iter().zip(&rows).map(|(job, row)| (job.number, row.id)).collect();
        let is_keyed = jobs.iter().any(|job| job.submission.envelope.options.dedup.is_some());
        let written =
            jobs.iter().zip(&rows).map(|(job, row)| Unplaced { written: Some(row.envelope.clone()), ..job.clone() });
        let placed = Box::pin(self.place(fleet, written.collect())).await;
        let (outcome, refusal) = match placed {
            Ok(placed) => (Outcome::of(placed, &ids), None),
            Err(SubmitError::Unknown(error)) => {
                tracing::warn!(%error, n_jobs = rows.len(), "Dragonfly is away: jobs are accepted into the journal, the relay brings them");
                (Outcome::left(&ids), None)
            }
            Err(SubmitError::Refused(error)) if error.kind() == BrokerErrorKind::OutOfMemory => {
                (Outcome::left(&ids), None)
            }
            Err(other) => (Outcome { back: ids.values().copied().collect(), ..Outcome::default() }, Some(other)),
        };
        let is_certain = !is_keyed && outcome.back.is_empty();
        let kept = match outcome.end(&journal.store, &open, is_keyed).await {
            Ok(kept) => kept,
            // A job with a key that is brought again once the key is another's would give way to that one.
            Err(error) if is_certain => {
                tracing::warn!(%error, n_jobs = rows.len(), "jobs are accepted, and Postgres does not hear that Dragonfly has them: they are brought again");
                HashSet::new()
            }
            Err(error) => return Err(SubmitError::MaybeJournaled(error)),
        };
        refusal.map_or_else(|| Ok(outcome.answers(&ids, &kept)), Err)
    }
}

/// Whether submissions may be open side by side. Not where a job may take the place of another one of its batch: that
/// one's row has to be there to be seen. And only when all lock rows in the same order, so that none waits for another in a
/// circle.
fn independent(jobs: &[Unplaced<'_>]) -> bool {
    let keyed = jobs.iter().any(|job| job.submission.envelope.options.dedup.is_some());
    !keyed && jobs.is_sorted_by(|one, next| one.submission.envelope.id < next.submission.envelope.id)
}

impl Outcome {
    /// By what Dragonfly said of each.
    fn of(placed: Vec<(usize, Submitted)>, ids: &HashMap<usize, JobId>) -> Self {
        let mut outcome = Self::default();
        for (number, verdict) in placed {
            let id = ids.get(&number).copied();
            let verdict = match verdict {
                Ok(Accepted { existing: false, replaced, .. }) => {
                    outcome.replaced.extend(replaced);
                    verdict
                }
                Err(SubmitError::Refused(error)) if error.kind() == BrokerErrorKind::OutOfMemory => {
                    outcome.left.extend(id);
                    id.map(Accepted::new).ok_or(SubmitError::Refused(error))
                }
                verdict => {
                    outcome.back.extend(id);
                    verdict
                }
            };
            outcome.submitted.push((number, verdict));
        }
        if !outcome.left.is_empty() {
            tracing::warn!(
                n_jobs = outcome.left.len(),
                "Dragonfly's memory is full: jobs are accepted into the journal, the relay brings them"
            );
        }
        outcome
    }

    /// All are accepted, and the relay brings them.
    fn left(ids: &HashMap<usize, JobId>) -> Self {
        let submitted = ids.iter().map(|(&number, &id)| (number, Ok(Accepted::new(id)))).collect();
        Self { submitted, left: ids.values().copied().collect(), ..Self::default() }
    }

    /// Ends the submission; gives the jobs whose rows could not be taken back: they are accepted.
    async fn end(&self, store: &Store, open: &OpenSubmission, is_keyed: bool) -> Result<HashSet<JobId>, StoreError> {
        if self.back.is_empty() && self.replaced.is_empty() && self.left.is_empty() {
            store.close_submission(open).await?;
            return Ok(HashSet::new());
        }
        let mut tx = store.begin().await?;
        let was_open = tx.end_submission(open).await?;
        let n_placed = self.submitted.len().saturating_sub(self.back.len() + self.left.len());
        // The relay may have found the key of one that Dragonfly has in another's hands, and have given it up for that one.
        if !was_open && is_keyed && n_placed > 0 {
            return Err(StoreError::abandoned());
        }
        let kept = if self.back.is_empty() { HashSet::new() } else { tx.take_back(open, &self.back).await? };
        if !self.replaced.is_empty() {
            tx.unjournal(&self.replaced).await?;
        }
        if !self.left.is_empty() {
            tx.leave_to_relay(&self.left).await?;
        }
        tx.commit().await?;
        Ok(kept)
    }

    /// What each submitter is told.
    fn answers(self, ids: &HashMap<usize, JobId>, kept: &HashSet<JobId>) -> Vec<(usize, Submitted)> {
        let told = |(number, verdict): (usize, Submitted)| match ids.get(&number) {
            Some(id) if kept.contains(id) => (number, Ok(Accepted::new(*id))),
            _ => (number, verdict),
        };
        self.submitted.into_iter().map(told).collect()
    }
}

impl From<SubmissionError> for SubmitError {
    fn from(error: SubmissionError) -> Self {
        match error {
            SubmissionError::NotWritten(error) => Self::NotJournaled(error),
            SubmissionError::Unknown(error) => Self::MaybeJournaled(error),
        }
    }
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
