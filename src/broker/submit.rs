//! Puts jobs into partitions: ready ones by XADD, delayed ones by the script.

use bytes::Bytes;

use super::{
    connection::{self, BrokerError, Connection, text},
    partition::EntryId,
    pubsub::Scope,
    reply,
    schedule::{self, Scheduled},
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
    scope: Scope,
}

impl Submitter {
    /// Submits over this connection.
    pub fn new(connection: Connection) -> Self {
        Self { connection, scope: Scope::default() }
    }

    /// The same, publishing in channels of this scope.
    #[must_use]
    pub fn publishing_in(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
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

    /// Accepts jobs that are to wait; workers hear of one that is due before all others.
    ///
    /// # Errors
    /// As [`Submitter::add`]; some may have been accepted.
    pub async fn schedule(&self, keys: &PartitionKeys, jobs: &[Scheduled]) -> Result<(), BrokerError> {
        schedule::schedule(&self.connection, keys, (self.scope, jobs)).await
    }
}
