//! Reads completions that were published before.

use bytes::Bytes;

use super::{
    connection::{BrokerError, Connection, text},
    partition::EntryId,
    reply,
};
use crate::keys::{BATCH_FIELD, PartitionKeys};

/// One entry of a partition's replay stream.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Where it stands; the next page begins after it.
    pub entry: EntryId,
    /// An array of completions.
    pub batch: Bytes,
}

/// Up to `count` batches after `after` (from the oldest kept when none).
///
/// # Errors
/// When the server cannot be asked.
pub async fn replay(
    connection: &Connection,
    keys: &PartitionKeys,
    after: Option<&EntryId>,
    count: usize,
) -> Result<Vec<Replayed>, BrokerError> {
    let from = after.map_or_else(|| "-".to_owned(), |entry| format!("({}", entry.as_str()));
    let args = [keys.done.as_str(), &from, "+", "COUNT", &count.to_string()].map(text).to_vec();
    let entries = connection.call("XRANGE", args).await?;
    Ok(reply::array(&entries).iter().filter_map(replayed).collect())
}

fn replayed(entry: &fred::types::Value) -> Option<Replayed> {
    let [id, fields] = reply::array(entry) else { return None };
    let fields: Vec<Bytes> = reply::array(fields).iter().filter_map(reply::bytes).collect();
    let batch = fields.chunks_exact(2).find(|pair| pair[0] == BATCH_FIELD)?[1].clone();
    Some(Replayed { entry: EntryId(reply::bytes(id)?), batch })
}
