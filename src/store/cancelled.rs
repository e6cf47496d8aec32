//! Taking jobs back: a result that says so, written before anybody acts on it.

use std::collections::HashSet;

use super::{connect::Store, error::StoreError, results::time, statement::statement};
use crate::{completion::Timings, job::JobId};

/// A job to take back.
#[derive(Clone, Debug)]
pub struct CancelledRow {
    /// Which job.
    pub id: JobId,
    /// Its queue.
    pub queue: String,
    /// Its kind.
    pub kind: String,
    /// Whose job.
    pub user_id: Option<String>,
    /// Attempts made.
    pub attempt: u32,
    /// Who takes it back.
    pub worker: String,
    /// When things happened.
    pub timings: Timings,
}

/// A job that is dead already stays dead; one that has a result keeps it.
const CANCEL: &str = "\
insert into job_results (id, queue, kind, user_id, status, attempt, worker, queued_at, started_at, finished_at) \
select n.id, n.queue, n.kind, n.user_id, 'cancelled', n.attempt, n.worker, n.queued_at, n.started_at, n.finished_at \
from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int[], $6::text[], $7::timestamptz[], $8::timestamptz[], $9::timestamptz[]) \
as n (id, queue, kind, user_id, attempt, worker, queued_at, started_at, finished_at) \
where not exists (select 1 from dead_jobs d where d.id = n.id and d.redriven_at is null) \
on conflict (id) do nothing returning id";

impl Store {
    /// Cancels those of the jobs that have neither a result nor died; gives which. From then on a handler that ends
    /// finds that the job has its result, and nothing of its own is written.
    ///
    /// # Errors
    /// What Postgres refused, or that it could not be asked: then none is cancelled.
    pub async fn cancel(&self, rows: &[CancelledRow]) -> Result<HashSet<JobId>, StoreError> {
        let mut tx = self.begin().await?;
        tx.fence(&rows.iter().map(|row| row.id).collect::<Vec<_>>()).await?;
        let clean = |text: &str| text.replace('\0', "\u{fffd}");
        let cancel = statement(CANCEL)
            .bind(rows.iter().map(|row| row.id.0).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.queue.clone()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.kind.clone()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.user_id.as_deref().map(clean)).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| i32::try_from(row.attempt).unwrap_or(i32::MAX)).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.worker.clone()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| time(row.timings.queued_ms)).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| time(row.timings.started_ms)).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| time(row.timings.finished_ms)).collect::<Vec<_>>());
        let mut cancelled = HashSet::new();
        for row in tx.fetch(cancel).await? {
            cancelled.insert(JobId(row.get("id")?));
        }
        let ids: Vec<JobId> = cancelled.iter().copied().collect();
        tx.unbury(&ids).await?;
        tx.unjournal(&ids).await?;
        tx.commit().await?;
        Ok(cancelled)
    }
}
