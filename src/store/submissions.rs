//! Journaled jobs on their way to Dragonfly: their rows are committed, and one more row names all jobs of the batch.
//!
//! Promise: between the statements of a submission no connection is held. Whoever journals jobs and dies before it says
//! what became of them leaves that one row; [`Store::abandon_submissions`] finds it and leaves the jobs to the relay.
//! A row that anybody else has touched since is not taken back.

use std::{collections::HashSet, time::Duration};

use uuid::Uuid;

use super::{
    connect::Store,
    error::StoreError,
    journal::{JournalRow, bind_rows},
    statement::{Row, Statement, Tx, statement},
};
use crate::job::JobId;

/// A batch whose rows are committed, until its client says what became of its jobs.
#[derive(Debug)]
pub struct OpenSubmission {
    id: Uuid,
    /// The ctid of its row: a plan made while the table was empty would not use an index.
    place: String,
    /// The number of the transaction that wrote the rows, as `xmin` tells it.
    transaction: String,
    /// Jobs whose rows were there before.
    existing: HashSet<JobId>,
}

/// What a sweeper found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abandoned {
    /// Submissions whose clients did not say what became of their jobs.
    pub n_submissions: i64,
    /// Jobs of these that the relay is to bring.
    pub n_jobs: i64,
}

/// Why a batch has no rows, or may have none.
#[derive(Debug)]
pub enum SubmissionError {
    /// Nothing was written.
    NotWritten(StoreError),
    /// There was no answer: everything or nothing was written.
    Unknown(StoreError),
}

/// The touch of a row that is there already makes it another version: whoever wrote it does not take it back then.
const OPEN: &str = "\
with journaled as (\
insert into job_journal (id, queue, kind, envelope, priority, due_at, generation) \
select n.id, n.queue, n.kind, n.envelope, n.priority, \
coalesce(clock_timestamp() + n.delay_ms * interval '1 millisecond', to_timestamp(n.run_at_ms / 1000.0)), g.generation \
from unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::int2[], $6::bigint[], $7::bigint[]) \
as n (id, queue, kind, envelope, priority, delay_ms, run_at_ms), broker_generation g \
on conflict (id) do update set accepted_at = job_journal.accepted_at returning id, xmax <> 0 as existing), \
opened as (insert into job_submissions (id, jobs) \
select $8, coalesce(array_agg(id) filter (where not existing), '{}') from journaled returning ctid) \
select (select ctid::text from opened) as place, pg_current_xact_id()::xid::text as transaction, \
coalesce((select array_agg(id) from journaled where existing), '{}') as existing";

const CLOSE: &str = "delete from job_submissions where ctid = $1::text::tid and id = $2";

/// What the relay may have brought meanwhile, of this or another generation, stays.
const TAKE_BACK: &str = "\
delete from job_journal where id = any($1) and xmin = $2::text::xid \
and generation = (select generation from broker_generation) returning id";

/// A row is still the submission's own while the same transaction wrote both: whoever submits a job again writes its row
/// anew and answers for it. Nobody was told that these jobs are accepted, which the generation -1 says.
const ABANDON: &str = "\
with late as (select id from job_submissions where begun_at < clock_timestamp() - $1 * interval '1 millisecond' \
order by begun_at limit 100 for update skip locked), \
gone as (delete from job_submissions s using late where s.id = late.id returning s.jobs, s.written), \
named as (select unnest(jobs) as id, written from gone), \
abandoned as (update job_journal j set generation = -1 from named n where j.id = n.id and j.xmin = n.written returning j.id) \
select (select count(*) from gone) as n_submissions, (select count(*) from abandoned) as n_jobs";

impl OpenSubmission {
    fn close(&self) -> Statement {
        statement(CLOSE).bind(self.place.clone()).bind(self.id)
    }
}

impl Store {
    /// Journals jobs that are added to Dragonfly next, in a transaction of their own. One that is journaled already keeps its
    /// row.
    ///
    /// The generation is read in it: the jobs are added after it, never before. A commit of its own, so that only its
    /// answer can be missed: whatever fails before it, nothing was written.
    ///
    /// # Errors
    /// [`SubmissionError`] says whether anything may have been written.
    pub async fn open_submission(&self, rows: &[JournalRow]) -> Result<OpenSubmission, SubmissionError> {
        let id = Uuid::now_v7();
        let begun = async {
            let mut tx = self.begin().await?;
            let rows = tx.fetch(bind_rows(statement(OPEN), rows).bind(id)).await?;
            Ok((opened(id, rows.first())?, tx))
        };
        let (submission, tx) = begun.await.map_err(SubmissionError::NotWritten)?;
        match tx.commit().await {
            Ok(()) => Ok(submission),
            Err(error) if error.is_refusal() => Err(SubmissionError::NotWritten(error)),
            Err(error) => Err(SubmissionError::Unknown(error)),
        }
    }

    /// Dragonfly has the batch's jobs.
    ///
    /// # Errors
    /// When Postgres does not say that it is done, or the submission was abandoned before. Then the jobs are brought again,
    /// which gives none a second result; one whose dedup key is another's by then gives way to that one.
    pub async fn close_submission(&self, submission: &OpenSubmission) -> Result<(), StoreError> {
        let n_rows = self.execute(submission.close()).await?;
        if n_rows == 1 { Ok(()) } else { Err(StoreError::abandoned()) }
    }

    /// Leaves the jobs of at most 100 submissions that began longer ago than `age` to the relay.
    ///
    /// # Errors
    /// What Postgres refused, or that it could not be asked.
    pub async fn abandon_submissions(&self, age: Duration) -> Result<Abandoned, StoreError> {
        let ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let rows = self.fetch(statement(ABANDON).bind(ms).planned_anew()).await?;
        let row = rows.first().ok_or_else(|| StoreError::new("abandon submissions")(sqlx::Error::RowNotFound))?;
        Ok(Abandoned { n_submissions: row.get("n_submissions")?, n_jobs: row.get("n_jobs")? })
    }
}

impl Tx {
    /// Ends a submission whose jobs have not all been added; what becomes of their rows follows in this transaction. False
    /// when it was abandoned before.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn end_submission(&mut self, submission: &OpenSubmission) -> Result<bool, StoreError> {
        Ok(self.execute(submission.close()).await? == 1)
    }

    /// Takes back the rows of jobs that Dragonfly did not take; those that were there before the submission stay.
    ///
    /// Gives the jobs that are accepted all the same: the relay has them, or brought them, since the submission was too old or
    /// Dragonfly's memory another one; or somebody has submitted them again meanwhile, and counts on their rows.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn take_back(
        &mut self,
        submission: &OpenSubmission,
        ids: &[JobId],
    ) -> Result<HashSet<JobId>, StoreError> {
        let mut kept: HashSet<JobId> = ids.iter().filter(|id| !submission.existing.contains(id)).copied().collect();
        let back = by_ids(TAKE_BACK, &kept).bind(submission.transaction.clone());
        for row in self.fetch(back).await? {
            kept.remove(&JobId(row.get("id")?));
        }
        if !kept.is_empty() {
            self.execute(by_ids("update job_journal set generation = 0 where id = any($1)", &kept)).await?;
        }
        Ok(kept)
    }
}

fn by_ids(sql: &'static str, ids: &HashSet<JobId>) -> Statement {
    statement(sql).bind(ids.iter().map(|id| id.0).collect::<Vec<_>>()).planned_anew()
}

fn opened(id: Uuid, row: Option<&Row>) -> Result<OpenSubmission, StoreError> {
    let row = row.ok_or_else(|| StoreError::new("journal jobs")(sqlx::Error::RowNotFound))?;
    let existing = row.get::<Vec<Uuid>>("existing")?.into_iter().map(JobId).collect();
    Ok(OpenSubmission { id, place: row.get("place")?, transaction: row.get("transaction")?, existing })
}
