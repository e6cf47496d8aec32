//! Takes ready jobs from one partition, as many as can start now.
//!
//! Promise: a loop that has not heard from the server in time tries again by itself; a group that is
//! gone is created again. Never holds a slot while it waits for jobs.

use std::{sync::Arc, time::Duration};

use crate::{
    broker::{BrokerError, BrokerErrorKind, Entry, MAX_PER_SCRIPT},
    executor::{Executor, Origin},
    holding::Holding,
    shutdown::Shutdown,
    slots::Slots,
    telemetry::metrics,
};

/// Reads one partition.
pub(crate) struct Consumer<C> {
    pub(crate) holding: Arc<Holding>,
    pub(crate) executor: Arc<Executor<C>>,
    pub(crate) slots: Slots,
    pub(crate) worker: Arc<str>,
}

impl<C: Send + Sync + 'static> Consumer<C> {
    /// Ends when told to stop; a read that is on its way is waited for, so that nothing it brings is stranded.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        while !shutdown.is_stopping() {
            let Some(slots) = shutdown.run_until_stopped(self.slots.some(MAX_PER_SCRIPT)).await else { break };
            if let Err(error) = self.cycle(slots, &shutdown).await {
                self.recover(&error, &shutdown).await;
            }
        }
    }

    async fn cycle(&self, mut slots: crate::slots::Slot, shutdown: &Shutdown) -> Result<(), BrokerError> {
        let ready = self.holding.partition.take(&self.worker, slots.len()).await?;
        if !ready.is_empty() {
            metrics::jobs_taken(&self.holding.partition.queue, ready.len());
            for entry in ready {
                match slots.split() {
                    Some(slot) => self.executor.accept(&self.holding, entry, slot, Origin::Fresh),
                    None => {
                        self.executor.accept(&self.holding, entry, slots, Origin::Fresh);
                        return Ok(());
                    }
                }
            }
            return Ok(());
        }
        drop(slots);
        if shutdown.is_stopping() {
            return Ok(());
        }
        for entry in self.holding.partition.wait(&self.worker).await? {
            self.accept_waited(entry).await;
        }
        Ok(())
    }

    /// A job that came while we waited: a slot is found for it even when we are stopping, for it is ours now;
    /// the runner hands it back then.
    async fn accept_waited(&self, entry: Entry) {
        metrics::jobs_taken(&self.holding.partition.queue, 1);
        let slot = self.slots.some(1).await;
        self.executor.accept(&self.holding, entry, slot, Origin::Fresh);
    }

    async fn recover(&self, error: &BrokerError, shutdown: &Shutdown) {
        metrics::role_failed("consumer");
        tracing::warn!(%error, queue = %self.holding.partition.queue, partition = %self.holding.partition.tag, "could not read jobs; trying again");
        if error.kind() == BrokerErrorKind::NoGroup && self.holding.partition.create_groups().await.is_ok() {
            return;
        }
        let pause = Duration::from_millis(100 + fastrand::u64(0..400));
        shutdown.run_until_stopped(tokio::time::sleep(pause)).await;
    }
}
