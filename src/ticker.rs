//! Fires schedules: accepts the job of each slot that is due.
//!
//! Promise: once a slot, however many workers run and whatever crashes: the job is accepted into the journal by the same
//! transaction that moves the schedule on, under an id that follows from name and slot. Never fires by a worker's own
//! clock: Postgres says what time it is. A schedule that cannot be read is paused and says why.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    cycles::Cycle,
    envelope::{Envelope, Options, encode_payload},
    job::{Kind, Priority, QueueName},
    schedule::{Due, Missed, Timetable, due, job_id},
    shutdown::Shutdown,
    store::{JournalRow, Schedule, Store, StoreError, Tx},
    telemetry::metrics,
};

/// How late a slot can be met.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// Schedules of one transaction.
const BATCH: u32 = 50;

/// Fires every schedule that is due; every worker does.
pub(crate) struct Ticker {
    pub(crate) store: Store,
    pub(crate) cycle: Cycle,
}

impl Ticker {
    /// Ends when told to stop.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_stopped(ticks.tick()).await.is_some() {
            if let Err(error) = self.fire().await {
                metrics::role_failed("ticker");
                self.cycle.failed();
                tracing::warn!(%error, "could not fire schedules; trying again");
            }
            self.cycle.completed();
        }
    }

    async fn fire(&self) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        let schedules = tx.due_schedules(BATCH).await?;
        if schedules.is_empty() {
            return Ok(());
        }
        let (mut n_fired, mut n_skipped) = (0, 0);
        for (schedule, now) in &schedules {
            let (fired, skipped) = advance(&mut tx, schedule, *now).await?;
            n_fired += fired;
            n_skipped += skipped;
        }
        tx.wake_relays().await?;
        tx.commit().await?;
        metrics::schedule_slots(n_fired, n_skipped);
        Ok(())
    }
}

/// Accepts what is due of a schedule and moves it on; gives how many slots fired and how many were left out.
async fn advance(tx: &mut Tx, schedule: &Schedule, now: DateTime<Utc>) -> Result<(usize, usize), StoreError> {
    let (rows, due) = match jobs(schedule, now) {
        Ok(jobs) => jobs,
        Err(problem) => {
            tracing::error!(schedule = schedule.name, problem, "this schedule cannot go on; it is paused");
            tx.stop_schedule(&schedule.name, &problem).await?;
            return Ok((0, 0));
        }
    };
    if due.n_skipped > 0 {
        tracing::warn!(
            schedule = schedule.name,
            n_slots = due.n_skipped,
            policy = schedule.missed,
            "slots were missed and are left out"
        );
    }
    tx.journal(&rows).await?;
    let counts = (rows.len(), due.n_skipped);
    tx.advance_schedule(&schedule.name, due.next_at, due.slots.last().copied(), counts).await?;
    Ok(counts)
}

/// The jobs of the slots that are due.
fn jobs(schedule: &Schedule, now: DateTime<Utc>) -> Result<(Vec<JournalRow>, Due), String> {
    let timetable = Timetable::new(&schedule.cron, &schedule.zone).map_err(|error| error.to_string())?;
    let missed: Missed = schedule.missed.parse()?;
    let kind: Kind = schedule.kind.parse().map_err(|error| format!("its kind: {error}"))?;
    let queue: QueueName = schedule.queue.parse().map_err(|error| format!("its queue: {error}"))?;
    let payload = encode_payload(&schedule.payload).map_err(|error| format!("its payload: {error}"))?;
    let priority = Priority::from_lane(u8::try_from(schedule.priority).unwrap_or_default());
    let due = due(&timetable, missed, schedule.next_at, now).map_err(|error| error.to_string())?;
    let options = Options { journaled: true, priority, user_id: schedule.user_id.clone(), ..Options::default() };
    let row = |slot: &DateTime<Utc>| {
        let id = job_id(&schedule.name, *slot);
        let (kind, options) = (kind.clone(), options.clone());
        let envelope = Envelope { id, kind: kind.clone(), payload: payload.clone(), options, unknown: Vec::new() };
        let envelope = envelope.write();
        JournalRow { id, queue: queue.clone(), kind, priority, delay: None, run_at_ms: None, envelope }
    };
    Ok((due.slots.iter().map(row).collect(), due))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn schedule(cron: &str, missed: &str) -> Schedule {
        let next_at = "2026-01-01T00:00:00Z".parse().unwrap();
        Schedule {
            name: "nightly".to_owned(),
            kind: "cache.warm".to_owned(),
            queue: "cache".to_owned(),
            payload: serde_json::json!({ "n": 1 }),
            user_id: None,
            priority: 3,
            cron: cron.to_owned(),
            zone: "UTC".to_owned(),
            missed: missed.to_owned(),
            paused: false,
            problem: None,
            next_at,
            last_slot: None,
            n_fired: 0,
            n_skipped: 0,
        }
    }

    #[test]
    fn two_who_fire_the_same_slot_make_the_same_job() {
        let now = "2026-01-01T02:00:10Z".parse().unwrap();
        let made = || jobs(&schedule("0 * * * *", "all:9"), now).unwrap().0;
        let envelopes = |rows: Vec<JournalRow>| rows.into_iter().map(|row| row.envelope).collect::<Vec<_>>();
        assert_eq!(made().len(), 3);
        assert_eq!(envelopes(made()), envelopes(made()));
        assert_eq!(made()[0].priority, Priority::Low);
    }

    #[test]
    fn what_cannot_be_read_says_what_is_wrong() {
        let now = "2026-01-01T02:00:10Z".parse().unwrap();
        assert!(jobs(&schedule("never", "once"), now).unwrap_err().contains("`never`"));
        assert!(jobs(&schedule("0 * * * *", "sometimes"), now).unwrap_err().contains("`sometimes`"));
    }
}
