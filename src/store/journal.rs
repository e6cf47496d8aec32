//! The journal: one row per job that was accepted by a committed transaction and is not settled yet.
//!
//! Promise: a row goes only in a transaction that commits the job's result or dead letter, or when one of these is
//! there already. Never decodes a job.

use std::time::Duration;

use bytes::Bytes;

use super::{
    connect::Store,
    error::StoreError,
    statement::{Row, Statement, Tx, statement},
};
use crate::job::{JobId, Kind, Priority, QueueName};

/// The channel on which Postgres tells that something was journaled that Dragonfly does not hold yet.
pub const JOURNAL_CHANNEL: &str = "tripsage_journal";

/// A job to journal.
#[derive(Clone, Debug)]
pub struct JournalRow {
    /// Which job.
    pub id: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// Its kind.
    pub kind: Kind,
    /// Which stream it enters.
    pub priority: Priority,
    /// Not before this long from now.
    pub delay: Option<Duration>,
    /// Not before this time, milliseconds since 1970; `delay` goes first.
    pub run_at_ms: Option<u64>,
    /// The job as it enters its stream.
    pub envelope: Bytes,
}

/// A journaled job that Dragonfly's present memory does not hold.
#[derive(Clone, Debug)]
pub struct Unrelayed {
    /// Which job.
    pub id: JobId,
    /// Its queue, as it is written.
    pub queue: String,
    /// Which stream it enters.
    pub priority: Priority,
    /// How long it has to wait still, if at all.
    pub wait: Option<Duration>,
    /// It has a result or a dead letter: there is nothing to bring.
    pub settled: bool,
    /// Dragonfly had it before: it is brought back.
    pub again: bool,
    /// Nobody was told that it is accepted: its submitter died. It takes no other job's place.
    pub unanswered: bool,
    /// The job as it enters its stream.
    pub envelope: Bytes,
}

/// How far the journal is ahead of Dragonfly.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backlog {
    /// Jobs that are to be brought to Dragonfly; counted up to [`COUNTED`].
    pub n_jobs: u64,
    /// How long the oldest of them has waited.
    pub oldest: Duration,
}

/// The most jobs of a backlog that are counted.
pub const COUNTED: i64 = 100_000;

const INSERT: &str = "\
insert into job_journal (id, queue, kind, envelope, priority, due_at) \
select n.id, n.queue, n.kind, n.envelope, n.priority, \
coalesce(clock_timestamp() + n.delay_ms * interval '1 millisecond', to_timestamp(n.run_at_ms / 1000.0)) \
from unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::int2[], $6::bigint[], $7::bigint[]) \
as n (id, queue, kind, envelope, priority, delay_ms, run_at_ms) \
on conflict (id) do update set envelope = excluded.envelope, due_at = excluded.due_at, generation = 0, accepted_at = now()";

const GIVE_WAY: &str = "\
with gone as (delete from job_journal j using unnest($1::uuid[], $2::uuid[]) as n (id, owner) where j.id = n.id \
returning j.id, j.queue, j.kind, j.accepted_at, n.owner) \
insert into job_results (id, queue, kind, attempt, result, worker, queued_at, started_at, finished_at, status) \
select id, queue, kind, 0, jsonb_build_object('duplicate_of', owner), '', accepted_at, now(), now(), 'cancelled' from gone \
on conflict (id) do nothing";

/// What came of a job whose row was committed later than its settlement, or written by hand.
const SETTLED: &str = "\
(exists (select from job_results r where r.id = j.id) \
or exists (select from dead_jobs d where d.id = j.id and d.redriven_at is null and d.died_at >= j.accepted_at))";

impl Tx {
    /// Journals jobs that the relay is to bring; one that is journaled already is brought anew.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn journal(&mut self, rows: &[JournalRow]) -> Result<(), StoreError> {
        self.execute(bind_rows(statement(INSERT), rows)).await.map(drop)
    }

    /// The relay is to bring these jobs, whoever holds them.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn leave_to_relay(&mut self, ids: &[JobId]) -> Result<(), StoreError> {
        let leave = by_id("update job_journal set generation = 0 where id = any($1)", ids);
        self.execute(leave).await.map(drop)
    }

    /// Forgets jobs that are settled, or were not accepted after all.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn unjournal(&mut self, ids: &[JobId]) -> Result<u64, StoreError> {
        self.execute(by_id("delete from job_journal where id = any($1)", ids)).await
    }

    /// Settles journaled jobs for which another one stands by its dedup key: each is cancelled, and its result names the other.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn give_way(&mut self, jobs: &[(JobId, JobId)]) -> Result<(), StoreError> {
        let (ids, owners): (Vec<_>, Vec<_>) = jobs.iter().map(|(id, owner)| (id.0, owner.0)).unzip();
        self.execute(statement(GIVE_WAY).bind(ids).bind(owners)).await.map(drop)
    }

    /// Jobs that `generation` of Dragonfly's memory does not hold, at most `limit`, locked; those that another
    /// relay has locked are passed over, and so are the queues `without`.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn unrelayed(
        &mut self,
        generation: i64,
        without: &[String],
        limit: u32,
    ) -> Result<Vec<Unrelayed>, StoreError> {
        let select = super::built(format!(
            "select id, queue, priority, envelope, generation > 0 as again, generation < 0 as unanswered, \
             ceil(extract(epoch from due_at - clock_timestamp()) * 1000)::bigint as wait_ms, {SETTLED} as settled \
             from job_journal j where generation < $1 and queue <> all($2) order by generation, id limit $3 for update of j skip locked"
        ));
        let rows = self.fetch(select.bind(generation).bind(without.to_vec()).bind(i64::from(limit))).await?;
        rows.iter().map(unrelayed).collect()
    }

    /// `generation` of Dragonfly's memory holds these jobs now.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn relayed(&mut self, ids: &[JobId], generation: i64) -> Result<(), StoreError> {
        let mark = by_id("update job_journal set generation = $2 where id = any($1)", ids);
        self.execute(mark.bind(generation)).await.map(drop)
    }

    /// Tells every relay, once this transaction is committed, that there is something to bring.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn wake_relays(&mut self) -> Result<(), StoreError> {
        self.execute(statement("select pg_notify($1, '')").bind(JOURNAL_CHANNEL)).await.map(drop)
    }

    /// How many jobs are journaled.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn count_journal(&mut self) -> Result<i64, StoreError> {
        let rows = self.fetch(statement("select count(*) as n from job_journal")).await?;
        rows.first().map_or(Ok(0), |row| row.get("n"))
    }
}

impl Store {
    /// Looks at one page of the journal after `after` for jobs that are settled, and forgets these. Gives how many,
    /// and where the page ended; none when the journal ended there.
    ///
    /// # Errors
    /// What Postgres refused, or that it could not be asked.
    pub async fn sweep_journal(&self, after: JobId, limit: u32) -> Result<(u64, Option<JobId>), StoreError> {
        let sweep = super::built(format!(
            "with page as (select id from job_journal where id > $1 order by id limit $2), \
             gone as (delete from job_journal j using page where j.id = page.id and {SETTLED} returning j.id) \
             select (select id from page order by id offset $2 - 1) as last, (select count(*) from gone) as n"
        ));
        let rows = self.fetch(sweep.bind(after.0).bind(i64::from(limit))).await?;
        let Some(row) = rows.first() else { return Ok((0, None)) };
        let n_swept = u64::try_from(row.get::<i64>("n")?).unwrap_or_default();
        Ok((n_swept, row.get::<Option<uuid::Uuid>>("last")?.map(JobId)))
    }

    /// What is journaled and was not brought to Dragonfly's present memory yet.
    ///
    /// # Errors
    /// When Postgres cannot be asked.
    pub async fn journal_backlog(&self) -> Result<Backlog, StoreError> {
        let select = statement(
            "select count(*) as n, coalesce(extract(epoch from clock_timestamp() - min(accepted_at)), 0)::float8 as oldest \
             from (select accepted_at from job_journal where generation < (select generation from broker_generation) limit $1) as waiting",
        );
        let rows = self.fetch(select.bind(COUNTED)).await?;
        let Some(row) = rows.first() else { return Ok(Backlog::default()) };
        Ok(Backlog {
            n_jobs: u64::try_from(row.get::<i64>("n")?).unwrap_or_default(),
            oldest: Duration::try_from_secs_f64(row.get("oldest")?).unwrap_or_default(),
        })
    }
}

/// Binds a column each, as `$1` to `$7`.
pub(super) fn bind_rows(statement: Statement, rows: &[JournalRow]) -> Statement {
    let ms = |ms: u128| i64::try_from(ms).unwrap_or(i64::MAX);
    statement
        .bind(rows.iter().map(|row| row.id.0).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.queue.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.kind.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| &row.envelope[..]).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| i16::from(row.priority.lane())).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.delay.map(|delay| ms(delay.as_millis()))).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.run_at_ms.map(|at| ms(u128::from(at)))).collect::<Vec<_>>())
}

/// A statement whose first parameter is jobs of the journal, which is empty at one moment and large at the next.
fn by_id(sql: &'static str, ids: &[JobId]) -> Statement {
    statement(sql).bind(ids.iter().map(|id| id.0).collect::<Vec<_>>()).planned_anew()
}

fn unrelayed(row: &Row) -> Result<Unrelayed, StoreError> {
    let wait_ms = row.get::<Option<i64>>("wait_ms")?.and_then(|ms| u64::try_from(ms).ok()).filter(|&ms| ms > 0);
    Ok(Unrelayed {
        id: JobId(row.get("id")?),
        queue: row.get("queue")?,
        priority: Priority::from_lane(u8::try_from(row.get::<i16>("priority")?).unwrap_or_default()),
        wait: wait_ms.map(Duration::from_millis),
        settled: row.get("settled")?,
        again: row.get("again")?,
        unanswered: row.get("unanswered")?,
        envelope: Bytes::from(row.get::<Vec<u8>>("envelope")?),
    })
}
