//! Tells the fleet that this worker lives, once a second or more often, each partition by itself.
//!
//! Promise: beats as long as the process can run, whatever Postgres does; a beat that the server heard
//! renews the lease. Never beats for a worker that has said goodbye.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    broker::warn_unless_silent, clock::ServerClock, cycles::Cycle, holding::Holding, shutdown::Shutdown,
    telemetry::metrics,
};

/// At least once a second, and thrice a lease where that is shorter.
const BEAT: Duration = Duration::from_secs(1);

/// Beats for one partition.
pub(crate) struct Heart {
    pub(crate) holding: Arc<Holding>,
    pub(crate) clock: Arc<ServerClock>,
    pub(crate) worker: Arc<str>,
    pub(crate) lease: Duration,
    pub(crate) cycle: Cycle,
}

/// How often a worker with this lease beats.
pub(crate) fn every(lease: Duration) -> Duration {
    BEAT.min(lease / 3)
}

impl Heart {
    /// The first beat, before anything is taken.
    pub(crate) async fn begin(&self) -> Result<(), crate::broker::BrokerError> {
        // The lease runs from before the question: the answer may have been long on its way.
        let asked = Instant::now();
        let now_ms = self.holding.partition.beat(&self.worker).await?;
        self.clock.heard(now_ms);
        self.holding.beaten(asked.into_std(), Instant::now().into_std(), self.lease);
        Ok(())
    }

    /// Ends when told to stop, and tells the server so.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let mut ticks = interval(every(self.lease));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_stopped(ticks.tick()).await.is_some() {
            if let Err(error) = self.begin().await {
                metrics::role_failed("heart");
                self.cycle.failed();
                warn_unless_silent!(error, partition = %self.holding.partition.tag, "the server did not hear our heart");
            }
            self.cycle.completed();
        }
        if let Err(error) = self.holding.partition.stop_beating(&self.worker).await {
            warn_unless_silent!(error, "could not say that this worker is gone; its lease runs out instead");
        }
    }
}
