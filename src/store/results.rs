//! The committed results of jobs: at most one a job, the first writer wins.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    connect::Store,
    error::StoreError,
    statement::{Kept, Statement, Tx, statement},
};
use crate::{completion::Timings, job::JobId, outcome::Status};

/// Results to commit, all of one queue and one worker.
#[derive(Clone, Copy, Debug)]
pub struct Results<'a> {
    /// Whose results.
    pub queue: &'a str,
    /// Who ran them.
    pub worker: &'a str,
    /// One a job.
    pub rows: &'a [ResultRow<'a>],
}

/// A result to commit.
#[derive(Clone, Debug)]
pub struct ResultRow<'a> {
    /// Whose result.
    pub id: JobId,
    /// Its kind.
    pub kind: &'a str,
    /// Whose job.
    pub user_id: Option<&'a str>,
    /// The attempt that produced it.
    pub attempt: u32,
    /// The result; null when rows of its own have yet to be written.
    pub result: &'a serde_json::Value,
    /// When things happened.
    pub timings: Timings,
    /// Its job is journaled, until it has a result.
    pub is_journaled: bool,
}

/// A result that is committed already.
#[derive(Clone, Debug)]
pub struct StoredResult {
    /// Done or cancelled.
    pub status: Status,
    /// The attempt that produced it.
    pub attempt: u32,
    /// The result.
    pub result: serde_json::Value,
    /// Who ran it.
    pub worker: String,
    /// When things happened.
    pub timings: Timings,
}

/// Before the values: what goes with them; a job that is done after all is not dead any more, whoever gave it up meanwhile.
/// After them: what becomes of those that are there already.
macro_rules! insert {
    ($with:literal, $conflict:literal) => {
        concat!(
            "with done_after_all as (delete from dead_jobs where id = any($3::uuid[]))",
            $with,
            " insert into job_results (id, queue, kind, user_id, attempt, result, worker, queued_at, started_at, finished_at) \
select id, $1, kind, user_id, attempt, result, $2, queued_at, started_at, finished_at \
from unnest($3::uuid[], $4::text[], $5::text[], $6::int[], $7::jsonb[], $8::timestamptz[], $9::timestamptz[], $10::timestamptz[]) \
as new (id, kind, user_id, attempt, result, queued_at, started_at, finished_at)",
            $conflict
        )
    };
}

const INSERT: &str = insert!("", "");

/// The same; jobs that are journaled leave the journal.
const INSERT_JOURNALED: &str = insert!(", unjournaled as (delete from job_journal where id = any($11::uuid[]))", "");

/// The same; those that are there already stay, and the others are named.
const INSERT_MISSING: &str = insert!("", " on conflict (id) do nothing returning id");

const KEY: &str = "job_results_pkey";

impl Results<'_> {
    fn insert(&self, sql: &'static str) -> Statement {
        let Self { rows, .. } = self;
        let times = |pick: fn(&Timings) -> u64| rows.iter().map(|row| time(pick(&row.timings))).collect::<Vec<_>>();
        statement(sql)
            .bind(self.queue)
            .bind(self.worker)
            .bind(rows.iter().map(|row| row.id.0).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.kind).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.user_id).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| i32::try_from(row.attempt).unwrap_or(i32::MAX)).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.result).collect::<Vec<_>>())
            .bind(times(|timings| timings.queued_ms))
            .bind(times(|timings| timings.started_ms))
            .bind(times(|timings| timings.finished_ms))
    }

    fn journaled(&self) -> Vec<Uuid> {
        self.rows.iter().filter(|row| row.is_journaled).map(|row| row.id.0).collect()
    }
}

impl Tx {
    /// Inserts results; gives the ids of those that had none before. The others keep what they have.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn insert_results(&mut self, results: Results<'_>) -> Result<HashSet<JobId>, StoreError> {
        let inserted = self.fetch(results.insert(INSERT_MISSING)).await?;
        inserted.iter().map(|row| row.get("id").map(JobId)).collect()
    }

    /// Completes results that were inserted without one in this transaction.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn complete_results(&mut self, results: &[(JobId, serde_json::Value)]) -> Result<(), StoreError> {
        let complete = statement("update job_results as r set result = n.result from unnest($1::uuid[], $2::jsonb[]) as n (id, result) where r.id = n.id")
            .bind(results.iter().map(|(id, _)| id.0).collect::<Vec<_>>())
            .bind(results.iter().map(|(_, result)| result).collect::<Vec<_>>());
        self.execute(complete).await.map(drop)
    }
}

impl Kept {
    /// Inserts results that nobody is expected to have, and deletes the journal's rows of those that are journaled, in one
    /// statement that is its own transaction; gives whether they
    /// are committed. They are not, none of them, when one of the jobs has a result already: that is found out by
    /// [`Tx::insert_results`], which pays for asking.
    ///
    /// # Errors
    /// What Postgres refused besides.
    pub async fn insert_new_results(&mut self, results: Results<'_>) -> Result<bool, StoreError> {
        let insert = match results.journaled() {
            none if none.is_empty() => results.insert(INSERT),
            journaled => results.insert(INSERT_JOURNALED).bind(journaled).planned_anew(),
        };
        match self.execute(insert).await {
            Ok(_) => Ok(true),
            Err(error) if error.violates(KEY) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Store {
    /// The results among `ids` that are committed.
    ///
    /// # Errors
    /// What Postgres refused, or that it could not be asked.
    pub async fn results(&self, ids: &[JobId]) -> Result<HashMap<JobId, StoredResult>, StoreError> {
        let select = statement("select id, status, attempt, result, worker, queued_at, started_at, finished_at from job_results where id = any($1)")
            .bind(ids.iter().map(|id| id.0).collect::<Vec<_>>())
            .planned_anew();
        let mut results = HashMap::new();
        for row in self.fetch(select).await? {
            let attempt = row.get::<i32>("attempt")?;
            let timings = Timings {
                queued_ms: ms(row.get("queued_at")?),
                started_ms: ms(row.get("started_at")?),
                finished_ms: ms(row.get("finished_at")?),
            };
            let result = row.get::<Option<serde_json::Value>>("result")?.unwrap_or_default();
            let status = if row.get::<&str>("status")? == "cancelled" { Status::Cancelled } else { Status::Done };
            let stored = StoredResult {
                status,
                attempt: u32::try_from(attempt).unwrap_or_default(),
                result,
                worker: row.get("worker")?,
                timings,
            };
            results.insert(JobId(row.get::<Uuid>("id")?), stored);
        }
        Ok(results)
    }
}

pub(super) fn time(ms: u64) -> DateTime<Utc> {
    i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default()
}

fn ms(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp_millis()).unwrap_or_default()
}
