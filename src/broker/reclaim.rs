//! Claims what dead workers left behind.

use std::time::Duration;

use super::{
    MAX_PER_SCRIPT,
    connection::{BrokerError, text},
    partition::{Entry, Partition},
    reply,
    script::Script,
};
use crate::keys::{GROUP, RELEASED};

static RECLAIM: Script = Script::new("reclaim", include_str!("reclaim.lua"));

/// What was claimed.
pub type Reclaimed = Vec<Entry>;

impl Partition {
    /// Claims up to `limit` entries of consumers whose last beat is older than `lease`, and of those handed back.
    /// While the server's memory is full, and for a lease after, only the latter: hearts cannot be recorded then.
    ///
    /// # Errors
    /// When the server cannot be asked, or `NoGroup`.
    pub async fn reclaim(&self, consumer: &str, lease: Duration, limit: usize) -> Result<Reclaimed, BrokerError> {
        let [high, normal, low] = self.lane_keys();
        let keys = [high, normal, low, &self.keys.live, &self.keys.crashes, &self.keys.control];
        let lease_ms = lease.as_millis().to_string();
        let limit = limit.clamp(1, MAX_PER_SCRIPT).to_string();
        let args = [GROUP, consumer, RELEASED, &lease_ms, &limit].map(text).to_vec();
        let claimed = RECLAIM.run(&self.commands, &keys, args).await?;
        Ok(reply::array(&claimed).iter().filter_map(Entry::read).collect())
    }
}
