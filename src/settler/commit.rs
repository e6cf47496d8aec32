//! The first half of a settlement: one Postgres transaction for the whole batch.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;

use super::{Lane, NOT_POISONED, pause, write};
use crate::{
    handler::{Handler, Produced},
    job::{JobId, Kind},
    outcome::JobError,
    registry::Found,
    settlement::{Circumstance, Settlement, Verdict, after_failure},
    store::{ResultRow, Results, StoreError, StoreErrorKind, Tx},
    telemetry::metrics,
};

impl<C: Send + Sync + 'static> Lane<C> {
    /// Commits what has to be committed; gives what may be acknowledged now.
    pub(super) async fn commit(&self, batch: Vec<Settlement>) -> Vec<Settlement> {
        let mut batch = self.still_ours(batch).await;
        for settlement in &mut batch {
            if !matches!(settlement.verdict, Verdict::Known(_))
                && self.cancellations.has(settlement.delivery.envelope.id)
            {
                settlement.verdict = Verdict::Cancelled;
            }
        }
        let begun = Instant::now();
        if batch.iter().any(needs_commit) && self.commit_all(&mut batch).await.is_err() {
            for settlement in &batch {
                settlement.delivery.holding.put_down(&settlement.delivery.held);
            }
            return Vec::new();
        }
        metrics::settle_step("commit", batch.len(), begun.elapsed());
        batch
    }

    /// Where our heart was not heard lately, somebody may have claimed our deliveries: asks the server which are ours.
    async fn still_ours(&self, batch: Vec<Settlement>) -> Vec<Settlement> {
        let now = Instant::now();
        let (mut ours, stale): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .partition(|Settlement { delivery, .. }| delivery.holding.is_fresh(&delivery.held, now, self.lease));
        let mut owned = HashSet::new();
        let mut asked = HashSet::new();
        for settlement in &stale {
            let holding = &settlement.delivery.holding;
            if asked.insert(holding.partition.tag.clone()) {
                let Some(held) = self.ask_owned(holding).await else { continue };
                owned.extend(held.into_iter().map(|held| (holding.partition.tag.clone(), held)));
            }
        }
        for settlement in stale {
            let delivery = &settlement.delivery;
            if owned.contains(&(delivery.holding.partition.tag.clone(), delivery.held.clone())) {
                ours.push(settlement);
            } else {
                tracing::warn!(job.id = %delivery.envelope.id, "this worker's lease ran out and the job is somebody else's now: its outcome is dropped");
                metrics::settled("not_owned", 1);
                delivery.holding.put_down(&delivery.held);
            }
        }
        ours
    }

    async fn ask_owned(&self, holding: &crate::holding::Holding) -> Option<Vec<crate::broker::Held>> {
        for n_failures in 0.. {
            match holding.partition.strays(&self.context.consumer, Duration::ZERO).await {
                Ok(held) => return Some(held.into_iter().map(|stray| stray.held).collect()),
                Err(error) if error.kind() == crate::broker::BrokerErrorKind::Unreachable => {
                    metrics::role_failed("settler");
                    self.shutdown.run_until_expired(tokio::time::sleep(pause(n_failures))).await?;
                }
                Err(_) => return None, // the stream is gone, and what we owned with it
            }
        }
        None
    }

    /// Commits a batch; outages are waited out, a batch with a bad row is halved until the row stands alone.
    fn commit_all<'a>(&'a self, batch: &'a mut [Settlement]) -> BoxFuture<'a, Result<(), GivenUp>> {
        Box::pin(async move {
            for n_failures in 0.. {
                let Err(error) = self.commit_once(batch).await else { return Ok(()) };
                if error.kind() == StoreErrorKind::Data {
                    return self.halve(batch, &error).await;
                }
                metrics::role_failed("settler");
                tracing::warn!(%error, n_jobs = batch.len(), "could not commit results; they wait");
                let waited = self.shutdown.run_until_expired(tokio::time::sleep(pause(n_failures))).await;
                waited.ok_or(GivenUp)?;
            }
            Ok(())
        })
    }

    async fn halve(&self, batch: &mut [Settlement], error: &StoreError) -> Result<(), GivenUp> {
        if let [single] = batch {
            let at = Circumstance {
                queue: &single.delivery.holding.partition.queue,
                budget: &self.budget,
                now_ms: self.clock.now_ms(),
                worker: &self.context.consumer,
                chance: fastrand::f64(),
            };
            tracing::error!(job.id = %single.delivery.envelope.id, %error, "Postgres refuses this job's rows");
            let refused = JobError::retry(format!("Postgres refuses its rows: {error}")).class("rows");
            single.verdict = after_failure(&refused, &single.delivery.envelope.options, &single.retry, &at);
            return if needs_commit(single) && !matches!(single.verdict, Verdict::Done(_)) {
                self.commit_all(batch).await
            } else {
                Ok(())
            };
        }
        let (left, right) = batch.split_at_mut(batch.len() / 2);
        self.commit_all(left).await?;
        self.commit_all(right).await
    }

    async fn commit_once(&self, batch: &mut [Settlement]) -> Result<(), StoreError> {
        if batch.iter().all(is_plain) && self.commit_plain(batch).await? {
            return Ok(());
        }
        let mut tx = self.store.begin().await?;
        let mut conflicting = self.write_results(batch, &mut tx).await?;
        conflicting.extend(bury(batch, &mut tx).await?);
        let journaled: Vec<JobId> = batch.iter().filter_map(leaves_the_journal).collect();
        if !journaled.is_empty() {
            tx.unjournal(&journaled).await?;
        }
        tx.commit().await?;
        let taken_back = batch.iter().enumerate().filter(|(_, one)| matches!(one.verdict, Verdict::Cancelled));
        conflicting.extend(taken_back.map(|(place, _)| place));
        self.adopt(batch, &conflicting).await
    }

    /// Commits results that have no rows beside them; false when another delivery has left a result for one of the jobs.
    async fn commit_plain(&self, batch: &[Settlement]) -> Result<bool, StoreError> {
        let rows: Vec<ResultRow<'_>> = batch.iter().filter_map(write::result_row).collect();
        match self.results(batch, &rows) {
            Some(results) => self.insert_new(results).await,
            None => Ok(true),
        }
    }

    /// Over a connection that a settlement before kept, where there is one.
    async fn insert_new(&self, results: Results<'_>) -> Result<bool, StoreError> {
        let kept = self.kept.lock().expect(NOT_POISONED).as_mut().and_then(Vec::pop);
        let mut connection = match kept {
            Some(kept) => kept,
            None => self.store.keep().await?,
        };
        let inserted = connection.insert_new_results(results).await?;
        if connection.is_fresh()
            && let Some(kept) = self.kept.lock().expect(NOT_POISONED).as_mut()
        {
            kept.push(connection);
        }
        Ok(inserted)
    }

    /// All outcomes that come here are of one queue; none when there are no rows.
    fn results<'a>(&'a self, batch: &'a [Settlement], rows: &'a [ResultRow<'a>]) -> Option<Results<'a>> {
        let queue = batch.first()?.delivery.holding.partition.queue.as_str();
        (!rows.is_empty()).then_some(Results { queue, worker: &self.context.consumer, rows })
    }

    /// Writes results and their rows; gives the places in the batch of jobs that have a result already.
    async fn write_results(&self, batch: &mut [Settlement], tx: &mut Tx) -> Result<Vec<usize>, StoreError> {
        let rows: Vec<ResultRow<'_>> = batch.iter().filter_map(write::result_row).collect();
        let Some(results) = self.results(batch, &rows) else { return Ok(Vec::new()) };
        let mut inserted = tx.insert_results(results).await?;
        let mut conflicting = Vec::new();
        let mut with_rows: BTreeMap<Kind, Vec<(JobId, &mut Produced)>> = BTreeMap::new();
        for (place, Settlement { delivery, verdict, .. }) in batch.iter_mut().enumerate() {
            let Verdict::Done(produced @ Produced { is_kept: true, .. }) = verdict else { continue };
            let id = delivery.envelope.id;
            // The same job twice in one batch: the first one's rows count.
            if !inserted.remove(&id) {
                conflicting.push(place);
                continue;
            }
            if produced.rows.is_some() {
                with_rows.entry(delivery.envelope.kind.clone()).or_default().push((id, produced));
            }
        }
        for (kind, outputs) in with_rows {
            let Found::Known(handler) = self.registry.find(&kind) else { continue };
            write_rows(handler, outputs, tx).await?;
        }
        Ok(conflicting)
    }

    /// A job that had a result already keeps it: the completion speaks of what is committed.
    async fn adopt(&self, batch: &mut [Settlement], conflicting: &[usize]) -> Result<(), StoreError> {
        if conflicting.is_empty() {
            return Ok(());
        }
        let ids: Vec<JobId> = conflicting.iter().map(|&place| batch[place].delivery.envelope.id).collect();
        let stored = self.store.results(&ids).await?;
        for (&place, id) in conflicting.iter().zip(&ids) {
            match stored.get(id) {
                Some(stored) => batch[place].verdict = Verdict::Known(stored.clone()),
                None if matches!(batch[place].verdict, Verdict::Cancelled) => self.cancellations.forget(*id),
                None => {}
            }
        }
        Ok(())
    }
}

/// Mirrors dead letters; gives the places in the batch of jobs that have a result already: done elsewhere, or cancelled.
async fn bury(batch: &[Settlement], tx: &mut Tx) -> Result<Vec<usize>, StoreError> {
    let dead: Vec<_> = batch.iter().filter_map(write::dead_row).collect();
    if dead.is_empty() {
        return Ok(Vec::new());
    }
    let buried = tx.bury(&dead).await?;
    let is_refused =
        |one: &Settlement| matches!(one.verdict, Verdict::Dead(..)) && !buried.contains(&one.delivery.envelope.id);
    Ok(batch.iter().enumerate().filter(|(_, one)| is_refused(one)).map(|(place, _)| place).collect())
}

async fn write_rows<C>(
    handler: Arc<dyn Handler<C>>,
    mut outputs: Vec<(JobId, &mut Produced)>,
    tx: &mut Tx,
) -> Result<(), StoreError> {
    let borrowed = outputs.iter_mut().map(|(id, produced)| (*id, &mut **produced)).collect();
    handler.write_rows(borrowed, tx).await?;
    let results: Vec<_> = outputs.iter().map(|(id, produced)| (*id, produced.result.clone())).collect();
    tx.complete_results(&results).await
}

fn needs_commit(settlement: &Settlement) -> bool {
    matches!(settlement.verdict, Verdict::Done(Produced { is_kept: true, .. }) | Verdict::Dead(..) | Verdict::Cancelled)
        || leaves_the_journal(settlement).is_some()
}

/// Its result's row, if it has one, is all that is to be written; the journal's row goes with that one.
fn is_plain(settlement: &Settlement) -> bool {
    match &settlement.verdict {
        Verdict::Done(Produced { rows: Some(_), .. }) | Verdict::Dead(..) | Verdict::Cancelled => false,
        Verdict::Done(Produced { is_kept: true, .. }) | Verdict::Retry(..) | Verdict::Snooze(_) => true,
        Verdict::Done(_) | Verdict::Known(_) => leaves_the_journal(settlement).is_none(),
    }
}

/// A journaled job that is settled for good: its row goes in the same transaction. One that runs again keeps it; that of
/// one that was cancelled is swept.
fn leaves_the_journal(settlement: &Settlement) -> Option<JobId> {
    let envelope = &settlement.delivery.envelope;
    let for_good = matches!(settlement.verdict, Verdict::Done(_) | Verdict::Known(_) | Verdict::Dead(..));
    (envelope.options.journaled && for_good).then_some(envelope.id)
}

/// The drain deadline passed before Postgres answered.
struct GivenUp;
