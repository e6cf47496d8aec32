//! What the enqueue script needs to know of a partition and cannot measure itself: bytes, and how fast jobs leave.

use std::collections::HashMap;

use fred::types::Value;
use tokio::time::Instant;

use super::{
    connection::{BrokerError, BrokerErrorKind, Connection, text},
    reply,
};
use crate::{completion::Format, keys::PartitionKeys};

/// What was seen of each partition the last time, by the name of its control hash.
#[derive(Default)]
pub struct Budgets {
    seen: HashMap<String, Seen>,
}

/// When which completion was the last.
#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    seq: i64,
    rate: Option<i64>,
}

impl Budgets {
    /// Measures a partition that has a budget, and tells its control hash; one without costs a single question.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn measure(
        &mut self,
        connection: &Connection,
        keys: &PartitionKeys,
        format: Format,
    ) -> Result<(), BrokerError> {
        let fields = ["max_depth", "max_bytes", "seq", "format"];
        let mut args = vec![text(&*keys.control)];
        args.extend(fields.map(text));
        let known = connection.call("HMGET", args).await?;
        let known = reply::array(&known);
        let number = |index: usize| known.get(index).and_then(reply::integer);
        let mut told = Vec::new();
        if known.get(3).and_then(reply::text).as_deref() != Some(format.letter()) {
            told.extend([text("format"), text(format.letter())]);
        }
        if number(0).or(number(1)).is_some() {
            if let Some(rate) = self.rate(keys, number(2).unwrap_or_default()) {
                told.extend([text("rate"), text(rate.to_string())]);
            }
            if number(1).is_some() {
                told.extend([text("bytes"), text(bytes(connection, keys).await?.to_string())]);
            }
        }
        tell(connection, keys, told).await
    }

    /// Thousandths of a job per second that left since the last time, halfway from what it was before.
    fn rate(&mut self, keys: &PartitionKeys, seq: i64) -> Option<i64> {
        let now = Instant::now();
        let before = self.seen.get(&keys.control).copied();
        let rate = before.and_then(|before| thousandths(before, now, seq));
        self.seen.insert(keys.control.clone(), Seen { at: now, seq, rate });
        rate
    }
}

fn thousandths(before: Seen, now: Instant, seq: i64) -> Option<i64> {
    let ms = i64::try_from(now.duration_since(before.at).as_millis()).ok().filter(|&ms| ms > 0)?;
    let rate = (seq - before.seq).max(0) * 1_000_000 / ms;
    Some(before.rate.map_or(rate, |old| i64::midpoint(old, rate)))
}

async fn tell(connection: &Connection, keys: &PartitionKeys, told: Vec<Value>) -> Result<(), BrokerError> {
    if told.is_empty() {
        return Ok(());
    }
    let mut args = vec![text(&*keys.control)];
    args.extend(told);
    match connection.call("HSET", args).await {
        // Producers are refused anyhow, and what was told before stays.
        Err(error) if error.kind() == BrokerErrorKind::OutOfMemory => Ok(()),
        told => told.map(drop),
    }
}

/// What the partition's jobs take in the server's memory.
async fn bytes(connection: &Connection, keys: &PartitionKeys) -> Result<i64, BrokerError> {
    let mut total = 0;
    for key in keys.lanes.iter().chain([&keys.later, &keys.later_jobs]) {
        let used = connection.call("MEMORY", vec![text("USAGE"), text(key)]).await?;
        total += reply::integer(&used).unwrap_or_default();
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_rate_is_what_left_since_the_last_look_smoothed() {
        let at = Instant::now();
        let later = at + Duration::from_secs(2);
        assert_eq!(thousandths(Seen { at, seq: 10, rate: None }, later, 30), Some(10_000), "ten a second");
        assert_eq!(thousandths(Seen { at, seq: 10, rate: Some(0) }, later, 30), Some(5_000));
        assert_eq!(thousandths(Seen { at, seq: 10, rate: None }, later, 3), Some(0), "a server that began anew");
        assert_eq!(thousandths(Seen { at, seq: 10, rate: None }, at, 30), None);
    }
}
