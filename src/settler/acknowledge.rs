//! The second half of a settlement: one script call per partition, for what is committed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Lane, pause, write};
use crate::{
    broker::{BrokerErrorKind, MAX_PER_SCRIPT, Settled, Settling, warn_unless_silent},
    holding::Holding,
    settlement::Settlement,
    telemetry::metrics,
};

/// How long a settlement waits that the server refused for want of memory.
const REFUSED: Duration = Duration::from_millis(500);

impl<C: Send + Sync + 'static> Lane<C> {
    /// Acknowledges what is committed, all partitions at the same time.
    pub(super) async fn acknowledge(self: &Arc<Self>, batch: Vec<Settlement>) {
        let begun = Instant::now();
        let n_jobs = batch.len();
        let by_partition = self.by_partition(&batch);
        drop(batch);
        futures::future::join_all(
            by_partition.into_iter().map(|(holding, settling)| self.acknowledge_in(holding, settling)),
        )
        .await;
        metrics::settle_step("acknowledge", n_jobs, begun.elapsed());
    }

    fn by_partition(&self, batch: &[Settlement]) -> Vec<(Arc<Holding>, Vec<Settling>)> {
        let mut writer = write::Writer::new(&self.context, &self.keys, self.inline_result_bytes, batch.len());
        let mut by_partition: Vec<(Arc<Holding>, Vec<Settling>)> = Vec::new(); // few: searched faster than hashed
        for settlement in batch {
            let holding = &settlement.delivery.holding;
            let settling = writer.settling(settlement);
            match by_partition.iter_mut().find(|(other, _)| Arc::ptr_eq(other, holding)) {
                Some((_, settlings)) => settlings.push(settling),
                None => by_partition.push((Arc::clone(holding), vec![settling])),
            }
        }
        by_partition
    }

    /// Every script call of a partition is on its way before the first is answered.
    async fn acknowledge_in(self: &Arc<Self>, holding: Arc<Holding>, mut settling: Vec<Settling>) {
        let mut calls = Vec::with_capacity(settling.len().div_ceil(MAX_PER_SCRIPT));
        while !settling.is_empty() {
            let rest = settling.split_off(settling.len().min(MAX_PER_SCRIPT));
            calls.push(self.settle_some(&holding, std::mem::replace(&mut settling, rest)));
        }
        let refused = futures::future::join_all(calls).await.concat();
        if !refused.is_empty() {
            self.settle_later(Arc::clone(&holding), refused);
        }
    }

    /// Settles what the server refused in a task of its own: others can still settle, and thereby free memory.
    fn settle_later(self: &Arc<Self>, holding: Arc<Holding>, mut refused: Vec<Settling>) {
        metrics::settled("refused", refused.len());
        tracing::error!(n_jobs = refused.len(), partition = %holding.partition.tag, "Dragonfly's memory is full: retries and dead letters wait, nothing is lost");
        let lane = Arc::clone(self);
        drop(self.shutdown.spawn(async move {
            while !refused.is_empty() && lane.shutdown.run_until_expired(tokio::time::sleep(REFUSED)).await.is_some() {
                let mut still = Vec::new();
                for some in refused.chunks(MAX_PER_SCRIPT) {
                    still.extend(lane.settle_some(&holding, some.to_vec()).await);
                }
                refused = still;
            }
        }));
    }

    /// Settles at most 128; gives those that were refused for want of memory.
    async fn settle_some(&self, holding: &Holding, some: Vec<Settling>) -> Vec<Settling> {
        let Some(verdicts) = self.ask(holding, &some).await else {
            return Vec::new();
        };
        let mut refused = Vec::new();
        for (settling, verdict) in some.into_iter().zip(&verdicts) {
            if *verdict == Settled::Refused {
                refused.push(settling);
            } else {
                holding.put_down(&settling.held);
            }
        }
        let count = |wanted| verdicts.iter().filter(|&&verdict| verdict == wanted).count();
        metrics::settled("settled", count(Settled::Done));
        metrics::settled("not_owned", count(Settled::NotOwned));
        refused
    }

    /// Asks until the server answers; none when the drain deadline passed first.
    async fn ask(&self, holding: &Holding, some: &[Settling]) -> Option<Vec<Settled>> {
        let channel = self.keys.done_channel(&holding.partition.queue);
        for n_failures in 0.. {
            match holding.partition.settle(&self.context, &channel, some).await {
                Ok(verdicts) => return Some(verdicts),
                Err(error) => {
                    metrics::role_failed("settler");
                    warn_unless_silent!(error, n_jobs = some.len(), partition = %holding.partition.tag, "could not acknowledge; trying again");
                    if error.kind() == BrokerErrorKind::NoGroup {
                        drop(holding.partition.create_groups().await); // the next try says if that failed
                    }
                    self.shutdown.run_until_expired(tokio::time::sleep(pause(n_failures))).await?;
                }
            }
        }
        None
    }
}
