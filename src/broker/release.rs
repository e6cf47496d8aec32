//! Hands deliveries back so that anyone may claim them at once.

use super::{
    MAX_PER_SCRIPT,
    connection::{BrokerError, text},
    partition::{EntryId, Partition},
    reply,
    script::Script,
};
use crate::{
    job::Priority,
    keys::{GROUP, RELEASED},
};

static RELEASE: Script = Script::new("release", include_str!("release.lua"));

/// A delivery as the server knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    /// Which of the three streams it is in.
    pub priority: Priority,
    /// Which entry.
    pub entry: EntryId,
}

impl Partition {
    /// Hands back those of `held` that `consumer` still owns; gives how many.
    ///
    /// # Errors
    /// When the server cannot be asked; some may have been handed back.
    pub async fn release(&self, consumer: &str, held: &[Held]) -> Result<usize, BrokerError> {
        let mut n_released = 0;
        for some in held.chunks(MAX_PER_SCRIPT) {
            let mut args = [GROUP, consumer, RELEASED].map(text).to_vec();
            for delivery in some {
                args.extend([
                    text(delivery.priority.lane().to_string()),
                    super::connection::bytes(delivery.entry.0.clone()),
                ]);
            }
            let released = RELEASE.run(&self.commands, &self.lane_keys(), args).await?;
            n_released += reply::integer(&released).and_then(|n| usize::try_from(n).ok()).unwrap_or_default();
        }
        Ok(n_released)
    }
}
