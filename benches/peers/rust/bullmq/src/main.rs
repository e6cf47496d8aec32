//! BullMQ's own crate as a peer of the benchmark. Jobs are removed when completed: nothing is kept.

use bullmq::{
    BulkJob, Job, JobOptions, Queue, QueueOptions, Worker, WorkerOptions, options::RedisConnectionOptions,
    types::RemoveOnFinish,
};
use peer::{OnJob, Peer, pad, variable};
use serde_json::{Value, json};

const QUEUE: &str = "bench";

struct BullMq {
    queue: Queue,
    worker: Option<Worker>,
    connection: RedisConnectionOptions,
    prefix: String,
    pad: String,
}

impl BullMq {
    async fn connect() -> anyhow::Result<Self> {
        let connection = RedisConnectionOptions::new().url(variable("REDIS_URL")?);
        // In braces: all keys of the queue on one shard of a clustered server.
        let prefix = format!("{{{}}}", variable("PEER_NAME")?);
        let options = QueueOptions::new().connection(connection.clone()).prefix(prefix.clone());
        let queue = Queue::with_options(QUEUE, options).await?;
        Ok(Self { queue, worker: None, connection, prefix, pad: pad() })
    }

    fn once() -> JobOptions {
        JobOptions::default().remove_on_complete(RemoveOnFinish::Bool(true))
    }
}

impl Peer for BullMq {
    async fn enqueue(&self, n_jobs: usize) -> anyhow::Result<()> {
        let job = |n| BulkJob::with_options("noop", json!({ "n": n, "pad": self.pad }), Self::once());
        self.queue.add_bulk((0..n_jobs).map(job).collect()).await?;
        Ok(())
    }

    async fn submit(&self, n: usize, intended_ms: f64) -> anyhow::Result<()> {
        let data = json!({ "n": n, "pad": self.pad, "intended": intended_ms });
        self.queue.add("noop", data).options(Self::once()).await?;
        Ok(())
    }

    async fn work(&mut self, concurrency: usize, on_job: OnJob) -> anyhow::Result<()> {
        let handler = move |job: Job, _| {
            on_job(job.data()["intended"].as_f64().unwrap_or_default());
            async { Ok(Value::Null) }
        };
        let options = WorkerOptions::new().connection(self.connection.clone()).prefix(self.prefix.clone());
        self.worker = Some(Worker::with_options(QUEUE, handler, options.concurrency(concurrency)).await?);
        Ok(())
    }

    async fn close(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.close(5_000).await.ok();
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    peer::run(BullMq::connect().await?).await
}
