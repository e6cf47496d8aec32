//! A worker process: the engine as the service runs it, metrics and logging on.
//!
//! It reads what to do as one line of JSON on standard input (no secret in an argument list), says
//! `ready`, and stops as on a signal when its input ends; then it says how long timed jobs waited for their start.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use engine::{
    broker::{Address, Scope},
    completion::Format,
    engine::{Engine, Options},
    keys::Keys,
    queue::Queue,
    retry_budget::RetryLimits,
    store::{Database, Store},
    telemetry::metrics,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, stdin};
use tracing::Level;
use tracing_subscriber::fmt::writer::MakeWriterExt as _;

use crate::noop;

/// What a worker process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Its name.
    pub(crate) name: String,
    /// `redis://…`
    pub(crate) dragonfly_url: String,
    /// `postgres://…`
    pub(crate) database_url: String,
    /// What every key begins with.
    pub(crate) prefix: String,
    /// Partitions of the queue.
    pub(crate) n_partitions: u16,
    /// Jobs at once.
    pub(crate) concurrency: usize,
}

/// The server's shard threads, where it has any.
pub(crate) const SERVER_THREADS: u16 = 2;

/// Works until standard input ends.
pub(crate) async fn run() -> anyhow::Result<()> {
    // The spans of jobs are on, as in the service, and failed attempts are put into words as there; only warnings are
    // shown. That the keys of each measure are new is no loss of memory to warn of.
    let log = std::io::stderr.with_max_level(Level::WARN);
    tracing_subscriber::fmt()
        .with_writer(log)
        .with_ansi(false)
        .with_env_filter("warn,engine::runner=info,engine::reconciler=error")
        .init();
    let mut input = BufReader::new(stdin());
    let mut line = String::new();
    input.read_line(&mut line).await?;
    let task: Task = serde_json::from_str(&line).context("read the task on standard input")?;
    let upkeep = metrics::install()?;
    let store = Store::connect(&database(&task.database_url)).await?;
    let registry = Arc::new(noop::registry()?);
    let starts = Arc::new(noop::Starts::default());
    let engine = Engine::start(options(&task)?, registry, starts.clone(), store.clone()).await?;
    println!("ready");
    // Scraped as often as a Prometheus would.
    let mut ticks = tokio::time::interval(Duration::from_secs(15));
    let mut rest = Vec::new();
    let mut ended = std::pin::pin!(input.read_to_end(&mut rest));
    while tokio::select! { _ = ticks.tick() => true, _ = &mut ended => false } {
        drop(upkeep.render());
    }
    engine.stop(std::future::pending()).await;
    store.close().await;
    println!("{}", serde_json::to_string(&starts.all())?);
    Ok(())
}

/// A database as workers use it.
pub(crate) fn database(url: &str) -> Database {
    Database {
        url: url.to_owned().into(),
        password: None,
        max_connections: 8,
        acquire_timeout: Duration::from_secs(10),
        recycle: Duration::from_secs(1_800),
        statement_timeout: Duration::from_secs(60),
    }
}

fn options(task: &Task) -> anyhow::Result<Options> {
    Ok(Options {
        worker: task.name.clone(),
        address: Address::parse(&task.dragonfly_url, None)?,
        keys: Keys::new(task.prefix.clone()),
        queues: vec![Queue { name: noop::QUEUE, concurrency: task.concurrency, n_partitions: task.n_partitions }],
        server_threads: SERVER_THREADS,
        lease: Duration::from_secs(15),
        drain: Duration::from_secs(25),
        max_crashes: 3,
        max_payload_bytes: 1 << 20,
        inline_result_bytes: 16 << 10,
        completion_format: Format::MsgPack,
        scope: Scope::Global,
        completion_retention: Duration::from_secs(3_600),
        settle_batch: 512,
        dead_retention: None,
        // A storm of retries shows what the engine bears only while no budget stretches it.
        retry_limits: RetryLimits { ratio: 1.0, per_second: 1_000_000 },
    })
}
