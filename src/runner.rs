//! Runs handlers: with a time limit, catching panics, and sends what they said to the settler.
//!
//! Promise: a job's slot is held until its settlement is on its way, so that intake stops when settling
//! stops; a handler cut short by the drain deadline costs no attempt; once the queue is paused nothing begins.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::FutureExt;
use tokio::sync::mpsc;
use tracing::Instrument;

use crate::{
    cancellations::Cancellations,
    clock::ServerClock,
    completion::Timings,
    gate::Gate,
    handler::{Attempt, Handler, Outcomes, Payload, Produced},
    outcome::JobError,
    reporter::{Reporter, Reports},
    retry::RetryTable,
    settlement::{Circumstance, Delivery, Settlement, SharedBudget, Verdict, after_failure},
    shutdown::Shutdown,
    slots::{Slot, Slots},
    telemetry::metrics,
};

/// A delivery ready to run.
pub(crate) struct Ready<C> {
    pub(crate) delivery: Box<Delivery>,
    pub(crate) handler: Arc<dyn Handler<C>>,
    pub(crate) payload: Payload,
    /// One of the queue's slots, or all of them.
    pub(crate) slot: Option<Slot>,
}

/// Runs the jobs of one queue.
pub(crate) struct Runner<C> {
    pub(crate) context: Arc<C>,
    pub(crate) slots: Slots,
    pub(crate) gate: Arc<Gate>,
    pub(crate) cancellations: Arc<Cancellations>,
    pub(crate) settler: mpsc::Sender<Settlement>,
    pub(crate) clock: Arc<ServerClock>,
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) worker: Arc<str>,
    pub(crate) budget: Arc<SharedBudget>,
    pub(crate) shutdown: Shutdown,
    pub(crate) meters: metrics::JobMeters,
}

impl<C: Send + Sync + 'static> Runner<C> {
    /// Runs one job.
    pub(crate) async fn run(&self, ready: Ready<C>) {
        self.run_together(vec![ready]).await;
    }

    /// Runs one job that is suspected of its worker's death, nothing else of its queue beside it.
    pub(crate) async fn run_alone(&self, mut ready: Ready<C>) {
        drop(ready.slot.take());
        let Some(all) = self.shutdown.run_until_stopped(self.slots.all()).await else {
            return self.release(&ready.delivery).await;
        };
        ready.slot = Some(all);
        let Delivery { holding, held, .. } = &*ready.delivery;
        if let Err(error) = holding.partition.begin_alone(held).await {
            metrics::role_failed("runner");
            tracing::warn!(%error, "could not note that a suspected job runs alone; handing it back");
            return self.release(&ready.delivery).await;
        }
        self.run_together(vec![ready]).await;
    }

    /// Runs jobs of one kind as a batch.
    pub(crate) async fn run_together(&self, jobs: Vec<Ready<C>>) {
        if self.shutdown.is_stopping() || self.gate.is_closed() {
            return self.release_all(jobs).await;
        }
        let jobs = self.without_cancelled(jobs).await;
        let Some(handler) = jobs.first().map(|job| Arc::clone(&job.handler)) else { return };
        let started_ms = self.clock.now_ms();
        let timeout = timeout(&jobs, handler.spec().timeout);
        let (payloads, deliveries): (Vec<_>, Vec<_>) = jobs.into_iter().map(|job| self.attempt(job)).unzip();
        let span = tracing::info_span!("job", kind = %handler.spec().kind, n_jobs = deliveries.len(), id = %deliveries[0].0.envelope.id);
        let guarded = guard(handler.run(payloads).instrument(span), timeout);
        let guarded = self.unless_cancelled(guarded, &deliveries);
        let Some(outcomes) = self.shutdown.run_until_expired(guarded).await else {
            for (delivery, _) in &deliveries {
                self.abandon(delivery).await;
            }
            return;
        };
        self.conclude(handler.spec().retry, started_ms, outcomes, deliveries).await;
    }

    /// Jobs whose cancellation was heard before they began are settled instead of run.
    async fn without_cancelled(&self, jobs: Vec<Ready<C>>) -> Vec<Ready<C>> {
        let (cancelled, jobs): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| self.cancellations.has(job.delivery.envelope.id));
        for Ready { delivery, handler, .. } in cancelled {
            let now_ms = self.clock.now_ms();
            let timings = Timings { queued_ms: delivery.queued_ms, started_ms: 0, finished_ms: now_ms };
            let retry = handler.spec().retry;
            self.settle(Settlement { delivery, retry, timings, verdict: Verdict::Cancelled }).await;
        }
        jobs
    }

    /// Runs a handler until it ends, or until its one job is cancelled; a batch goes on for the others' sake.
    async fn unless_cancelled(
        &self,
        guarded: impl Future<Output = Result<Outcomes, Failure>>,
        deliveries: &[(Box<Delivery>, Option<Slot>)],
    ) -> Result<Outcomes, Failure> {
        let [(only, _)] = deliveries else { return guarded.await };
        tokio::select! {
            biased;
            outcomes = guarded => outcomes,
            () = self.cancellations.of(only.envelope.id) => Err(Failure::Cancelled),
        }
    }

    fn attempt(&self, ready: Ready<C>) -> ((Payload, Attempt<C>), (Box<Delivery>, Option<Slot>)) {
        let Ready { delivery, payload, slot, .. } = ready;
        let options = &delivery.envelope.options;
        let attempt = Attempt {
            id: delivery.envelope.id,
            number: delivery.attempt(),
            user_id: options.user_id.clone(),
            n_redriven: options.n_redriven,
            traceparent: options.traceparent.clone(),
            context: Arc::clone(&self.context),
            reports: Reports {
                reporter: Arc::clone(&self.reporter),
                tag: delivery.holding.partition.tag.clone(),
                last: Mutex::default(),
            },
        };
        ((payload, attempt), (delivery, slot))
    }

    async fn conclude(
        &self,
        retry: RetryTable,
        started_ms: u64,
        outcomes: Result<Outcomes, Failure>,
        deliveries: Vec<(Box<Delivery>, Option<Slot>)>,
    ) {
        let finished_ms = self.clock.now_ms();
        let mut outcomes = fan_out(outcomes, deliveries.len()).into_iter();
        for (delivery, slot) in deliveries {
            let outcome = outcomes.next().unwrap_or_else(|| Err(Failure::Short.into_error()));
            let timings = Timings { queued_ms: delivery.queued_ms, started_ms, finished_ms };
            let waited = Duration::from_millis(started_ms.saturating_sub(delivery.queued_ms));
            let ran = Duration::from_millis(finished_ms.saturating_sub(started_ms));
            self.meters.ran(&delivery.envelope.kind, waited, ran);
            self.acquit(&delivery).await;
            let verdict = match outcome {
                _ if self.cancellations.has(delivery.envelope.id) => Verdict::Cancelled,
                Ok(produced) => {
                    self.budget.succeeded();
                    Verdict::Done(produced)
                }
                Err(error) => self.failed(&error, &delivery, &retry),
            };
            self.settle(Settlement { delivery, retry, timings, verdict }).await;
            drop(slot);
        }
    }

    fn failed(&self, error: &JobError, delivery: &Delivery, retry: &RetryTable) -> Verdict {
        let at = Circumstance {
            queue: &delivery.holding.partition.queue,
            budget: &self.budget,
            now_ms: self.clock.now_ms(),
            worker: &self.worker,
            chance: fastrand::f64(),
        };
        let verdict = after_failure(error, &delivery.envelope.options, retry, &at);
        tracing::info!(job.id = %delivery.envelope.id, job.kind = %delivery.envelope.kind, attempt = delivery.attempt(), outcome = verdict.outcome(), ?error, "an attempt failed");
        verdict
    }

    /// Sends a settlement on its way; waits while the settler is behind.
    pub(crate) async fn settle(&self, settlement: Settlement) {
        self.meters.finished(&settlement.delivery.envelope.kind, settlement.verdict.outcome());
        // The settler outlives every runner; were it gone, the delivery would be claimed once our heart stops.
        drop(self.settler.send(settlement).await);
    }

    /// A suspected job whose handler came back did not kill its worker, whoever kills it before this is settled.
    async fn acquit(&self, delivery: &Delivery) {
        if delivery.runs_alone() && delivery.holding.partition.forget_alone(&delivery.held).await.is_err() {
            metrics::role_failed("runner");
        }
    }

    /// Hands back a delivery whose handler was cut short.
    async fn abandon(&self, delivery: &Delivery) {
        metrics::job_finished(&delivery.envelope.kind, "abandoned");
        self.acquit(delivery).await;
        self.release(delivery).await;
    }

    /// Hands a delivery back unstarted: any worker may claim it at once.
    pub(crate) async fn release(&self, delivery: &Delivery) {
        let Delivery { holding, held, .. } = delivery;
        match holding.partition.release(&self.worker, std::slice::from_ref(held)).await {
            Ok(n_released) => metrics::jobs_released(&holding.partition.queue, n_released),
            Err(error) => {
                metrics::role_failed("runner");
                tracing::warn!(%error, job.id = %delivery.envelope.id, "could not hand a job back; it is claimed once this worker's heart has stopped");
            }
        }
        holding.put_down(held);
    }

    async fn release_all(&self, jobs: Vec<Ready<C>>) {
        for job in jobs {
            self.release(&job.delivery).await;
        }
    }
}

/// The tightest of the kind's limit and the jobs' own.
fn timeout<C>(jobs: &[Ready<C>], of_kind: Duration) -> Duration {
    let own = jobs.iter().filter_map(|job| job.delivery.envelope.options.timeout_ms);
    own.map(Duration::from_millis).min().map_or(of_kind, |own| own.min(of_kind))
}

/// Why a handler gave no outcome.
#[derive(Clone)]
enum Failure {
    TimedOut(Duration),
    Panicked(String),
    Cancelled,
    Short,
}

impl Failure {
    fn into_error(self) -> JobError {
        match self {
            Self::TimedOut(limit) => JobError::retry(format!("still running after {limit:?}")).class("timeout"),
            Self::Panicked(message) => JobError::retry(format!("panicked: {message}")).class("panic"),
            Self::Cancelled => JobError::retry("cancelled while it ran").class("cancelled"),
            Self::Short => JobError::retry("the batch gave fewer outcomes than it got jobs").class("panic"),
        }
    }
}

async fn guard(run: impl Future<Output = Outcomes>, limit: Duration) -> Result<Outcomes, Failure> {
    match tokio::time::timeout(limit, AssertUnwindSafe(run).catch_unwind()).await {
        Ok(Ok(outcomes)) => Ok(outcomes),
        Ok(Err(panic)) => Err(Failure::Panicked(message(&*panic))),
        Err(_) => Err(Failure::TimedOut(limit)),
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// One outcome a job: a failure of the whole batch is every job's.
fn fan_out(outcomes: Result<Outcomes, Failure>, n_jobs: usize) -> Vec<Result<Produced, JobError>> {
    match outcomes {
        Ok(outcomes) => outcomes,
        Err(failure) => (0..n_jobs).map(|_| Err(failure.clone().into_error())).collect(),
    }
}
