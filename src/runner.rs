//! Runs handlers: with a time limit, catching panics, and sends what they said to the settler.
//!
//! Promise: a job's slot is held until its settlement is on its way, so that intake stops when settling
//! stops; a handler cut short by the drain deadline costs no attempt; once the queue is paused nothing begins. A job is
//! never noted as running alone while it does not.

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::FutureExt;
use tokio::{sync::mpsc, time::Instant};
use tracing::Instrument;

use crate::{
    broker::warn_unless_silent,
    cancellations::Cancellations,
    clock::ServerClock,
    completion::Timings,
    gate::Gate,
    handler::{Attempt, Handler, Outcomes, Payload, Produced},
    job::JobId,
    outcome::JobError,
    reporter::{Reporter, Reports},
    retry::RetryTable,
    settlement::{Circumstance, Delivery, Settlement, SharedBudget, Verdict, after_failure},
    shutdown::Shutdown,
    slots::{Slot, Slots},
    solitude::Solitude,
    telemetry::metrics,
};

/// How long a job that saw one worker die is alone: what kills later than that is not told from a worker that is killed
/// from outside. The longer, the more often a job is convicted that ran alone by chance at the moment of such a kill.
const TURN: Duration = Duration::from_millis(25);

/// The pause before the server is asked again to take a note back.
const AGAIN: Duration = Duration::from_millis(500);

/// A delivery ready to run.
pub(crate) struct Ready<C> {
    pub(crate) delivery: Box<Delivery>,
    pub(crate) handler: Arc<dyn Handler<C>>,
    pub(crate) payload: Payload,
    /// One of the queue's slots, or all of them.
    pub(crate) slot: Option<Slot>,
}

/// A delivery that runs, and its slot.
type InHand = (Box<Delivery>, Option<Slot>);

/// Runs the jobs of one queue.
pub(crate) struct Runner<C> {
    pub(crate) context: Arc<C>,
    pub(crate) slots: Slots,
    pub(crate) solitude: Solitude,
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

    /// Runs one job that saw several workers die, nothing else of its queue beside it.
    pub(crate) async fn run_alone(&self, mut ready: Ready<C>) {
        drop(ready.slot.take());
        let Some(all) = self.shutdown.run_until_stopped(self.slots.all()).await else {
            return self.release(ready.delivery).await;
        };
        ready.slot = Some(all);
        if let Some(ready) = self.noted(ready).await {
            self.run_together(vec![ready]).await;
        }
    }

    /// Runs one job that saw one worker die: alone in this worker for a moment, then in company. What kills at once is
    /// convicted so, without a third worker. Gives the job back, with a slot, when its turn did not come in time.
    pub(crate) async fn run_in_turn(&self, mut ready: Ready<C>, patience: Instant) -> Option<Ready<C>> {
        if patience <= Instant::now() {
            return Some(ready); // its turn cannot come in time: it keeps its slot
        }
        drop(ready.slot.take());
        let turn = self.solitude.alone_or_one(&self.slots, tokio::time::sleep_until(patience));
        let Some(slot) = self.shutdown.run_until_stopped(turn).await else {
            self.release(ready.delivery).await;
            return None;
        };
        let is_alone = slot.is_alone();
        ready.slot = Some(slot);
        if !is_alone {
            return Some(ready);
        }
        let ready = self.noted(ready).await?;
        self.run_jobs(vec![ready], Some(Instant::now() + TURN)).await;
        None
    }

    /// The server has noted that a job runs alone; else it is not run here.
    async fn noted(&self, mut ready: Ready<C>) -> Option<Ready<C>> {
        let Delivery { holding, held, deaths, .. } = &*ready.delivery;
        // Boxed, here and below: it is rare, and no job's future shall be as large as that.
        let noted = Box::pin(holding.partition.begin_alone(&self.worker, held, *deaths)).await;
        ready.delivery.noted_alone = !matches!(noted, Ok(false));
        match noted {
            Ok(true) => return Some(ready),
            Ok(false) => {}
            Err(error) => {
                metrics::role_failed("runner");
                warn_unless_silent!(error, "could not note that a suspected job runs alone; handing it back");
            }
        }
        self.release(ready.delivery).await;
        None
    }

    /// Runs jobs of one kind as a batch.
    pub(crate) async fn run_together(&self, jobs: Vec<Ready<C>>) {
        self.run_jobs(jobs, None).await;
    }

    /// `shares_at`: when a job that runs alone begins to share.
    async fn run_jobs(&self, jobs: Vec<Ready<C>>, shares_at: Option<Instant>) {
        if self.shutdown.is_stopping() || self.gate.is_closed() {
            return Box::pin(self.release_all(jobs)).await;
        }
        let jobs = self.without_cancelled(jobs).await;
        let Some(handler) = jobs.first().map(|job| Arc::clone(&job.handler)) else { return };
        let started_ms = self.clock.now_ms();
        let timeout = timeout(&jobs, handler.spec().timeout);
        let (payloads, mut deliveries): (Vec<_>, Vec<_>) = jobs.into_iter().map(|job| self.attempt(job)).unzip();
        let span = tracing::info_span!("job", kind = %handler.spec().kind, n_jobs = deliveries.len(), id = %deliveries[0].0.envelope.id);
        // Pinned one by one: handed over by value, each would stand twice in every job's future.
        let guarded = pin!(guard(handler.run(payloads).instrument(span), timeout));
        let only = only(&deliveries).map(|delivery| delivery.envelope.id);
        let guarded = pin!(self.unless_cancelled(guarded, only));
        let outcomes = self.while_sharing(guarded, &mut deliveries, shares_at);
        let Some(outcomes) = self.shutdown.run_until_expired(pin!(outcomes)).await else {
            return Box::pin(self.abandon_all(deliveries)).await;
        };
        self.conclude(handler.spec().retry, started_ms, outcomes, deliveries).await;
    }

    /// Jobs whose cancellation was heard before they began are settled instead of run.
    async fn without_cancelled(&self, jobs: Vec<Ready<C>>) -> Vec<Ready<C>> {
        if !self.cancellations.any() {
            return jobs;
        }
        let (cancelled, jobs): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| self.cancellations.has(job.delivery.envelope.id));
        for Ready { delivery, handler, .. } in cancelled {
            let now_ms = self.clock.now_ms();
            let timings = Timings { queued_ms: delivery.queued_ms, started_ms: 0, finished_ms: now_ms };
            let retry = handler.spec().retry;
            Box::pin(self.settle(Settlement { delivery, retry, timings, verdict: Verdict::Cancelled })).await;
        }
        jobs
    }

    /// Runs a handler until it ends, or until its one job is cancelled; a batch goes on for the others' sake.
    async fn unless_cancelled(
        &self,
        guarded: impl Future<Output = Result<Outcomes, Failure>>,
        only: Option<JobId>,
    ) -> Result<Outcomes, Failure> {
        let Some(only) = only else { return guarded.await };
        tokio::select! {
            biased;
            outcomes = guarded => outcomes,
            () = self.cancellations.of(only) => Err(Failure::Cancelled),
        }
    }

    /// Runs a handler until it ends; one that runs alone lets others run beside it from that moment on.
    async fn while_sharing(
        &self,
        guarded: impl Future<Output = Result<Outcomes, Failure>>,
        deliveries: &mut [InHand],
        shares_at: Option<Instant>,
    ) -> Result<Outcomes, Failure> {
        let ([(delivery, Some(slot))], Some(shares_at)) = (deliveries, shares_at) else { return guarded.await };
        let share = Box::pin(async {
            tokio::time::sleep_until(shares_at).await;
            // First the note, then the company: a death in between is one in company that nobody else had a part in.
            // As long as the note cannot be taken back it stays alone.
            while !self.acquit(delivery).await {
                tokio::time::sleep(AGAIN).await;
            }
            slot.share();
        });
        let mut guarded = pin!(guarded);
        tokio::select! {
            biased;
            outcomes = &mut guarded => return outcomes,
            () = share => {}
        }
        guarded.await
    }

    fn attempt(&self, ready: Ready<C>) -> ((Payload, Attempt<C>), InHand) {
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
        deliveries: Vec<InHand>,
    ) {
        let finished_ms = self.clock.now_ms();
        let mut outcomes = fan_out(outcomes, deliveries.len()).into_iter();
        for (mut delivery, slot) in deliveries {
            let outcome = outcomes.next().unwrap_or_else(|| Err(Failure::Short.into_error()));
            let timings = Timings { queued_ms: delivery.queued_ms, started_ms, finished_ms };
            let waited = Duration::from_millis(started_ms.saturating_sub(delivery.queued_ms));
            let ran = Duration::from_millis(finished_ms.saturating_sub(started_ms));
            self.meters.ran(&delivery.envelope.kind, waited, ran);
            self.acquit(&mut delivery).await;
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

    /// A suspected job that runs alone no more did not kill its worker, whoever kills it before this is settled. False
    /// when the server could not be told.
    async fn acquit(&self, delivery: &mut Delivery) -> bool {
        let Delivery { holding, held, deaths, .. } = delivery;
        if delivery.noted_alone {
            let forgotten = Box::pin(holding.partition.forget_alone(&self.worker, held, *deaths)).await;
            delivery.noted_alone = forgotten.is_err();
        }
        if delivery.noted_alone {
            metrics::role_failed("runner");
        }
        !delivery.noted_alone
    }

    /// Hands back deliveries whose handler was cut short.
    async fn abandon_all(&self, deliveries: Vec<InHand>) {
        for (delivery, _) in deliveries {
            metrics::job_finished(&delivery.envelope.kind, "abandoned");
            self.release(delivery).await;
        }
    }

    /// Hands a delivery back: any worker may claim it at once.
    pub(crate) async fn release(&self, mut delivery: Box<Delivery>) {
        // With the note, it would look as if its worker had died.
        while !self.acquit(&mut delivery).await {
            if self.shutdown.run_until_expired(tokio::time::sleep(AGAIN)).await.is_none() {
                break;
            }
        }
        let Delivery { holding, held, .. } = &*delivery;
        match holding.partition.release(&self.worker, std::slice::from_ref(held)).await {
            Ok(n_released) => metrics::jobs_released(&holding.partition.queue, n_released),
            Err(error) => {
                metrics::role_failed("runner");
                warn_unless_silent!(error, job.id = %delivery.envelope.id, "could not hand a job back; it is claimed once this worker's heart has stopped");
            }
        }
        holding.put_down(held);
    }

    async fn release_all(&self, jobs: Vec<Ready<C>>) {
        for job in jobs {
            self.release(job.delivery).await;
        }
    }
}

/// The delivery of a batch of one.
fn only(deliveries: &[InHand]) -> Option<&Delivery> {
    let [(only, _)] = deliveries else { return None };
    Some(only)
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
