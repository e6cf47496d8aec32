//! Schedules: when a job is due again and again, by a cron pattern in a time zone. Pure: time is a parameter.
//!
//! Promise: the same schedule and slot always give the same job id. When the clocks change, a schedule at fixed times
//! (`30 2 * * *`) runs once: a time that is left out is made up for at the first moment after the gap, a time that comes
//! twice counts the first time. A schedule at intervals (`*/30 * * * *`: a `*` in minutes or hours) runs at every such
//! moment that there is: none in the gap, both in the doubled hour.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use serde::{Deserialize, Serialize};

use crate::job::JobId;

/// When: a cron pattern and the time zone it is read in.
#[derive(Clone, Debug)]
pub struct Timetable {
    cron: Cron,
    zone: Tz,
}

/// Why there is no such timetable. Display says what was expected.
#[derive(Debug, thiserror::Error)]
pub enum TimetableError {
    /// The pattern cannot be read.
    #[error(
        "the cron pattern `{pattern}`: {reason}; expected minute, hour, day of month, month and day of week (a field of seconds in front is allowed), such as `*/15 * * * *`, `30 2 * * MON-FRI` or `@daily`"
    )]
    Pattern {
        /// What was given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such time zone.
    #[error("the time zone `{0}` is not known; expected a name of the IANA database, such as `UTC` or `Europe/Berlin`")]
    Zone(String),
    /// It never fires.
    #[error("the cron pattern `{0}` never comes: no day is like that")]
    Never(String),
}

impl Timetable {
    /// Reads a pattern and a zone's name.
    ///
    /// # Errors
    /// Which of the two is wrong, and what was expected.
    pub fn new(pattern: &str, zone: &str) -> Result<Self, TimetableError> {
        let zone = Tz::from_str(zone).map_err(|_| TimetableError::Zone(shown(zone)))?;
        let bad = |error: croner::errors::CronError| TimetableError::Pattern {
            pattern: shown(pattern),
            reason: error.to_string().trim_end_matches('.').to_owned(),
        };
        let cron = Cron::from_str(pattern).map_err(bad)?;
        Ok(Self { cron, zone })
    }

    /// The first slot after a moment.
    ///
    /// # Errors
    /// When none ever comes.
    pub fn next_after(&self, moment: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError> {
        let next = self.cron.find_next_occurrence(&moment.with_timezone(&self.zone), false);
        let next = next.map_err(|_| TimetableError::Never(shown(self.cron.as_str())))?;
        Ok(next.with_timezone(&Utc))
    }

    /// The slots after a moment, at most so many.
    pub fn slots_after(&self, moment: DateTime<Utc>, limit: usize) -> impl Iterator<Item = DateTime<Utc>> {
        std::iter::successors(self.next_after(moment).ok(), |slot| self.next_after(*slot).ok()).take(limit)
    }

    /// A moment as the zone's clocks show it, with its distance from UTC.
    pub fn local(&self, moment: DateTime<Utc>) -> String {
        moment.with_timezone(&self.zone).to_rfc3339()
    }
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// What becomes of slots that passed while no worker ran, or while the schedule was overlooked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missed {
    /// They are left out; the next one to come runs.
    Skip,
    /// The last of them runs, once.
    #[default]
    Once,
    /// The last so many of them run, each with a job of its own.
    All(u32),
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skip => f.write_str("skip"),
            Self::Once => f.write_str("once"),
            Self::All(limit) => write!(f, "all:{limit}"),
        }
    }
}

impl FromStr for Missed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}`: expected skip, once or all:N with N from 1 to {MOST_MADE_UP}", shown(text));
        match text {
            "skip" => Ok(Self::Skip),
            "once" => Ok(Self::Once),
            _ => {
                let limit = text.strip_prefix("all:").and_then(|limit| limit.parse().ok()).ok_or_else(wrong)?;
                if (1..=MOST_MADE_UP).contains(&limit) { Ok(Self::All(limit)) } else { Err(wrong()) }
            }
        }
    }
}

/// The most missed slots that `all` makes up for.
pub const MOST_MADE_UP: u32 = 1_000;

/// So long after its time a slot still counts as on time: a worker looks every second, and an outage may last a little.
const ON_TIME: chrono::TimeDelta = chrono::TimeDelta::seconds(60);

/// Slots that are looked at in one step; whoever is further behind goes on from there in the next.
const LOOKED_AT: usize = 10_000;

/// What a schedule has to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The slots that run now, the earliest first.
    pub slots: Vec<DateTime<Utc>>,
    /// How many slots passed and are left out.
    pub n_skipped: usize,
    /// The next slot.
    pub next_at: DateTime<Utc>,
}

/// What is due of a schedule whose next slot was `next_at`.
///
/// # Errors
/// When no slot comes any more.
pub fn due(
    timetable: &Timetable,
    missed: Missed,
    next_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Due, TimetableError> {
    if next_at > now {
        return Ok(Due { slots: Vec::new(), n_skipped: 0, next_at });
    }
    let mut passed = vec![next_at];
    passed.extend(timetable.slots_after(next_at, LOOKED_AT - 1).take_while(|slot| *slot <= now));
    let n_passed = passed.len();
    let next_at = timetable.next_after(passed[n_passed - 1])?;
    if next_at <= now {
        return Ok(Due { slots: Vec::new(), n_skipped: n_passed, next_at });
    }
    let n_kept = match missed {
        Missed::Skip => passed.iter().filter(|slot| now - **slot <= ON_TIME).count().min(1),
        Missed::Once => 1,
        Missed::All(limit) => limit as usize,
    };
    let slots = passed.split_off(n_passed.saturating_sub(n_kept));
    Ok(Due { n_skipped: n_passed - slots.len(), slots, next_at })
}

/// The id of the job of a schedule's slot: whoever inserts it, and however often, it is one job.
pub fn job_id(schedule: &str, slot: DateTime<Utc>) -> JobId {
    let slot_ms = u64::try_from(slot.timestamp_millis()).unwrap_or_default();
    JobId::derived(slot_ms, format!("schedule/{schedule}/{slot_ms}").as_bytes())
}

#[cfg(test)]
mod tests;
