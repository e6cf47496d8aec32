//! Gives deliveries abandoned by a dead worker to a live one.
//!
//! Promise: when a worker's heart has been still for the lease, everything it held runs elsewhere within
//! about a second; what a leaving worker hands back is claimed as soon as it says goodbye. Never touches
//! the entries of a consumer whose heart still beats, nor anything while the queue is paused.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use crate::{
    broker::{BrokerError, BrokerErrorKind, MAX_PER_SCRIPT},
    executor::{Executor, Origin},
    gate::Gate,
    holding::Holding,
    shutdown::Shutdown,
    slots::Slots,
    telemetry::metrics,
};

const LOOK: Duration = Duration::from_secs(1);

/// Reclaims in one partition.
pub(crate) struct Reclaimer<C> {
    pub(crate) holding: Arc<Holding>,
    pub(crate) executor: Arc<Executor<C>>,
    pub(crate) slots: Slots,
    pub(crate) gate: Arc<Gate>,
    pub(crate) worker: Arc<str>,
    pub(crate) lease: Duration,
    /// Changes when some worker has said goodbye.
    pub(crate) goodbyes: watch::Receiver<u64>,
    /// Changes when the queue is paused or resumed.
    pub(crate) turns: watch::Receiver<bool>,
}

impl<C: Send + Sync + 'static> Reclaimer<C> {
    /// Ends when told to stop.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let mut strays_due = Instant::now() + self.lease;
        while shutdown.run_until_stopped(self.pause()).await.is_some() {
            if !self.gate.is_closed()
                && let Err(error) = self.reclaim(&shutdown).await
            {
                self.recover(&error).await;
            }
            if Instant::now() >= strays_due {
                // Often enough that a lost reply costs little more than the lease by which it shows.
                strays_due = Instant::now() + self.lease / 5;
                if let Err(error) = self.release_strays().await {
                    self.recover(&error).await;
                }
            }
        }
    }

    /// About a second, so that a fleet's workers do not all look at once; less when somebody says goodbye
    /// or the queue is resumed.
    async fn pause(&mut self) {
        let look = LOOK.mul_f64(0.75 + fastrand::f64() / 2.0);
        tokio::select! {
            () = tokio::time::sleep(look) => {}
            Ok(()) = self.goodbyes.changed() => {}
            Ok(()) = self.turns.changed() => {}
        }
    }

    /// Waits its turn for slots as the consumers do: where all are taken, abandoned jobs would else wait for an idle hour.
    async fn reclaim(&self, shutdown: &Shutdown) -> Result<(), BrokerError> {
        let turn = || shutdown.run_until_stopped(tokio::time::timeout(LOOK, self.slots.some(MAX_PER_SCRIPT)));
        while let Some(Ok(mut slots)) = turn().await {
            let limit = slots.len();
            let mut claimed = self.holding.partition.reclaim(&self.worker, self.lease, limit).await?;
            // The last to begin is the first to have its turn alone: what kills its worker at once is among them.
            claimed.sort_by_key(|entry| Reverse(entry.id.place()));
            let n_claimed = claimed.len();
            if n_claimed == 0 {
                return Ok(());
            }
            metrics::jobs_reclaimed(&self.holding.partition.queue, n_claimed);
            tracing::info!(n_jobs = n_claimed, partition = %self.holding.partition.tag, "claimed jobs of workers that died or left");
            for entry in claimed {
                let Some(slot) = slots.split() else {
                    self.executor.accept(&self.holding, entry, slots, Origin::Reclaimed);
                    break;
                };
                self.executor.accept(&self.holding, entry, slot, Origin::Reclaimed);
            }
        }
        Ok(())
    }

    /// Deliveries whose reply was lost on the way are ours and nobody works on them: anyone may claim them.
    async fn release_strays(&self) -> Result<(), BrokerError> {
        let mut strays = self.holding.partition.strays(&self.worker, self.lease).await?;
        strays.retain(|held| !self.holding.has(held));
        if strays.is_empty() {
            return Ok(());
        }
        tracing::warn!(n_jobs = strays.len(), partition = %self.holding.partition.tag, "the replies that brought these jobs were lost; handing them back");
        self.holding.partition.release(&self.worker, &strays).await.map(drop)
    }

    async fn recover(&self, error: &BrokerError) {
        metrics::role_failed("reclaimer");
        tracing::warn!(%error, partition = %self.holding.partition.tag, "could not look for abandoned jobs; trying again");
        if error.kind() == BrokerErrorKind::NoGroup {
            drop(self.holding.partition.create_groups().await); // the next look says if that failed
        }
    }
}
