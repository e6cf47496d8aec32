//! How much stands where in a partition.

use super::{
    connection::{BrokerError, Connection, text},
    reply,
};
use crate::keys::{GROUP, PartitionKeys, RELEASED};

/// Counts of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depths {
    /// Entries in each stream, high, normal, low: ready and in flight.
    pub lanes: [u64; 3],
    /// Entries handed to a worker and not yet settled; what was handed back is ready again.
    pub in_flight: u64,
    /// Delayed and retrying jobs.
    pub later: u64,
    /// Dead letters.
    pub dead: u64,
    /// Workers whose heart beat lately or stopped not long ago.
    pub live: u64,
    /// When the oldest entry still in a stream was added, milliseconds since 1970 by the server's clock.
    pub oldest_ms: Option<u64>,
}

impl Depths {
    /// Jobs that nobody has taken yet.
    pub fn ready(&self) -> u64 {
        self.lanes.iter().sum::<u64>().saturating_sub(self.in_flight)
    }

    /// Everything accepted and not yet settled, dead letters aside.
    pub fn unsettled(&self) -> u64 {
        self.lanes.iter().sum::<u64>() + self.later
    }
}

/// Counts what stands in a partition.
///
/// # Errors
/// When the server cannot be asked.
pub async fn depths(connection: &Connection, keys: &PartitionKeys) -> Result<Depths, BrokerError> {
    let mut depths = Depths::default();
    for (lane, key) in keys.lanes.iter().enumerate() {
        depths.lanes[lane] = count(connection, "XLEN", vec![text(key)]).await?;
        if depths.lanes[lane] > 0 {
            depths.in_flight += in_flight(connection, key).await?;
            let oldest = oldest_ms(connection, key).await?;
            depths.oldest_ms = depths.oldest_ms.into_iter().chain(oldest).min();
        }
    }
    depths.later = count(connection, "ZCARD", vec![text(&*keys.later)]).await?;
    depths.dead = count(connection, "XLEN", vec![text(&*keys.dead)]).await?;
    depths.live = count(connection, "ZCARD", vec![text(&*keys.live)]).await?;
    Ok(depths)
}

async fn count(
    connection: &Connection,
    command: &'static str,
    args: Vec<fred::types::Value>,
) -> Result<u64, BrokerError> {
    let counted = connection.call(command, args).await?;
    Ok(reply::integer(&counted).and_then(|n| u64::try_from(n).ok()).unwrap_or_default())
}

/// The bytes that a partition's jobs take, as last measured or added up; 0 where there is no budget of bytes.
///
/// # Errors
/// When the server cannot be asked.
pub async fn bytes(connection: &Connection, keys: &PartitionKeys) -> Result<u64, BrokerError> {
    count(connection, "HGET", vec![text(&*keys.control), text("bytes")]).await
}

/// Nothing is in flight where there is no group: the stream was made by a producer, no worker has been there.
async fn in_flight(connection: &Connection, key: &str) -> Result<u64, BrokerError> {
    match connection.call("XPENDING", vec![text(key), text(GROUP)]).await {
        Ok(summary) => Ok(held(reply::array(&summary))),
        Err(error) if error.kind() == super::BrokerErrorKind::NoGroup => Ok(0),
        Err(error) => Err(error),
    }
}

/// Of XPENDING's summary, what is not handed back: that waits like any other.
fn held(summary: &[fred::types::Value]) -> u64 {
    let number = |value| reply::integer(value).and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
    let consumers = summary.get(3).map(reply::array).unwrap_or_default().iter().map(reply::array);
    let back = consumers.filter(|pair| pair.first().and_then(reply::text).as_deref() == Some(RELEASED));
    let n_back: u64 = back.filter_map(|pair| pair.get(1)).map(number).sum();
    summary.first().map(number).unwrap_or_default().saturating_sub(n_back)
}

async fn oldest_ms(connection: &Connection, key: &str) -> Result<Option<u64>, BrokerError> {
    let first = connection.call("XRANGE", [key, "-", "+", "COUNT", "1"].map(text).to_vec()).await?;
    let id = reply::array(&first).first().and_then(|entry| reply::array(entry).first()).and_then(reply::bytes);
    Ok(id.map(|id| super::EntryId(id).ms()))
}
