//! Takes ready jobs from one partition, as many as can start now.
//!
//! Promise: a loop that has not heard from the server in time tries again by itself; a group that is
//! gone is created again; while the queue is paused nothing is taken, and what a read caught meanwhile goes
//! back. Never holds a slot while it waits for jobs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    broker::{BrokerError, BrokerErrorKind, Entry, Held, MAX_PER_SCRIPT, Taken, warn_unless_silent},
    cycles::Cycle,
    executor::{Executor, Origin},
    gate::Gate,
    holding::Holding,
    shutdown::Shutdown,
    slots::Slots,
    telemetry::metrics,
};

/// How often it is asked again whether the server still says that the queue is paused, should the word be lost.
const PAUSED: Duration = Duration::from_millis(500);

/// About how long one cycle lasts while nothing comes: a read that waits at the server.
pub(crate) const CYCLE: Duration = Duration::from_secs(2);

/// Reads one partition.
pub(crate) struct Consumer<C> {
    pub(crate) holding: Arc<Holding>,
    pub(crate) executor: Arc<Executor<C>>,
    pub(crate) slots: Slots,
    pub(crate) gate: Arc<Gate>,
    pub(crate) worker: Arc<str>,
    pub(crate) cycle: Cycle,
}

impl<C: Send + Sync + 'static> Consumer<C> {
    /// Ends when told to stop; a read that is on its way is waited for, so that nothing it brings is stranded.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        while !shutdown.is_stopping() {
            // A queue may be paused, and jobs may run, for hours.
            self.cycle.rests();
            if shutdown.run_until_stopped(self.gate.opened()).await.is_none() {
                break;
            }
            let Some(slots) = shutdown.run_until_stopped(self.slots.some(MAX_PER_SCRIPT)).await else { break };
            self.cycle.resumes();
            if let Err(error) = self.cycle(slots, &shutdown).await {
                self.recover(&error, &shutdown).await;
            }
            self.cycle.completed();
        }
    }

    async fn cycle(&self, mut slots: crate::slots::Slot, shutdown: &Shutdown) -> Result<(), BrokerError> {
        if self.gate.is_closed() {
            return Ok(()); // it was closed while we waited for a slot
        }
        let reading = self.holding.reading();
        let Taken::Jobs(ready) = self.holding.partition.take(&self.worker, slots.len()).await? else {
            drop((slots, reading));
            shutdown.run_until_stopped(tokio::time::sleep(PAUSED)).await;
            return Ok(());
        };
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
        drop((slots, reading));
        if shutdown.is_stopping() {
            return Ok(());
        }
        let _reading = self.holding.reading();
        let caught = self.holding.partition.wait(&self.worker).await?;
        if self.gate.is_closed() {
            return self.hand_back(caught).await;
        }
        for entry in caught {
            self.accept_waited(entry).await;
        }
        Ok(())
    }

    /// Jobs that a read caught although the queue is paused. Should this fail, they are found as strays later.
    async fn hand_back(&self, caught: Vec<Entry>) -> Result<(), BrokerError> {
        if caught.is_empty() {
            return Ok(());
        }
        let held: Vec<Held> = caught.into_iter().map(Entry::into_held).collect();
        let n_released = self.holding.partition.release(&self.worker, &held).await?;
        metrics::jobs_released(&self.holding.partition.queue, n_released);
        Ok(())
    }

    /// A job that came while we waited: a slot is found for it even when we are stopping, for it is ours now;
    /// the runner hands it back then.
    async fn accept_waited(&self, entry: Entry) {
        metrics::jobs_taken(&self.holding.partition.queue, 1);
        self.cycle.rests();
        let slot = self.slots.some(1).await;
        self.executor.accept(&self.holding, entry, slot, Origin::Fresh);
    }

    async fn recover(&self, error: &BrokerError, shutdown: &Shutdown) {
        metrics::role_failed("consumer");
        self.cycle.failed();
        // A read of several streams, one of which lacks its group, may be answered NOGROUP after it took entries of the others.
        if matches!(error.kind(), BrokerErrorKind::Unreachable | BrokerErrorKind::NoGroup) {
            self.holding.doubt(Instant::now());
        }
        warn_unless_silent!(error, queue = %self.holding.partition.queue, partition = %self.holding.partition.tag, "could not read jobs; trying again");
        if error.kind() == BrokerErrorKind::NoGroup && self.holding.partition.create_groups().await.is_ok() {
            return;
        }
        let pause = Duration::from_millis(100 + fastrand::u64(0..400));
        shutdown.run_until_stopped(tokio::time::sleep(pause)).await;
    }
}
