//! Brings journaled jobs to Dragonfly: those that were enqueued in SQL, those that were accepted while Dragonfly was
//! away, and all of them after it lost its memory.
//!
//! Promise: a job is marked as brought only after Dragonfly has it, and with the generation that was the present one
//! before: what is lost in between is brought again. Two relays never have the same job in hand. Never holds more than
//! one small batch in a transaction.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::{
    broker::{BrokerError, Connection, Due, QueueTags, registered},
    job::QueueName,
    keys::Keys,
    placer::{Placer, ToPlace},
    shutdown::Shutdown,
    store::{JOURNAL_CHANNEL, Notices, Store, StoreError, Tx, Unrelayed},
    telemetry::metrics,
};

/// How long a relay waits for a notice before it looks by itself.
const LOOK: Duration = Duration::from_secs(1);

/// Jobs of one transaction.
const BATCH: u32 = 500;

/// How long a queue is left alone whose name cannot be read.
const LEFT_ALONE: Duration = Duration::from_secs(60);

/// Brings journaled jobs of every queue.
pub(crate) struct Relay {
    connection: Connection,
    keys: Keys,
    store: Store,
    placer: Placer,
    notices: Notices,
    /// Queues that take nothing now, and until when.
    held: HashMap<String, Instant>,
}

/// Why jobs could not be brought.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("add to Dragonfly: {0}")]
    Broker(#[from] BrokerError),
    #[error("read the journal: {0}")]
    Store(#[from] StoreError),
}

impl Relay {
    pub(crate) fn new(connection: Connection, keys: Keys, store: Store) -> Self {
        let placer = Placer::new(connection.clone(), keys.clone());
        let notices = store.notices(JOURNAL_CHANNEL);
        Self { connection, keys, store, placer, notices, held: HashMap::new() }
    }

    /// Ends when told to stop; a batch that is on its way is finished first.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        while !shutdown.is_stopping() {
            match self.bring().await {
                Ok(n_jobs) if n_jobs == BATCH as usize => continue,
                Ok(_) => {}
                Err(error) => {
                    metrics::role_failed("relay");
                    tracing::warn!(%error, "could not bring journaled jobs to Dragonfly; trying again");
                }
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
        let generation = tx.generation().await?.number;
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
        if !settled.is_empty() {
            tx.unjournal(&settled.iter().map(|job| job.id).collect::<Vec<_>>()).await?;
        }
        let jobs: Vec<ToPlace> = open.into_iter().filter_map(|job| self.to_place(job)).collect();
        let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
        self.placer.place(queues, jobs).await?;
        tx.relayed(&ids, generation).await?;
        Ok(ids.len())
    }

    fn to_place(&mut self, job: Unrelayed) -> Option<ToPlace> {
        let Unrelayed { id, queue, priority, wait, envelope, .. } = job;
        match queue.parse::<QueueName>() {
            Ok(queue) => Some(ToPlace { id, queue, priority, due: wait.map(Due::In), envelope }),
            Err(error) => {
                tracing::error!(%error, job.id = %id, "a row of job_journal names no queue; it is left where it is");
                self.held.insert(queue, Instant::now() + LEFT_ALONE);
                None
            }
        }
    }
}
