//! Makes delayed jobs ready when they are due, by the server's clock.
//!
//! Promise: it sleeps until the earliest is due, and hears of one that becomes the earliest meanwhile; a word that is lost
//! costs a second. While nothing waits it asks the server once a second.

use std::{sync::Arc, time::Duration};

use crate::{
    broker::{BrokerError, BrokerErrorKind, MAX_PER_SCRIPT, warn_unless_silent},
    cycles::Cycle,
    holding::Holding,
    shutdown::Shutdown,
    telemetry::metrics,
};

/// The longest sleep: a lost word makes nobody wait longer.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// After a failure.
const FAILED: Duration = Duration::from_millis(500);

/// Promotes the delayed jobs of one partition.
pub(crate) struct Promoter {
    pub(crate) holding: Arc<Holding>,
    pub(crate) cycle: Cycle,
}

impl Promoter {
    /// Ends when told to stop. Every worker promotes; the script makes sure that each job is moved once.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let mut pause = Duration::ZERO;
        while shutdown.run_until_stopped(self.sleep(pause)).await.is_some() {
            pause = match self.promote().await {
                Ok(pause) => pause,
                Err(error) => {
                    metrics::role_failed("promoter");
                    // A full memory is no fault of this loop, and others free it.
                    if error.kind() != BrokerErrorKind::OutOfMemory {
                        self.cycle.failed();
                    }
                    warn_unless_silent!(error, partition = %self.holding.partition.tag, "could not make delayed jobs ready; trying again");
                    FAILED
                }
            };
            self.cycle.completed();
        }
    }

    async fn sleep(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.holding.nudged() => {}
        }
    }

    async fn promote(&self) -> Result<Duration, BrokerError> {
        let promoted = self.holding.partition.promote().await?;
        if promoted.n_moved > 0 {
            metrics::jobs_promoted(&self.holding.partition.queue, promoted.n_moved);
        }
        if promoted.n_moved >= MAX_PER_SCRIPT {
            return Ok(Duration::ZERO);
        }
        Ok(promoted.next_due.unwrap_or(LOOK).clamp(Duration::from_millis(1), LOOK))
    }
}
