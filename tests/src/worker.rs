//! A worker inside the test's process, on a runtime of its own, so that it can be killed.

use std::{sync::Arc, time::Duration};

use engine::{
    broker::{Address, Scope},
    completion::Format,
    engine::{Engine, Options},
    keys::Keys,
    queue::Queue,
    registry::Registry,
    retry_budget::RetryLimits,
    store::Store,
};
use tokio::{runtime::Runtime, sync::oneshot};
use uuid::Uuid;

use crate::fixture::Fixture;

/// How a test's worker differs from the usual one.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Jobs at once, each queue.
    pub concurrency: usize,
    /// Partitions, each queue.
    pub n_partitions: u16,
    /// When a worker counts as dead.
    pub lease: Duration,
    /// How long running handlers may go on when it stops.
    pub drain: Duration,
    /// The largest envelope.
    pub max_payload_bytes: usize,
    /// How completions are written.
    pub format: Format,
    /// After how long dead letters are forgotten.
    pub dead_retention: Option<Duration>,
    /// How much may be second tries; plenty, so that it delays no test but its own.
    pub retry_limits: RetryLimits,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            concurrency: 64,
            n_partitions: 2,
            lease: Duration::from_secs(2),
            drain: Duration::from_secs(10),
            max_payload_bytes: 1 << 20,
            format: Format::MsgPack,
            dead_retention: None,
            retry_limits: RetryLimits { ratio: 1.0, per_second: 10_000 },
        }
    }
}

impl WorkerOptions {
    /// The engine's own options for a worker of this name.
    pub(crate) fn engine(&self, worker: String, (address, keys): (Address, Keys), queues: Vec<Queue>) -> Options {
        Options {
            worker,
            address,
            keys,
            queues,
            server_threads: 2,
            lease: self.lease,
            drain: self.drain,
            max_crashes: 2,
            max_payload_bytes: self.max_payload_bytes,
            inline_result_bytes: 16 << 10,
            completion_format: self.format,
            scope: Scope::Global,
            completion_retention: Duration::from_secs(600),
            settle_batch: 512,
            dead_retention: self.dead_retention,
            retry_limits: self.retry_limits,
        }
    }
}

/// A worker that runs.
pub struct RunningWorker {
    /// Its connections to Postgres, to be counted.
    pub store: Store,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    ended: Option<tokio::task::JoinHandle<()>>,
}

impl RunningWorker {
    /// Starts a worker for every queue of the registry.
    pub async fn start<C: Send + Sync + 'static>(
        fixture: &Fixture,
        registry: Registry<C>,
        context: Arc<C>,
        options: WorkerOptions,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let queues = registry.queues().into_iter();
        let queues =
            queues.map(|name| Queue { name, concurrency: options.concurrency, n_partitions: options.n_partitions });
        let worker = format!("w-{}", Uuid::now_v7().simple());
        let at = (fixture.address.clone(), fixture.keys.clone());
        let engine_options = options.engine(worker, at, queues.collect());
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, starting) = oneshot::channel();
        let url = fixture.database_url.clone();
        let ended = runtime.spawn(async move {
            let store = crate::fixture::connected(&crate::fixture::database(&url)).await.unwrap();
            let engine = Engine::start(engine_options, Arc::new(registry), context, store.clone()).await.unwrap();
            started.send(store).unwrap_or_else(|_| panic!("the test waits for it"));
            drop(stopped.await);
            engine.stop(std::future::pending()).await;
        });
        let store = starting.await.unwrap();
        Self { store, runtime: Some(runtime), stop: Some(stop), ended: Some(ended) }
    }

    /// Stops it as a signal would, and waits.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        self.ended.take().unwrap().await.unwrap();
    }

    /// Ends it in the middle of whatever it does: no goodbye, no hand-back, its heart just stops.
    pub fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
