//! Reads and deletes dead letters.

use bytes::Bytes;

use super::{
    connection::{BrokerError, Connection, bytes, text},
    partition::EntryId,
    reply,
};
use crate::keys::{LETTER_FIELD, PartitionKeys};

/// A dead letter where it lies.
#[derive(Clone, Debug)]
pub struct StoredLetter {
    /// Its entry.
    pub entry: EntryId,
    /// The letter, MessagePack.
    pub letter: Bytes,
}

const PAGE: &str = "500";

/// One page of a partition's dead letters, the oldest first, after `after`.
///
/// # Errors
/// When the server cannot be asked.
pub async fn page(
    connection: &Connection,
    keys: &PartitionKeys,
    after: Option<&EntryId>,
) -> Result<Vec<StoredLetter>, BrokerError> {
    let from = after.map_or_else(|| "-".to_owned(), |entry| format!("({}", entry.as_str()));
    let args = [keys.dead.as_str(), &from, "+", "COUNT", PAGE].map(text).to_vec();
    let entries = connection.call("XRANGE", args).await?;
    Ok(reply::array(&entries).iter().filter_map(stored).collect())
}

fn stored(entry: &fred::types::Value) -> Option<StoredLetter> {
    let [id, fields] = reply::array(entry) else { return None };
    let fields: Vec<Bytes> = reply::array(fields).iter().filter_map(reply::bytes).collect();
    let letter = fields.chunks_exact(2).find(|pair| pair[0] == LETTER_FIELD)?[1].clone();
    Some(StoredLetter { entry: EntryId(reply::bytes(id)?), letter })
}

/// Deletes dead letters for good; gives how many were still there.
///
/// # Errors
/// When the server cannot be asked.
pub async fn delete(connection: &Connection, keys: &PartitionKeys, entries: &[EntryId]) -> Result<usize, BrokerError> {
    let mut n_deleted = 0;
    for some in entries.chunks(super::MAX_PER_SCRIPT) {
        let mut args = vec![text(&*keys.dead)];
        args.extend(some.iter().map(|entry| bytes(entry.0.clone())));
        let deleted = connection.call("XDEL", args).await?;
        n_deleted += reply::integer(&deleted).and_then(|n| usize::try_from(n).ok()).unwrap_or_default();
    }
    Ok(n_deleted)
}
