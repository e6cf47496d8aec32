//! Puts ready jobs into partitions of queues without budgets: a plain XADD each, as any producer may.

use bytes::Bytes;

use super::{
    connection::{self, BrokerError, Connection, text},
    partition::EntryId,
    reply,
};
use crate::{
    job::Priority,
    keys::{JOB_FIELD, PartitionKeys},
};

/// How many additions are on the way at once, on one connection.
const PIPELINE: usize = 1_000;

/// Submits over one connection; additions sent together are pipelined.
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

    /// Adds many ready jobs, pipelined.
    ///
    /// # Errors
    /// As [`Submitter::add`]; some may have been accepted.
    pub async fn add_all(&self, keys: &PartitionKeys, jobs: Vec<(Priority, Bytes)>) -> Result<(), BrokerError> {
        let [high, normal, low] = keys.lanes.clone().map(Bytes::from);
        let mut jobs = jobs.into_iter().map(|(priority, envelope)| {
            let lane = match priority {
                Priority::High => &high,
                Priority::Normal => &normal,
                Priority::Low => &low,
            };
            let [any_id, field] = [Bytes::from_static(b"*"), Bytes::from_static(JOB_FIELD.as_bytes())];
            [lane.clone(), any_id, field, envelope].map(connection::bytes).to_vec()
        });
        while jobs.len() > 0 {
            self.connection.call_all("XADD", jobs.by_ref().take(PIPELINE)).await?;
        }
        Ok(())
    }
}
