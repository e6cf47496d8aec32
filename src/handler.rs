//! What a job author writes: a payload type, what runs, and what rows its output writes.

use std::{any::Any, future::Future, marker::PhantomData, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    envelope::Envelope,
    job::{JobId, Kind, QueueName},
    outcome::JobError,
    reporter::Reports,
    retry::{RetryPolicy, RetryTable},
    store::{StoreError, Tx},
};

/// A job: its serialisable payload, a few constants and what it does.
pub trait Job: Serialize + DeserializeOwned + JsonSchema + Send + 'static {
    /// Its kind, such as `memory.add`.
    const KIND: &'static str;
    /// The queue it waits in.
    const QUEUE: QueueName;
    /// The longest that one attempt may run.
    const TIMEOUT: Duration = Duration::from_secs(60);
    /// When it is tried again.
    const RETRY: RetryPolicy = RetryPolicy::DEFAULT;
    /// When it is tried again after an error of a certain class; any other class goes by `RETRY`.
    const RETRIES: &'static [(&'static str, RetryPolicy)] = &[];
    /// What it needs to run: clients, settings.
    type Context: Send + Sync + 'static;
    /// What it gives.
    type Output: Output;

    /// Checks what the schema cannot say.
    ///
    /// # Errors
    /// What is wrong with which field, and what was expected.
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }

    /// Runs one attempt. `?` means: try again.
    fn run(self, attempt: &Attempt<Self::Context>) -> impl Future<Output = Result<Self::Output, JobError>> + Send;
}

/// A job that is cheaper together: many at once, each with an outcome of its own.
pub trait BatchJob: Serialize + DeserializeOwned + JsonSchema + Send + 'static {
    /// Its kind.
    const KIND: &'static str;
    /// The queue it waits in.
    const QUEUE: QueueName;
    /// The longest that one batch may run.
    const TIMEOUT: Duration = Duration::from_secs(60);
    /// When one is tried again.
    const RETRY: RetryPolicy = RetryPolicy::DEFAULT;
    /// When one is tried again after an error of a certain class; any other class goes by `RETRY`.
    const RETRIES: &'static [(&'static str, RetryPolicy)] = &[];
    /// The most jobs a batch.
    const MAX_BATCH: usize;
    /// How long the first of a batch waits for others.
    const LINGER: Duration;
    /// What it needs to run.
    type Context: Send + Sync + 'static;
    /// What each gives.
    type Output: Output;

    /// Checks what the schema cannot say.
    ///
    /// # Errors
    /// What is wrong with which field, and what was expected.
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }

    /// Runs a batch; gives as many outcomes as it got jobs, in the same order.
    fn run_batch(
        batch: Vec<(Self, Attempt<Self::Context>)>,
    ) -> impl Future<Output = Vec<Result<Self::Output, JobError>>> + Send;
}

/// What a job gives: its result, and perhaps rows of its own.
pub trait Output: Serialize + JsonSchema + Send + Sync + 'static {
    /// Whether it has rows of its own.
    const HAS_ROWS: bool = false;

    /// Whether a row in `job_results` keeps it. A job that keeps none is faster, and is promised less: it is done *at least*
    /// once, its result is in its completion alone (in none, if it is too large to travel), and once the completion is
    /// forgotten nobody knows that it was done. For work whose effect is the same however often it happens, such as
    /// filling a cache.
    const IS_KEPT: bool = true;

    /// Writes the rows of many outputs inside their settlement's transaction, and may complete the outputs by what it learnt.
    ///
    /// # Errors
    /// What Postgres refused: then none of the transaction's results is kept.
    fn write_rows(outputs: Vec<(JobId, &mut Self)>, tx: &mut Tx) -> impl Future<Output = Result<(), StoreError>> + Send
    where
        Self: Sized,
    {
        let _ = (outputs, tx);
        std::future::ready(Ok(()))
    }
}

/// One run of a job, and what it needs.
pub struct Attempt<C> {
    /// Which job.
    pub id: JobId,
    /// The first attempt is 1.
    pub number: u32,
    /// Whose job.
    pub user_id: Option<String>,
    /// How often the job was put back from the dead letters.
    pub n_redriven: u32,
    /// W3C Trace Context of the submitter.
    pub traceparent: Option<String>,
    pub(crate) context: Arc<C>,
    pub(crate) reports: Reports,
}

impl<C: Send + Sync> Attempt<C> {
    /// Tells how far the job has come: `tripsage job <id>` shows it, and it is published on the job's channel of
    /// progress. Cheap to call often: what comes within a tenth of a second of the last report is left out.
    pub async fn progress(&self, done: u64, total: Option<u64>, note: &str) {
        self.reports.tell(self.id, (done, total), note).await;
    }
}

impl<C> Attempt<C> {
    /// What the job needs to run.
    pub fn context(&self) -> &C {
        &self.context
    }
}

/// What an attempt produced: its result as JSON, and the output itself where rows have yet to be written.
pub(crate) struct Produced {
    pub(crate) result: serde_json::Value,
    pub(crate) is_kept: bool,
    pub(crate) rows: Option<Box<dyn Any + Send + Sync>>,
}

impl Produced {
    fn of<O: Output>(output: O) -> Result<Self, JobError> {
        const { assert!(O::IS_KEPT || !O::HAS_ROWS, "rows are committed together with a result that is kept") };
        if O::HAS_ROWS {
            return Ok(Self { result: serde_json::Value::Null, is_kept: true, rows: Some(Box::new(output)) });
        }
        let result = serde_json::to_value(&output).map_err(|error| JobError::discard(error).class("result"))?;
        Ok(Self { result, is_kept: O::IS_KEPT, rows: None })
    }
}

/// What the engine has to know of a kind.
#[derive(Clone, Debug)]
pub struct KindSpec {
    /// The kind.
    pub kind: Kind,
    /// Its queue.
    pub queue: QueueName,
    /// The longest that one attempt may run.
    pub timeout: Duration,
    /// When it is tried again, by what went wrong.
    pub retry: RetryTable,
    /// The most jobs a batch, and how long the first waits for others.
    pub batch: Option<(usize, Duration)>,
    /// The payload's JSON Schema.
    pub payload: Schema,
    /// The result's JSON Schema.
    pub output: Schema,
}

pub(crate) type Payload = Box<dyn Any + Send>;
pub(crate) type Outcomes = Vec<Result<Produced, JobError>>;

/// A kind, its types forgotten.
pub(crate) trait Handler<C>: Send + Sync {
    fn spec(&self) -> &KindSpec;
    fn decode(&self, envelope: &Envelope) -> Result<Payload, String>;
    fn run(&self, jobs: Vec<(Payload, Attempt<C>)>) -> BoxFuture<'static, Outcomes>;
    fn write_rows<'a>(
        &'a self,
        outputs: Vec<(JobId, &'a mut Produced)>,
        tx: &'a mut Tx,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

pub(crate) struct Single<J>(KindSpec, PhantomData<fn() -> J>);
pub(crate) struct Batched<J>(KindSpec, PhantomData<fn() -> J>);

impl KindSpec {
    /// Of a kind with this payload and output.
    fn of<J: JsonSchema, O: Output>(
        (kind, queue): (&'static str, QueueName),
        timeout: Duration,
        retry: RetryTable,
        batch: Option<(usize, Duration)>,
    ) -> Self {
        let (payload, output) = (schema_for!(J), schema_for!(O));
        Self { kind: Kind::from_static(kind), queue, timeout, retry, batch, payload, output }
    }
}

impl<J: Job> Single<J> {
    pub(crate) fn new() -> Self {
        let retry = RetryTable { usual: J::RETRY, by_class: J::RETRIES };
        Self(KindSpec::of::<J, J::Output>((J::KIND, J::QUEUE), J::TIMEOUT, retry, None), PhantomData)
    }
}

impl<J: BatchJob> Batched<J> {
    pub(crate) fn new() -> Self {
        let retry = RetryTable { usual: J::RETRY, by_class: J::RETRIES };
        let batch = Some((J::MAX_BATCH, J::LINGER));
        Self(KindSpec::of::<J, J::Output>((J::KIND, J::QUEUE), J::TIMEOUT, retry, batch), PhantomData)
    }
}

fn decoded<T: DeserializeOwned + Send + 'static>(
    envelope: &Envelope,
    validate: fn(&T) -> Result<(), String>,
) -> Result<Payload, String> {
    let payload: T = envelope.payload().map_err(|error| error.to_string())?;
    validate(&payload)?;
    Ok(Box::new(payload))
}

const DECODED_HERE: &str = "a payload is run by the handler that decoded it";

impl<J: Job> Handler<J::Context> for Single<J> {
    fn spec(&self) -> &KindSpec {
        &self.0
    }

    fn decode(&self, envelope: &Envelope) -> Result<Payload, String> {
        decoded::<J>(envelope, J::validate)
    }

    fn run(&self, jobs: Vec<(Payload, Attempt<J::Context>)>) -> BoxFuture<'static, Outcomes> {
        Box::pin(async move {
            let mut outcomes = Vec::with_capacity(jobs.len());
            for (payload, attempt) in jobs {
                let job = payload.downcast::<J>().expect(DECODED_HERE);
                outcomes.push(job.run(&attempt).await.and_then(Produced::of));
            }
            outcomes
        })
    }

    fn write_rows<'a>(
        &'a self,
        outputs: Vec<(JobId, &'a mut Produced)>,
        tx: &'a mut Tx,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(write_rows::<J::Output>(outputs, tx))
    }
}

impl<J: BatchJob> Handler<J::Context> for Batched<J> {
    fn spec(&self) -> &KindSpec {
        &self.0
    }

    fn decode(&self, envelope: &Envelope) -> Result<Payload, String> {
        decoded::<J>(envelope, J::validate)
    }

    fn run(&self, jobs: Vec<(Payload, Attempt<J::Context>)>) -> BoxFuture<'static, Outcomes> {
        Box::pin(async move {
            let jobs = jobs
                .into_iter()
                .map(|(payload, attempt)| (*payload.downcast::<J>().expect(DECODED_HERE), attempt))
                .collect();
            J::run_batch(jobs).await.into_iter().map(|outcome| outcome.and_then(Produced::of)).collect()
        })
    }

    fn write_rows<'a>(
        &'a self,
        outputs: Vec<(JobId, &'a mut Produced)>,
        tx: &'a mut Tx,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(write_rows::<J::Output>(outputs, tx))
    }
}

/// Writes the rows, then reads the results anew: writing may have completed them.
async fn write_rows<O: Output>(mut outputs: Vec<(JobId, &mut Produced)>, tx: &mut Tx) -> Result<(), StoreError> {
    let typed =
        outputs.iter_mut().filter_map(|(id, produced)| Some((*id, produced.rows.as_mut()?.downcast_mut::<O>()?)));
    O::write_rows(typed.collect(), tx).await?;
    for (_, produced) in outputs {
        let Some(output) = produced.rows.as_ref().and_then(|rows| rows.downcast_ref::<O>()) else { continue };
        // An output that cannot be represented is no reason to lose its rows: its result is null.
        produced.result = serde_json::to_value(output).unwrap_or_default();
    }
    Ok(())
}
