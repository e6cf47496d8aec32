//! Forgets journaled jobs whose settlement was faster than the commit that accepted them, and leaves those whose
//! submitter died on the way to the relay.
//!
//! Promise: only rows of jobs that have a result or a dead letter go. Never reads the whole journal at once: page by
//! page, from the beginning again when the end is reached. A client that is slow and not dead may add its jobs all the
//! same: they come twice then, and have one result.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    cycles::Cycle,
    job::JobId,
    shutdown::Shutdown,
    store::{Abandoned, Store, StoreError},
    telemetry::metrics,
};

pub(crate) const SWEEP: Duration = Duration::from_secs(5);

/// How long a client may take to add what it has journaled: longer than Dragonfly is asked, and Postgres after it.
const ABANDONED: Duration = Duration::from_secs(120);

/// Looks for abandoned submissions of one sweep, 100 each.
const LOOKS: usize = 50;

/// Rows of one page.
const PAGE: u32 = 5_000;

/// Sweeps the journal.
pub(crate) struct Sweeper {
    pub(crate) store: Store,
    pub(crate) cycle: Cycle,
}

impl Sweeper {
    /// Ends when told to stop.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let first = JobId(uuid::Uuid::nil());
        let mut after = first;
        let mut ticks = interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_stopped(ticks.tick()).await.is_some() {
            match self.store.sweep_journal(after, PAGE).await {
                Ok((n_swept, last)) => {
                    after = last.unwrap_or(first);
                    if n_swept > 0 {
                        tracing::debug!(n_jobs = n_swept, "forgot journaled jobs that were settled already");
                    }
                }
                Err(error) => self.failed(&error),
            }
            if let Err(error) = self.abandon().await {
                self.failed(&error);
            }
            self.cycle.completed();
        }
    }

    async fn abandon(&self) -> Result<(), StoreError> {
        for _ in 0..LOOKS {
            let Abandoned { n_submissions, n_jobs } = self.store.abandon_submissions(ABANDONED).await?;
            if n_submissions == 0 {
                break;
            }
            tracing::info!(
                n_submissions,
                n_jobs,
                "jobs whose submitters did not say that they added them are left to the relay"
            );
        }
        Ok(())
    }

    fn failed(&self, error: &StoreError) {
        metrics::role_failed("sweeper");
        self.cycle.failed();
        tracing::warn!(%error, "could not sweep the journal; trying again");
    }
}
