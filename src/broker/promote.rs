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
        let (first, asked) = self.promote_with(&[]).await?;
        if asked.is_empty() {
            return Ok(first);
        }
        // Only the jobs' envelopes say which dedup keys they have, and a script touches no key that was not named.
        let (second, _) = self.promote_with(&asked).await?;
        Ok(Promoted { n_moved: first.n_moved + second.n_moved, ..second })
    }

    async fn promote_with(&self, dedup_keys: &[String]) -> Result<(Promoted, Vec<String>), BrokerError> {
        let [high, normal, low] = self.lane_keys();
        let mut keys = vec![high, normal, low, &self.keys.later, &self.keys.later_jobs];
        keys.extend(dedup_keys.iter().map(String::as_str));
        let args = vec![text(JOB_FIELD), text(MAX_PER_SCRIPT.to_string()), text(self.keys.dedup_prefix())];
        let promoted = PROMOTE.run(&self.commands, &keys, args).await?;
        let parts = reply::array(&promoted);
        let number = |index: usize| parts.get(index).and_then(reply::integer);
        let (n_moved, next_ms) = number(0).zip(number(1)).ok_or_else(|| BrokerError::odd("promote", &promoted))?;
        let n_moved = usize::try_from(n_moved).unwrap_or_default();
        let next_due = u64::try_from(next_ms).ok().map(Duration::from_millis);
        let mut asked: Vec<String> = parts[2..].iter().filter_map(reply::text).collect();
        asked.dedup();
        Ok((Promoted { n_moved, next_due }, asked))
    }
}
