//! Claims what dead workers left behind.

use std::{collections::BTreeMap, time::Duration};

use fred::types::Value;

use super::{
    MAX_PER_SCRIPT,
    connection::{BrokerError, text},
    partition::{Entry, Partition},
    reply,
    script::Script,
};
use crate::keys::{GROUP, RELEASED};

static RECLAIM: Script = Script::new("reclaim", include_str!("reclaim.lua"));

/// How many leases lie between two listings of a partition's consumers, whichever workers ask.
const LEASES_BETWEEN_LISTINGS: u32 = 10;

/// What one call claimed.
#[derive(Debug, Default)]
pub struct Reclaimed {
    /// The claimed entries.
    pub entries: Vec<Entry>,
    /// Whether the caller is to list the partition's idle consumers now and to name them in its next call.
    pub must_list: bool,
}

impl Partition {
    /// Claims up to `limit` entries of consumers whose last heartbeat is older than `lease`, and of those handed back.
    /// While the server's memory is full, and for a lease after, only the latter: heartbeats cannot be recorded then.
    ///
    /// Deletes consumers whose lease has expired and that hold nothing: those with a heartbeat in `live`, and the first
    /// [`MAX_PER_SCRIPT`] of `idle`, which [`Partition::idle_consumers`] found.
    ///
    /// # Errors
    /// When the server cannot be asked, or `NoGroup`.
    pub async fn reclaim(
        &self,
        consumer: &str,
        lease: Duration,
        limit: usize,
        idle: &[String],
    ) -> Result<Reclaimed, BrokerError> {
        let [high, normal, low] = self.lane_keys();
        let keys = [high, normal, low, &self.keys.live, &self.keys.crashes, &self.keys.control];
        let lease_ms = lease.as_millis().to_string();
        let limit = limit.clamp(1, MAX_PER_SCRIPT).to_string();
        let list_every_ms = lease.saturating_mul(LEASES_BETWEEN_LISTINGS).as_millis().to_string();
        let mut args = [GROUP, consumer, RELEASED, &lease_ms, &limit, &list_every_ms].map(text).to_vec();
        args.extend(idle.iter().take(MAX_PER_SCRIPT).map(text));
        let answer = RECLAIM.run(&self.commands, &keys, args).await?;
        let [claimed, list] = reply::array(&answer) else { return Err(BrokerError::odd("reclaim", &answer)) };
        let entries = reply::array(claimed).iter().filter_map(Entry::read).collect();
        Ok(Reclaimed { entries, must_list: reply::integer(list) == Some(1) })
    }

    /// The consumers that hold nothing and have not read for a lease, in all lanes, the longest idle last.
    ///
    /// A script may not ask this: XINFO inside one stops a Dragonfly shard for ever.
    ///
    /// # Errors
    /// When the server cannot be asked, or `NoGroup`.
    pub async fn idle_consumers(&self, lease: Duration) -> Result<Vec<String>, BrokerError> {
        let calls = self.lane_keys().map(|lane| ("XINFO", ["CONSUMERS", lane, GROUP].map(text).to_vec()));
        let mut idle: BTreeMap<String, u128> = BTreeMap::new();
        for answer in self.commands.call_together(calls.into()).await? {
            for (name, ms) in reply::array(&answer?).iter().filter_map(|consumer| idle_consumer(consumer, lease)) {
                let longest = idle.entry(name).or_default();
                *longest = ms.max(*longest);
            }
        }
        let mut names: Vec<(String, u128)> = idle.into_iter().collect();
        names.sort_by_key(|(_, ms)| *ms);
        Ok(names.into_iter().map(|(name, _)| name).collect())
    }
}

/// A consumer's name and for how many milliseconds it has not read, where it holds nothing and its lease has expired.
fn idle_consumer(consumer: &Value, lease: Duration) -> Option<(String, u128)> {
    let fields = reply::pairs(consumer);
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    let (name, pending, idle_ms) = (field("name")?, field("pending")?, field("idle")?.parse().ok()?);
    (pending == "0" && name != RELEASED && idle_ms > lease.as_millis()).then(|| (name.to_owned(), idle_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(name: &str, pending: i64, idle: i64) -> Value {
        let fields = [
            ("name", Value::from(name)),
            ("pending", Value::Integer(pending)),
            ("idle", Value::Integer(idle)),
            ("inactive", Value::Integer(-1)),
        ];
        Value::Array(fields.into_iter().flat_map(|(field, value)| [Value::from(field), value]).collect())
    }

    #[test]
    fn a_consumer_is_idle_that_holds_nothing_and_has_not_read_for_a_lease() {
        let idle = |name, pending, idle_ms| idle_consumer(&consumer(name, pending, idle_ms), Duration::from_secs(5));
        assert_eq!(idle("a", 0, 5_001), Some(("a".to_owned(), 5_001)));
        assert_eq!(idle("a", 0, 5_000), None);
        assert_eq!(idle("a", 1, 5_001), None);
        assert_eq!(idle(RELEASED, 0, 5_001), None);
        assert_eq!(idle_consumer(&Value::Null, Duration::ZERO), None);
    }
}
