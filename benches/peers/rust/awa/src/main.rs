//! awa, a job queue in Postgres, as a peer of the benchmark: pool, workers and polling as in its own benchmark.

use std::time::Duration;

use awa::{
    Client, InsertOpts, InsertParams, JobArgs, JobResult, QueueConfig, QueueStorage, QueueStorageConfig, model::insert,
};
use peer::{OnJob, Peer, pad, variable};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, postgres::PgPoolOptions};

const QUEUE: &str = "bench";
const N_CONNECTIONS: u32 = 20;
/// Notifications wake its worker; this is how long it waits for one that does not come.
const POLL: Duration = Duration::from_millis(50);

#[derive(Serialize, Deserialize, JobArgs)]
struct Noop {
    n: usize,
    pad: String,
    intended_ms: f64,
}

struct Awa {
    pool: PgPool,
    // The producer's own, as in a process of its own: submissions that queue up must not keep the worker from Postgres.
    producer: PgPool,
    storage: QueueStorage,
    client: Option<Client>,
    pad: String,
}

impl Awa {
    async fn connect() -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new().max_connections(N_CONNECTIONS).connect(&variable("DATABASE_URL")?).await?;
        awa::migrations::run(&pool).await?;
        let storage = QueueStorage::new(QueueStorageConfig::default())?;
        // What its worker does at its first start on a new database; a producer alone would use the older, slower tables.
        storage.prepare_schema(&pool).await?;
        sqlx::query("select awa.storage_auto_finalize_if_fresh($1)").bind(storage.schema()).execute(&pool).await?;
        let producer = PgPoolOptions::new().max_connections(N_CONNECTIONS).connect(&variable("DATABASE_URL")?).await?;
        Ok(Self { pool, producer, storage, client: None, pad: pad() })
    }

    fn job(&self, n: usize, intended_ms: f64) -> Noop {
        Noop { n, pad: self.pad.clone(), intended_ms }
    }
}

fn options() -> InsertOpts {
    InsertOpts { queue: QUEUE.to_owned(), ..InsertOpts::default() }
}

impl Peer for Awa {
    async fn enqueue(&self, n_jobs: usize) -> anyhow::Result<()> {
        let params = |n| insert::params_with(&self.job(n, 0.0), options());
        let jobs: Vec<InsertParams> = (0..n_jobs).map(params).collect::<Result<_, _>>()?;
        self.storage.enqueue_params_copy(&self.pool, &jobs).await?;
        Ok(())
    }

    async fn submit(&self, n: usize, intended_ms: f64) -> anyhow::Result<()> {
        awa::insert_with(&self.producer, &self.job(n, intended_ms), options()).await?;
        Ok(())
    }

    async fn work(&mut self, concurrency: usize, on_job: OnJob) -> anyhow::Result<()> {
        let config = QueueConfig { max_workers: u32::try_from(concurrency)?, poll_interval: POLL, ..QueueConfig::default() };
        let client = Client::builder(self.pool.clone())
            .queue(QUEUE, config)
            .register::<Noop, _, _>(move |job: Noop, _| {
                on_job(job.intended_ms);
                async { Ok(JobResult::Completed) }
            })
            .build()?;
        client.start().await?;
        self.client = Some(client);
        Ok(())
    }

    async fn close(&mut self) {
        if let Some(client) = self.client.take() {
            client.shutdown(Duration::from_secs(5)).await;
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    peer::run(Awa::connect().await?).await
}
