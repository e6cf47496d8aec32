//! Moves delayed jobs that are due into their streams.

use std::time::Duration;

use super::{
    MAX_PER_SCRIPT,
    connection::{BrokerError, text},
    partition::Partition,
    reply,
    script::Script,
};
use crate::keys::JOB_FIELD;

static PROMOTE: Script = Script::new("promote", include_str!("promote.lua"));

/// What one call of the script did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promoted {
    /// How many jobs became ready.
    pub n_moved: usize,
    /// How long until the next one is due.
    pub next_due: Option<Duration>,
}

impl Partition {
    /// Moves up to 128 due jobs.
    ///
    /// # Errors
    /// `OutOfMemory` when the server cannot take them: they stay where they are.
    pub async fn promote(&self) -> Result<Promoted, BrokerError> {
        let [high, normal, low] = self.lane_keys();
        let keys = [high, normal, low, &self.keys.later, &self.keys.later_jobs];
        let args = vec![text(JOB_FIELD), text(MAX_PER_SCRIPT.to_string())];
        let promoted = PROMOTE.run(&self.commands, &keys, args).await?;
        let number = |index: usize| reply::array(&promoted).get(index).and_then(reply::integer);
        let (n_moved, next_ms) = number(0).zip(number(1)).ok_or_else(|| BrokerError::odd("promote", &promoted))?;
        Ok(Promoted {
            n_moved: usize::try_from(n_moved).unwrap_or_default(),
            next_due: u64::try_from(next_ms).ok().map(Duration::from_millis),
        })
    }
}
