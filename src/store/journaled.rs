//! One job in the journal, for whoever looks for it.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{connect::Store, error::StoreError, statement::statement};
use crate::job::{JobId, Priority};

/// A job that is accepted and not settled, as the journal has it.
#[derive(Clone, Debug)]
pub struct Journaled {
    /// Its queue, as it is written.
    pub queue: String,
    /// Which stream it enters.
    pub priority: Priority,
    /// Since when, milliseconds since 1970 by Postgres' clock.
    pub accepted_ms: u64,
    /// The job as it enters its stream.
    pub envelope: Bytes,
}

impl Store {
    /// The journal's row of a job; none when it is settled or was never journaled.
    ///
    /// # Errors
    /// When Postgres cannot be asked.
    pub async fn journaled(&self, id: JobId) -> Result<Option<Journaled>, StoreError> {
        let select = statement("select queue, priority, accepted_at, envelope from job_journal where id = $1");
        let rows = self.fetch(select.bind(id.0)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let accepted_at = row.get::<DateTime<Utc>>("accepted_at")?;
        Ok(Some(Journaled {
            queue: row.get("queue")?,
            priority: Priority::from_lane(u8::try_from(row.get::<i16>("priority")?).unwrap_or_default()),
            accepted_ms: u64::try_from(accepted_at.timestamp_millis()).unwrap_or_default(),
            envelope: Bytes::from(row.get::<Vec<u8>>("envelope")?),
        }))
    }
}
