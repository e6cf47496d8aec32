//! Takes deliveries in: admits them, looks for a result that an earlier delivery left, has them run.

use std::{collections::HashMap, sync::Arc, time::Instant};

use tokio::sync::mpsc;

use crate::{
    admission::{Admitted, Limits, admit},
    broker::{Entry, Held},
    collector::Collector,
    completion::Timings,
    finder::Finder,
    holding::Holding,
    job::Kind,
    registry::Registry,
    retry::RetryTable,
    runner::{Ready, Runner},
    settlement::{Delivery, Settlement, Suspicion, Verdict},
    slots::Slot,
    store::{Store, StoredResult},
};

/// Where an entry came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Read from its stream for the first time.
    Fresh,
    /// Claimed from a worker that died or left: it may have been settled half-way.
    Reclaimed,
}

/// Takes in the deliveries of one queue.
pub(crate) struct Executor<C> {
    runner: Arc<Runner<C>>,
    registry: Arc<Registry<C>>,
    limits: Limits,
    finder: Finder,
    batches: HashMap<Kind, mpsc::Sender<Ready<C>>>,
}

impl<C: Send + Sync + 'static> Executor<C> {
    /// Starts the collectors of the batch kinds.
    pub(crate) fn start(runner: Arc<Runner<C>>, registry: Arc<Registry<C>>, limits: Limits, store: Store) -> Arc<Self> {
        let mut batches = HashMap::new();
        for spec in registry.specs() {
            if let Some((max_batch, linger)) = spec.batch {
                let (sender, jobs) = mpsc::channel(max_batch);
                let collector = Collector { runner: Arc::clone(&runner), jobs, max_batch, linger };
                drop(runner.shutdown.spawn(collector.run()));
                batches.insert(spec.kind.clone(), sender);
            }
        }
        let finder = Finder::start(store, &runner.shutdown);
        Arc::new(Self { runner, registry, limits, finder, batches })
    }

    /// Takes an entry in; it goes its way in a task of its own.
    pub(crate) fn accept(self: &Arc<Self>, holding: &Arc<Holding>, entry: Entry, slot: Slot, origin: Origin) {
        if !holding.receive(Held { priority: entry.priority, entry: entry.id.clone() }) {
            return; // already in hand: claimed anew by ourselves
        }
        let (executor, holding) = (Arc::clone(self), Arc::clone(holding));
        // Boxed, for a task is handed on from layer to layer until it runs, and this one is large.
        let process = Box::pin(async move { executor.process(holding, entry, slot, origin).await });
        drop(self.runner.shutdown.spawn(process));
    }

    async fn process(&self, holding: Arc<Holding>, entry: Entry, slot: Slot, origin: Origin) {
        let claimed = Instant::now();
        let (delivery, admitted) = admit(&holding, entry, &self.registry, (&self.limits, self.runner.clock.now_ms()));
        // The journal's relay, or a server restored from a snapshot, may bring a job that is settled already.
        if origin == Origin::Reclaimed || delivery.envelope.options.journaled {
            match Box::pin(self.known(&delivery)).await {
                Known::Result(stored) => return Box::pin(self.settle(delivery, Verdict::Known(stored))).await,
                Known::Unasked => return Box::pin(self.runner.release(delivery)).await,
                Known::Nothing => {}
            }
        }
        match admitted {
            Admitted::Settle(verdict) => Box::pin(self.settle(delivery, verdict)).await,
            Admitted::Run(handler, payload) => {
                self.start_one(Ready { delivery, handler, payload, slot: Some(slot) }, claimed).await
            }
        }
    }

    async fn start_one(&self, ready: Ready<C>, claimed: Instant) {
        let ready = match ready.delivery.suspicion() {
            Suspicion::None => ready,
            Suspicion::Slight => {
                let patience = ready.delivery.holding.patience(claimed).into();
                let Some(ready) = Box::pin(self.runner.run_in_turn(ready, patience)).await else { return };
                ready
            }
            Suspicion::Grave => return Box::pin(self.runner.run_alone(ready)).await,
        };
        match self.batches.get(&ready.delivery.envelope.kind) {
            Some(batch) => drop(batch.send(ready).await),
            None => self.runner.run(ready).await,
        }
    }

    async fn settle(&self, delivery: Box<Delivery>, verdict: Verdict) {
        let now_ms = self.runner.clock.now_ms();
        let timings = Timings { queued_ms: delivery.queued_ms, started_ms: 0, finished_ms: now_ms };
        if let Verdict::Dead(status, error) = &verdict {
            tracing::warn!(job.id = %delivery.envelope.id, status = status.as_str(), class = error.class, reason = error.chain.first(), "a job cannot be run");
        }
        self.runner.settle(Settlement { delivery, retry: RetryTable::NEVER, timings, verdict }).await;
    }

    /// The result that an earlier delivery committed; asks until Postgres answers or we stop.
    async fn known(&self, delivery: &Delivery) -> Known {
        match self.runner.shutdown.run_until_stopped(self.finder.find(delivery.envelope.id)).await.flatten() {
            Some(Some(stored)) => Known::Result(stored),
            Some(None) => Known::Nothing,
            None => Known::Unasked,
        }
    }
}

enum Known {
    Result(StoredResult),
    Nothing,
    Unasked,
}
