//! Brings journaled jobs to Dragonfly: those that were enqueued in SQL, those that were accepted while Dragonfly was
//! away, and all of them after it lost its memory.
//!
//! Promise: a job is marked as brought only after Dragonfly has it, and with the generation that was the present one
//! before: what is lost in between is brought again. Two relays never have the same job in hand. Never holds more than
//! one small batch in a transaction.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::{
    broker::{BrokerError, Connection, Enqueued, QueueTags, Scope, registered, warn_unless_silent},
    cycles::Cycle,
    job::JobId,
    keys::Keys,
    placer::Placer,
    shutdown::Shutdown,
    store::{Generation, JOURNAL_CHANNEL, Notices, Store, StoreError, Tx, Unrelayed},
    telemetry::metrics,
};

/// How long a relay waits for a notice before it looks by itself.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// Jobs of one transaction.
const BATCH: u32 = 500;

/// How long a queue is left alone that is closed, at most: an operator may open it at any time.
const CLOSED: Duration = Duration::from_secs(2);

/// How long a queue is left alone that the server's memory has no room for.
const FULL: Duration = Duration::from_millis(500);

/// Brings journaled jobs of every queue.
pub(crate) struct Relay {
    connection: Connection,
    keys: Keys,
    store: Store,
    placer: Placer,
    notices: Notices,
    /// Queues that take nothing now, and until when.
    held: HashMap<String, Instant>,
    cycle: Cycle,
}

/// Why jobs could not be brought.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("add to Dragonfly: {0}")]
    Broker(#[from] BrokerError),
    #[error("read the journal: {0}")]
    Store(#[from] StoreError),
}

impl RelayError {
    /// Whether the server answers nobody, which the observer says.
    fn is_of_silence(&self) -> bool {
        matches!(self, Self::Broker(error) if error.is_of_silence())
    }
}

impl Relay {
    pub(crate) fn new(connection: Connection, keys: Keys, scope: Scope, (store, cycle): (Store, Cycle)) -> Self {
        let placer = Placer { connection: connection.clone(), keys: keys.clone(), scope };
        let notices = store.notices(JOURNAL_CHANNEL);
        Self { connection, keys, store, placer, notices, held: HashMap::new(), cycle }
    }

    /// Ends when told to stop; a batch that is on its way is finished first.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        while !shutdown.is_stopping() {
            let brought = self.bring().await;
            if let Err(error) = &brought {
                metrics::role_failed("relay");
                self.cycle.failed();
                warn_unless_silent!(error, "could not bring journaled jobs to Dragonfly; trying again");
            }
            self.cycle.completed();
            if brought.is_ok_and(|n_jobs| n_jobs == BATCH as usize) {
                continue;
            }
            if shutdown.run_until_stopped(self.pause()).await.is_none() {
                break;
            }
        }
    }

    /// About a second, so that a fleet's relays do not all look at once; less when Postgres tells of a job.
    async fn pause(&mut self) {
        let look = tokio::time::sleep(LOOK.mul_f64(0.75 + fastrand::f64() / 2.0));
        tokio::pin!(look);
        tokio::select! {
            () = &mut look => return,
            heard = self.notices.heard() => match heard {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "nothing is heard from Postgres; looking every second meanwhile"),
            }
        }
        look.await;
    }

    /// Brings one batch; gives how many jobs it had.
    async fn bring(&mut self) -> Result<usize, RelayError> {
        self.held.retain(|_, until| *until > Instant::now());
        let without: Vec<String> = self.held.keys().cloned().collect();
        let mut tx = self.store.begin().await?;
        // Read before anything is added: what this memory is given and then loses is marked with a number gone by.
        let Generation { number: generation, nonce, .. } = tx.generation().await?;
        if nonce.is_empty() {
            return Ok(0); // no worker has met this Dragonfly: the reconciler begins a generation in a moment
        }
        let batch = tx.unrelayed(generation, &without, BATCH).await?;
        if batch.is_empty() {
            return Ok(0);
        }
        let n_jobs = batch.len();
        let queues = registered(&self.connection, &self.keys).await?;
        let n_brought = self.bring_batch(batch, &queues, (&mut tx, generation)).await?;
        tx.commit().await?;
        metrics::journal_relayed(n_brought);
        tracing::debug!(n_jobs = n_brought, "brought journaled jobs to Dragonfly");
        Ok(n_jobs)
    }

    async fn bring_batch(
        &mut self,
        batch: Vec<Unrelayed>,
        queues: &QueueTags,
        (tx, generation): (&mut Tx, i64),
    ) -> Result<usize, RelayError> {
        let (settled, open): (Vec<_>, Vec<_>) = batch.into_iter().partition(|job| job.settled);
        let mut gone: Vec<JobId> = settled.iter().map(|job| job.id).collect();
        let (mut brought, mut duplicates) = (Vec::new(), Vec::new());
        for (id, queue, verdict) in self.placer.place(queues, open).await? {
            match verdict {
                Enqueued::Accepted => brought.push(id),
                Enqueued::Replaced(other) => {
                    brought.push(id);
                    gone.push(other);
                }
                Enqueued::Existing(owner) | Enqueued::Duplicate(owner) => duplicates.push((id, owner)),
                Enqueued::Busy(wait) => self.hold(queue, wait),
                Enqueued::Closed => self.hold(queue, CLOSED),
                Enqueued::OutOfMemory => self.hold(queue, FULL),
            }
        }
        tx.relayed(&brought, generation).await?;
        if !gone.is_empty() {
            tx.unjournal(&gone).await?;
        }
        if !duplicates.is_empty() {
            tx.give_way(&duplicates).await?;
        }
        Ok(brought.len())
    }

    /// Leaves a queue alone that takes nothing now, so that it does not stand in the way of the others.
    fn hold(&mut self, queue: String, wait: Duration) {
        if !self.held.contains_key(&queue) {
            tracing::debug!(queue, ?wait, "a queue takes no journaled jobs now; they wait");
        }
        self.held.insert(queue, Instant::now() + wait.min(CLOSED));
    }
}
