//! Gives deliveries abandoned by a dead worker to a live one.
//!
//! Promise: when a worker's heart has been still for the lease, everything it held runs elsewhere within
//! about a second; what a leaving worker hands back is claimed as soon as it says goodbye. Never touches
//! the entries of a consumer whose heart still beats, nor anything while the queue is paused. Deliveries to us whose reply
//! was lost are handed back, soon where a read failed lately.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use crate::{
    broker::{BrokerError, BrokerErrorKind, Held, MAX_PER_SCRIPT, Reclaimed, warn_unless_silent},
    cycles::Cycle,
    executor::{Executor, Origin},
    gate::Gate,
    holding::Holding,
    shutdown::Shutdown,
    slots::Slots,
    telemetry::metrics,
};

pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// How old a delivery is that nobody here knows before its reply counts as lost, while there is doubt.
const DOUBTFUL: Duration = Duration::from_secs(1);

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
    pub(crate) cycle: Cycle,
}

impl<C: Send + Sync + 'static> Reclaimer<C> {
    /// Ends when told to stop.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let mut strays_due = Instant::now() + self.lease;
        let mut unfinished = false;
        let mut idle = Idle::default();
        while unfinished || shutdown.run_until_stopped(self.pause()).await.is_some() {
            let doubtful = self.holding.is_doubtful(Instant::now().into_std(), self.lease);
            if doubtful || Instant::now() >= strays_due {
                // Often enough that a lost reply costs little more than the lease by which it shows.
                strays_due = Instant::now() + self.lease / 5;
                let idle = if doubtful { DOUBTFUL.min(self.lease) } else { self.lease };
                if let Err(error) = self.release_strays(idle).await {
                    self.recover(&error).await;
                }
            }
            // After the strays: what was just handed back is claimed at once.
            unfinished = false;
            if !self.gate.is_closed() {
                match self.reclaim(&mut idle, &shutdown).await {
                    Ok(more) => unfinished = more,
                    Err(error) => self.recover(&error).await,
                }
            }
            self.cycle.completed();
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
    /// Looks up from a crowd that comes in small parts once in a while, true then: there may be strays to hand back.
    async fn reclaim(&self, idle: &mut Idle, shutdown: &Shutdown) -> Result<bool, BrokerError> {
        let partition = &self.holding.partition;
        if std::mem::take(&mut idle.must_list) {
            idle.names = partition.idle_consumers(self.lease).await?;
        }
        let begun = Instant::now();
        let turn = || shutdown.run_until_stopped(tokio::time::timeout(LOOK, self.slots.some(MAX_PER_SCRIPT)));
        while let Some(Ok(mut slots)) = turn().await {
            let limit = slots.len();
            let Reclaimed { entries: mut claimed, must_list } =
                partition.reclaim(&self.worker, self.lease, limit, &idle.some()).await?;
            idle.must_list |= must_list;
            // The last to begin is the first to have its turn alone: what kills its worker at once is among them.
            claimed.sort_by_key(|entry| Reverse(entry.id.place()));
            let n_claimed = claimed.len();
            if n_claimed == 0 {
                return Ok(false);
            }
            metrics::jobs_reclaimed(&partition.queue, n_claimed);
            tracing::info!(n_jobs = n_claimed, partition = %partition.tag, "claimed jobs of workers that died or left");
            for entry in claimed {
                let Some(slot) = slots.split() else {
                    self.executor.accept(&self.holding, entry, slots, Origin::Reclaimed);
                    break;
                };
                self.executor.accept(&self.holding, entry, slot, Origin::Reclaimed);
            }
            if begun.elapsed() > LOOK {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deliveries whose reply was lost on the way are ours and nobody works on them: anyone may claim them.
    ///
    /// None of them can be on its way to us still. Two roles read: the consumer, whose read under way brings nothing that
    /// was handed out before it began; and this one, which does one thing after the other and whose failed claims are given
    /// up by the connection too: a late reply is dropped there. What remains is a hand-back that the network holds up until
    /// we have claimed the same job again: then two run it, and one of them commits.
    async fn release_strays(&self, idle: Duration) -> Result<(), BrokerError> {
        let strays = self.holding.partition.strays(&self.worker, idle).await?;
        let now = Instant::now().into_std();
        let lost = strays.into_iter().filter(|stray| self.holding.lost(stray, now));
        let strays: Vec<Held> = lost.map(|stray| stray.held).collect();
        if strays.is_empty() {
            return Ok(());
        }
        tracing::warn!(n_jobs = strays.len(), partition = %self.holding.partition.tag, "the replies that brought these jobs were lost; handing them back");
        self.holding.partition.release(&self.worker, &strays).await.map(drop)
    }

    async fn recover(&self, error: &BrokerError) {
        metrics::role_failed("reclaimer");
        self.cycle.failed();
        if error.kind() == BrokerErrorKind::Unreachable {
            self.holding.doubt(Instant::now().into_std());
        }
        warn_unless_silent!(error, partition = %self.holding.partition.tag, "could not look for abandoned jobs; trying again");
        if error.kind() == BrokerErrorKind::NoGroup {
            drop(self.holding.partition.create_groups().await); // the next look says if that failed
        }
    }
}

/// Consumers of this partition that may be deleted, should they hold nothing still.
#[derive(Default)]
struct Idle {
    /// The longest idle last.
    names: Vec<String>,
    /// Whether it is this worker's turn to list them.
    must_list: bool,
}

impl Idle {
    /// As many as one call of the script takes.
    fn some(&mut self) -> Vec<String> {
        self.names.split_off(self.names.len().saturating_sub(MAX_PER_SCRIPT))
    }
}
