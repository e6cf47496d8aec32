//! A worker of the scenarios, as its own process: the program `chaos-worker`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use engine::{
    broker::Address,
    engine::Engine,
    http::{self, Health},
    keys::Keys,
    queue::Queue,
    shutdown::Shutdown,
    store::Store,
    telemetry::metrics,
};
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

use super::kinds::{self, CHAOS, Context};
use crate::{
    fixture::{connected, database, rustls_provider},
    worker::WorkerOptions,
};

/// What a worker is told, as JSON on its standard input: it holds a password.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    pub(super) name: String,
    pub(super) dragonfly_url: String,
    pub(super) database_url: String,
    pub(super) prefix: String,
    pub(super) lease: Duration,
    pub(super) drain: Duration,
    pub(super) concurrency: usize,
    pub(super) statement_timeout: Duration,
    pub(super) version: u32,
    pub(super) begun: PathBuf,
}

/// Runs until SIGTERM, as `tripsage worker` does; a second one ends the patience with running jobs.
///
/// # Errors
/// Why it cannot start.
pub async fn work() -> anyhow::Result<()> {
    let spec: Spec = serde_json::from_reader(std::io::stdin())?;
    let _ = rustls_provider(); // whoever comes second finds it installed
    let mut terminate = signal(SignalKind::terminate())?;
    let settings = engine::store::Database {
        statement_timeout: spec.statement_timeout,
        max_connections: 4,
        ..database(&spec.database_url)
    };
    let store = connected(&settings).await?;
    let engine = start(&spec, &store).await?;
    let (listener, process) = (TcpListener::bind(("127.0.0.1", 0)).await?, Shutdown::new());
    let port = listener.local_addr()?.port();
    let health = Health {
        worker: spec.name.clone(),
        connection: engine.connection().clone(),
        store,
        shutdown: process.clone(),
        started: std::time::Instant::now(),
        others: Vec::new(),
        cycles: Arc::clone(engine.cycles()),
    };
    drop(process.spawn(http::serve(listener, Arc::new(health), metrics::install()?, process.clone())));
    tracing::info!(port, worker = spec.name, "ready");
    terminate.recv().await;
    engine.stop(again(&mut terminate)).await;
    process.expire();
    Ok(())
}

async fn start(spec: &Spec, store: &Store) -> anyhow::Result<Engine> {
    let options = WorkerOptions {
        concurrency: spec.concurrency,
        lease: spec.lease,
        drain: spec.drain,
        ..WorkerOptions::default()
    };
    let queue = Queue { name: CHAOS, concurrency: options.concurrency, n_partitions: options.n_partitions };
    let at = (Address::parse(&spec.dragonfly_url, None)?, Keys::new(spec.prefix.clone()));
    let context = Arc::new(Context::new(spec.name.clone(), &spec.begun));
    let registry = Arc::new(kinds::registry(spec.version));
    Ok(Engine::start(options.engine(spec.name.clone(), at, vec![queue]), registry, context, store.clone()).await?)
}

async fn again(terminate: &mut Signal) {
    terminate.recv().await;
}
