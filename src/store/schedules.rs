//! Schedules: when jobs are due again and again, and how far each has come.
//!
//! Promise: whoever moves a schedule on holds its row, and does so in the transaction that accepts the slot's job.

use chrono::{DateTime, Utc};

use super::{
    connect::Store,
    error::StoreError,
    statement::{Row, Tx, statement},
};

/// A schedule to keep.
#[derive(Clone, Debug)]
pub struct NewSchedule {
    /// Its name.
    pub name: String,
    /// The kind of its jobs.
    pub kind: String,
    /// Their queue.
    pub queue: String,
    /// Their payload.
    pub payload: serde_json::Value,
    /// Whose jobs they are.
    pub user_id: Option<String>,
    /// 1 high, 2 normal, 3 low.
    pub priority: u8,
    /// When: a cron pattern.
    pub cron: String,
    /// The time zone it is read in.
    pub zone: String,
    /// What becomes of missed slots: `skip`, `once` or `all:N`.
    pub missed: String,
    /// Its first slot.
    pub next_at: DateTime<Utc>,
}

/// A schedule as it stands.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Schedule {
    /// Its name.
    pub name: String,
    /// The kind of its jobs.
    pub kind: String,
    /// Their queue.
    pub queue: String,
    /// Their payload.
    pub payload: serde_json::Value,
    /// Whose jobs they are.
    pub user_id: Option<String>,
    /// 1 high, 2 normal, 3 low.
    pub priority: i16,
    /// When: a cron pattern.
    pub cron: String,
    /// The time zone it is read in.
    pub zone: String,
    /// What becomes of missed slots.
    pub missed: String,
    /// It fires nothing now.
    pub paused: bool,
    /// Why a worker paused it.
    pub problem: Option<String>,
    /// The next slot.
    pub next_at: DateTime<Utc>,
    /// The last slot that fired.
    pub last_slot: Option<DateTime<Utc>>,
    /// Slots that fired.
    pub n_fired: i64,
    /// Slots that were missed and left out.
    pub n_skipped: i64,
}

const COLUMNS: &str = "name, kind, queue, payload, user_id, priority, cron, zone, missed, paused, problem, next_at, last_slot, n_fired, n_skipped";

const INSERT: &str = "\
insert into schedules (name, kind, queue, payload, user_id, priority, cron, zone, missed, next_at) \
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict (name) do ";

const REPLACE: &str = "update set kind = excluded.kind, queue = excluded.queue, payload = excluded.payload, user_id = excluded.user_id, \
priority = excluded.priority, cron = excluded.cron, zone = excluded.zone, missed = excluded.missed, next_at = excluded.next_at, problem = null";

impl Store {
    /// Postgres' clock.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        let rows = self.fetch(statement("select clock_timestamp() as now")).await?;
        rows.first().expect("a select without a table gives a row").get("now")
    }

    /// Keeps a schedule; one of the same name is replaced where that is wished. Gives whether it is kept.
    ///
    /// # Errors
    /// What Postgres refused, or that it could not be asked.
    pub async fn keep_schedule(&self, schedule: &NewSchedule, replace: bool) -> Result<bool, StoreError> {
        let insert = super::built(format!("{INSERT}{}", if replace { REPLACE } else { "nothing" }))
            .bind(schedule.name.as_str())
            .bind(schedule.kind.as_str())
            .bind(schedule.queue.as_str())
            .bind(schedule.payload.clone())
            .bind(schedule.user_id.as_deref())
            .bind(i16::from(schedule.priority))
            .bind(schedule.cron.as_str())
            .bind(schedule.zone.as_str())
            .bind(schedule.missed.as_str())
            .bind(schedule.next_at);
        Ok(self.execute(insert).await? == 1)
    }

    /// Every schedule, or the one of a name.
    ///
    /// # Errors
    /// When Postgres cannot be asked.
    pub async fn schedules(&self, name: Option<&str>) -> Result<Vec<Schedule>, StoreError> {
        let select =
            super::built(format!("select {COLUMNS} from schedules where $1::text is null or name = $1 order by name"));
        self.fetch(select.bind(name)).await?.iter().map(schedule).collect()
    }

    /// Lets a schedule rest. Gives whether there is one of this name.
    ///
    /// # Errors
    /// When Postgres cannot be asked.
    pub async fn pause_schedule(&self, name: &str) -> Result<bool, StoreError> {
        let pause = statement("update schedules set paused = true where name = $1").bind(name);
        Ok(self.execute(pause).await? == 1)
    }

    /// Lets a schedule fire again, from this slot on. Gives whether there is one of this name.
    ///
    /// # Errors
    /// When Postgres cannot be asked.
    pub async fn resume_schedule(&self, name: &str, next_at: DateTime<Utc>) -> Result<bool, StoreError> {
        let resume = statement(
            "update schedules set paused = false, problem = null, next_at = case when paused then $2 else next_at end where name = $1",
        );
        Ok(self.execute(resume.bind(name).bind(next_at)).await? == 1)
    }

    /// Forgets a schedule; jobs that it fired go on. Gives whether there was one of this name.
    ///
    /// # Errors
    /// When Postgres cannot be asked.
    pub async fn remove_schedule(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self.execute(statement("delete from schedules where name = $1").bind(name)).await? == 1)
    }
}

impl Tx {
    /// Schedules that are due by Postgres' clock, at most `limit`, locked; those that another has locked are passed
    /// over. Gives the time by that clock too.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn due_schedules(&mut self, limit: u32) -> Result<Vec<(Schedule, DateTime<Utc>)>, StoreError> {
        let select = super::built(format!(
            "select {COLUMNS}, clock_timestamp() as now from schedules where not paused and next_at <= now() \
             order by next_at limit $1 for update skip locked"
        ));
        let rows = self.fetch(select.bind(i64::from(limit))).await?;
        rows.iter().map(|row| Ok((schedule(row)?, row.get("now")?))).collect()
    }

    /// Moves a schedule on: its next slot, the last that fired, and how many slots fired and were left out.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn advance_schedule(
        &mut self,
        name: &str,
        next_at: DateTime<Utc>,
        last_slot: Option<DateTime<Utc>>,
        (n_fired, n_skipped): (usize, usize),
    ) -> Result<(), StoreError> {
        let advance = statement(
            "update schedules set next_at = $2, last_slot = coalesce($3, last_slot), n_fired = n_fired + $4, n_skipped = n_skipped + $5 \
             where name = $1",
        );
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let advance = advance.bind(name).bind(next_at).bind(last_slot).bind(count(n_fired)).bind(count(n_skipped));
        self.execute(advance).await.map(drop)
    }

    /// Pauses a schedule that cannot go on, and says why.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn stop_schedule(&mut self, name: &str, problem: &str) -> Result<(), StoreError> {
        let stop = statement("update schedules set paused = true, problem = $2 where name = $1");
        self.execute(stop.bind(name).bind(problem)).await.map(drop)
    }
}

fn schedule(row: &Row) -> Result<Schedule, StoreError> {
    Ok(Schedule {
        name: row.get("name")?,
        kind: row.get("kind")?,
        queue: row.get("queue")?,
        payload: row.get("payload")?,
        user_id: row.get("user_id")?,
        priority: row.get("priority")?,
        cron: row.get("cron")?,
        zone: row.get("zone")?,
        missed: row.get("missed")?,
        paused: row.get("paused")?,
        problem: row.get("problem")?,
        next_at: row.get("next_at")?,
        last_slot: row.get("last_slot")?,
        n_fired: row.get("n_fired")?,
        n_skipped: row.get("n_skipped")?,
    })
}
