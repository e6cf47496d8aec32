//! Notices when Dragonfly has lost its memory or gone back in time, and begins a new generation.
//!
//! Promise: within seconds of such a loss every journaled job counts as not brought, so that the relay brings it again.
//! A new generation begins only under the lock of its row, after a look at the server under that lock; it is committed
//! after the new memory is marked, so that a worker that dies in between leaves marks that do not match and the next
//! look begins one more. Never decides by a worker's clock.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use crate::{
    broker::{BrokerError, Connection, Memory, mark_memory, memory, register, warn_unless_silent},
    cycles::Cycle,
    job::{Kind, QueueName},
    keys::Keys,
    partition::Tag,
    shutdown::Shutdown,
    store::{Generation, Store, StoreError},
    telemetry::metrics,
};

pub(crate) const LOOK: Duration = Duration::from_secs(2);

/// Reconciles the journal with Dragonfly's memory.
pub(crate) struct Reconciler {
    pub(crate) connection: Connection,
    pub(crate) keys: Keys,
    pub(crate) store: Store,
    /// This worker's queues, registered before anything is brought to a memory that knows none.
    pub(crate) queues: Vec<(QueueName, Vec<Tag>)>,
    /// What this worker knows to run, told to those who enqueue in SQL.
    pub(crate) kinds: Vec<(Kind, QueueName)>,
    pub(crate) max_payload_bytes: usize,
    pub(crate) cycle: Cycle,
}

/// Why the journal could not be reconciled.
#[derive(Debug, thiserror::Error)]
enum ReconcileError {
    #[error("ask Dragonfly: {0}")]
    Broker(#[from] BrokerError),
    #[error("ask Postgres: {0}")]
    Store(#[from] StoreError),
}

impl ReconcileError {
    /// Whether the server answers nobody, which the observer says.
    fn is_of_silence(&self) -> bool {
        matches!(self, Self::Broker(error) if error.is_of_silence())
    }
}

impl Reconciler {
    /// Ends when told to stop.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut kinds_are_known = false;
        while shutdown.run_until_stopped(ticks.tick()).await.is_some() {
            if let Err(error) = self.look(&mut kinds_are_known).await {
                metrics::role_failed("reconciler");
                self.cycle.failed();
                warn_unless_silent!(error, "could not compare Dragonfly's memory with the journal; trying again");
            }
            self.cycle.completed();
        }
    }

    async fn look(&self, kinds_are_known: &mut bool) -> Result<(), ReconcileError> {
        if !*kinds_are_known {
            self.store.know_kinds(&self.kinds, self.max_payload_bytes).await?;
            *kinds_are_known = true;
        }
        let known = self.store.generation().await?;
        if is_known(&known, &memory(&self.connection, &self.keys).await?) {
            return Ok(());
        }
        self.reconcile().await
    }

    async fn reconcile(&self) -> Result<(), ReconcileError> {
        let mut tx = self.store.begin().await?;
        let Some(known) = tx.lock_generation().await? else {
            return Ok(()); // another worker is at it
        };
        let found = memory(&self.connection, &self.keys).await?;
        if is_known(&known, &found) {
            return Ok(());
        }
        for (queue, tags) in &self.queues {
            register(&self.connection, &self.keys, queue, tags).await?;
        }
        let nonce = Uuid::now_v7().to_string();
        let number = tx.begin_generation(&nonce, &found.replication_id).await?;
        let n_jobs = tx.count_journal().await?;
        tx.wake_relays().await?;
        mark_memory(&self.connection, &self.keys, &nonce).await?;
        tx.commit().await?;
        metrics::reconciled();
        tell(&known, &found, (number, n_jobs));
        Ok(())
    }
}

fn is_known(known: &Generation, found: &Memory) -> bool {
    found.nonce.as_deref() == Some(&known.nonce) && found.replication_id == known.replication_id
}

fn tell(known: &Generation, found: &Memory, (generation, n_jobs): (i64, i64)) {
    if known.nonce.is_empty() {
        tracing::info!(generation, n_jobs, "the journal knows Dragonfly's memory from now on");
    } else if found.nonce.is_none() {
        tracing::warn!(generation, n_jobs, "Dragonfly lost its memory: every journaled job is brought there again");
    } else {
        tracing::warn!(
            generation,
            n_jobs,
            "Dragonfly restarted or failed over and may have gone back in time: every journaled job is brought there again"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(nonce: &str, id: &str) -> Generation {
        Generation { number: 3, nonce: nonce.to_owned(), replication_id: id.to_owned() }
    }

    fn found(nonce: Option<&str>, id: &str) -> Memory {
        Memory { nonce: nonce.map(str::to_owned), replication_id: id.to_owned() }
    }

    #[test]
    fn a_memory_is_known_by_both_marks() {
        assert!(is_known(&known("n", "r"), &found(Some("n"), "r")));
        assert!(!is_known(&known("n", "r"), &found(None, "r")), "emptied");
        assert!(!is_known(&known("n", "r"), &found(Some("n"), "s")), "restarted from a snapshot, or failed over");
        assert!(!is_known(&known("", ""), &found(None, "")), "never met");
    }
}
