//! Puts ready jobs into partitions of queues without budgets: a plain XADD each, as any producer may, or many in one call.

use bytes::Bytes;

use super::{
    add::add,
    connection::{self, BrokerError, Connection, text},
    partition::EntryId,
    reply,
};
use crate::{
    job::Priority,
    keys::{JOB_FIELD, PartitionKeys},
};

/// From so many on, one call of a script is cheaper than a command each.
const PACKED: usize = 8;

/// Submits over one connection.
#[derive(Clone)]
pub struct Submitter {
    connection: Connection,
}

impl Submitter {
    /// Submits over this connection.
    pub fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Adds one ready job.
    ///
    /// # Errors
    /// `OutOfMemory` when it was refused; `Unreachable` when it may or may not have been accepted:
    /// submitting the same envelope again then does no harm, for its id has one result.
    pub async fn add(&self, keys: &PartitionKeys, priority: Priority, envelope: Bytes) -> Result<EntryId, BrokerError> {
        let args = vec![text(keys.lane(priority)), text("*"), text(JOB_FIELD), connection::bytes(envelope)];
        let added = self.connection.call("XADD", args).await?;
        reply::bytes(&added).map(EntryId).ok_or_else(|| BrokerError::odd("XADD", &added))
    }

    /// Adds ready jobs of one lane, at most [`MAX_PER_SCRIPT`](super::MAX_PER_SCRIPT) of them.
    ///
    /// # Errors
    /// As [`Submitter::add`]; some may have been accepted.
    pub async fn add_some(&self, lane: &str, mut envelopes: Vec<Bytes>) -> Result<(), BrokerError> {
        let addition = |envelope| {
            let [any_id, field] = [Bytes::from_static(b"*"), Bytes::from_static(JOB_FIELD.as_bytes())];
            vec![text(lane), connection::bytes(any_id), connection::bytes(field), connection::bytes(envelope)]
        };
        match envelopes.len() {
            0 => Ok(()),
            1 => self.connection.call("XADD", addition(envelopes.remove(0))).await.map(drop),
            2..PACKED => self.connection.call_all("XADD", envelopes.into_iter().map(addition)).await.map(drop),
            _ => add(&self.connection, lane, envelopes).await,
        }
    }
}
