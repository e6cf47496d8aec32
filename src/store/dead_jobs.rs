//! The mirror of the dead letters, for listing and filtering.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::{
    connect::Store,
    error::StoreError,
    statement::{Row, Statement, Tx, built, statement},
};
use crate::job::JobId;

/// A dead letter to mirror.
#[derive(Clone, Debug)]
pub struct DeadRow {
    /// Which job.
    pub id: JobId,
    /// Its queue.
    pub queue: String,
    /// The partition whose stream holds the letter.
    pub partition: String,
    /// Its kind; empty when it could not be read.
    pub kind: String,
    /// Whose job.
    pub user_id: Option<String>,
    /// `failed` or `dead`.
    pub status: &'static str,
    /// The class of its last error.
    pub class: String,
    /// Its last error.
    pub error: String,
    /// Attempts made.
    pub attempt: u32,
    /// The letter, MessagePack.
    pub letter: Vec<u8>,
    /// The submitter's trace.
    pub traceparent: Option<String>,
}

/// Which dead jobs are meant; an empty filter means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadFilter {
    /// This job alone.
    pub id: Option<JobId>,
    /// Of this queue.
    pub queue: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// Whose last error is of this class.
    pub class: Option<String>,
    /// Of this user.
    pub user_id: Option<String>,
    /// Dead since this time.
    pub since: Option<DateTime<Utc>>,
    /// Dead until this time.
    pub until: Option<DateTime<Utc>>,
}

/// A mirrored dead job.
#[derive(Clone, Debug, serde::Serialize)]
pub struct DeadJob {
    /// Which job.
    pub id: JobId,
    /// Its queue.
    pub queue: String,
    /// The partition whose stream holds the letter.
    pub partition: String,
    /// Its kind.
    pub kind: String,
    /// Whose job.
    pub user_id: Option<String>,
    /// `failed` or `dead`.
    pub status: String,
    /// The class of its last error.
    pub class: String,
    /// Its last error.
    pub error: String,
    /// Attempts made.
    pub attempt: i32,
    /// The submitter's trace.
    pub traceparent: Option<String>,
    /// When it died.
    pub died_at: DateTime<Utc>,
    /// The letter, MessagePack.
    #[serde(skip)]
    pub letter: Vec<u8>,
}

const BURY: &str = "\
insert into dead_jobs (id, queue, partition, kind, user_id, status, class, error, attempt, letter, traceparent) \
select n.* from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::int[], $10::bytea[], $11::text[]) \
as n (id, queue, partition, kind, user_id, status, class, error, attempt, letter, traceparent) \
where not exists (select 1 from job_results r where r.id = n.id) \
on conflict (id) do update set status = excluded.status, class = excluded.class, error = excluded.error, attempt = excluded.attempt, \
letter = excluded.letter, partition = excluded.partition, died_at = now(), redriven_at = null returning id";

/// One who buries a job and one who cancels it do so one after the other, in an order that cannot lock up.
const FENCE: &str = "\
select pg_advisory_xact_lock(k.key) from (select distinct hashtextextended(id::text, 0) as key from unnest($1::uuid[]) as n (id) order by 1) as k";

const SELECTED: &str = "\
select id, queue, partition, kind, user_id, status, class, error, attempt, letter, traceparent, died_at from dead_jobs \
where redriven_at is null and ($1::uuid is null or id = $1) and ($2::text is null or queue = $2) and ($3::text is null or kind = $3) \
and ($4::text is null or class = $4) and ($5::text is null or user_id = $5) and ($6::timestamptz is null or died_at >= $6) \
and ($7::timestamptz is null or died_at <= $7)";

const REDRIVEN: &str = "update dead_jobs set redriven_at = now() where id = any($1)";

impl Tx {
    /// Until this transaction ends nobody else buries or cancels these jobs.
    pub(super) async fn fence(&mut self, ids: &[JobId]) -> Result<(), StoreError> {
        self.execute(statement(FENCE).bind(ids.iter().map(|id| id.0).collect::<Vec<_>>())).await.map(drop)
    }

    /// Mirrors dead letters; a job that has a result is not dead. Gives those that are dead now.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn bury(&mut self, rows: &[DeadRow]) -> Result<HashSet<JobId>, StoreError> {
        self.fence(&rows.iter().map(|row| row.id).collect::<Vec<_>>()).await?;
        fn texts<'a>(rows: &'a [DeadRow], pick: fn(&'a DeadRow) -> &'a str) -> Vec<String> {
            // Postgres' text cannot hold NUL.
            rows.iter().map(|row| pick(row).replace('\0', "\u{fffd}")).collect()
        }
        let bury = statement(BURY)
            .bind(rows.iter().map(|row| row.id.0).collect::<Vec<_>>())
            .bind(texts(rows, |row| &row.queue))
            .bind(texts(rows, |row| &row.partition))
            .bind(texts(rows, |row| &row.kind))
            .bind(
                rows.iter()
                    .map(|row| row.user_id.as_ref().map(|user| user.replace('\0', "\u{fffd}")))
                    .collect::<Vec<_>>(),
            )
            .bind(texts(rows, |row| row.status))
            .bind(texts(rows, |row| &row.class))
            .bind(texts(rows, |row| &row.error))
            .bind(rows.iter().map(|row| i32::try_from(row.attempt).unwrap_or(i32::MAX)).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.letter.as_slice()).collect::<Vec<_>>())
            .bind(
                rows.iter()
                    .map(|row| row.traceparent.as_ref().map(|trace| trace.replace('\0', "\u{fffd}")))
                    .collect::<Vec<_>>(),
            );
        self.fetch(bury).await?.iter().map(|row| row.get("id").map(JobId)).collect()
    }

    /// Whether nobody else expires dead letters while this transaction is open.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn expires_alone(&mut self) -> Result<bool, StoreError> {
        let lock = statement("select pg_try_advisory_xact_lock(hashtext('tripsage.dead_jobs.expire')) as alone");
        let rows = self.fetch(lock).await?;
        rows.first().map_or(Ok(false), |row| row.get("alone"))
    }

    /// Marks dead jobs as put back to work.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn mark_redriven(&mut self, ids: &[JobId]) -> Result<(), StoreError> {
        let mark = statement(REDRIVEN).bind(ids.iter().map(|id| id.0).collect::<Vec<_>>());
        self.execute(mark).await.map(drop)
    }

    /// Removes the mirror of jobs that are done after all.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn unbury(&mut self, ids: &[JobId]) -> Result<(), StoreError> {
        let unbury =
            statement("delete from dead_jobs where id = any($1)").bind(ids.iter().map(|id| id.0).collect::<Vec<_>>());
        self.execute(unbury).await.map(drop)
    }
}

impl Store {
    /// Dead jobs, the latest first, at most `limit`.
    ///
    /// # Errors
    /// What Postgres refused, or that it could not be asked.
    pub async fn dead_jobs(&self, filter: &DeadFilter, limit: u32) -> Result<Vec<DeadJob>, StoreError> {
        let select = built(format!("{SELECTED} order by died_at desc, id limit $8"));
        self.fetch(filtered(select, filter).bind(i64::from(limit))).await?.iter().map(dead_job).collect()
    }

    /// One page of them in the order of their ids, after `after`.
    ///
    /// # Errors
    /// What Postgres refused, or that it could not be asked.
    pub async fn dead_page(
        &self,
        filter: &DeadFilter,
        after: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<DeadJob>, StoreError> {
        let select = built(format!("{SELECTED} and ($9::uuid is null or id > $9) order by id limit $8"));
        let select = filtered(select, filter).bind(i64::from(limit)).bind(after.map(|id| id.0));
        self.fetch(select).await?.iter().map(dead_job).collect()
    }

    /// Marks dead jobs as put back to work.
    ///
    /// # Errors
    /// What Postgres refused, or that it could not be asked.
    pub async fn mark_redriven(&self, ids: &[JobId]) -> Result<u64, StoreError> {
        let mark = statement(REDRIVEN).bind(ids.iter().map(|id| id.0).collect::<Vec<_>>());
        self.execute(mark).await
    }

    /// Forgets all dead jobs of a queue that died before this time; gives how many.
    ///
    /// # Errors
    /// What Postgres refused, or that it could not be asked.
    pub async fn forget_dead_before(&self, queue: &str, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let forget = statement("delete from dead_jobs where redriven_at is null and queue = $1 and died_at < $2");
        self.execute(forget.bind(queue).bind(before)).await
    }

    /// Forgets dead jobs for good.
    ///
    /// # Errors
    /// What Postgres refused, or that it could not be asked.
    pub async fn forget_dead(&self, ids: &[JobId]) -> Result<u64, StoreError> {
        let forget =
            statement("delete from dead_jobs where id = any($1)").bind(ids.iter().map(|id| id.0).collect::<Vec<_>>());
        self.execute(forget).await
    }
}

fn filtered(select: Statement, filter: &DeadFilter) -> Statement {
    select
        .bind(filter.id.map(|id| id.0))
        .bind(filter.queue.clone())
        .bind(filter.kind.clone())
        .bind(filter.class.clone())
        .bind(filter.user_id.clone())
        .bind(filter.since)
        .bind(filter.until)
}

fn dead_job(row: &Row) -> Result<DeadJob, StoreError> {
    Ok(DeadJob {
        id: JobId(row.get("id")?),
        queue: row.get("queue")?,
        partition: row.get("partition")?,
        kind: row.get("kind")?,
        user_id: row.get("user_id")?,
        status: row.get("status")?,
        class: row.get("class")?,
        error: row.get("error")?,
        attempt: row.get("attempt")?,
        traceparent: row.get("traceparent")?,
        died_at: row.get("died_at")?,
        letter: row.get("letter")?,
    })
}
