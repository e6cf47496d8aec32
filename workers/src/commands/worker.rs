//! `tripsage worker`: runs jobs until told to stop.

use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use engine::{
    engine::Engine,
    http::{self, Health},
    shutdown::Shutdown,
    store::Store,
    telemetry::metrics,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{app::App, cli::WorkerArgs, kinds, memory::indexer::Indexer};

/// How long the index of memories rests when there is nothing to add.
const INDEX_EVERY: Duration = Duration::from_secs(5);

/// How long refreshes of the cache may go on after the jobs have ended.
const LAST_REFRESHES: Duration = Duration::from_secs(2);

/// Runs until SIGTERM or Ctrl-C; a second signal ends the patience with running jobs.
///
/// # Errors
/// Why the worker cannot start: a server, the schema, the model, the port.
pub async fn run(app: &App, args: &WorkerArgs) -> anyhow::Result<()> {
    let options = app.options(&args.queues)?;
    let listener = listen(args.port.unwrap_or(app.settings.application.api_port)).await?;
    let store = app.store().await?;
    check_schema(app, &store).await?;
    let context = app.context(&store).await?;
    let handle = metrics::install().context("install the metrics recorder")?;
    let (process, answering) = (Shutdown::new(), Shutdown::new());
    let worker = options.worker.clone();
    let engine = Engine::start(options, Arc::new(kinds::registry()), Arc::clone(&context), store.clone()).await?;
    let indexer = Indexer { store: store.clone(), dimensions: app.dimensions(), interval: INDEX_EVERY };
    drop(process.spawn(indexer.run(process.clone())));
    let health = Health {
        worker: worker.clone(),
        connection: engine.connection().clone(),
        store,
        shutdown: process.clone(),
        started: Instant::now(),
        cycles: Arc::clone(engine.cycles()),
    };
    let port = listener.local_addr()?.port();
    let answers = http::serve(listener, Arc::new(health), handle, answering.clone());
    let answers = answering.spawn(answers);
    tracing::info!(worker, port, "ready for jobs");
    let mut signals = Signals::new()?;
    signals.next().await;
    process.stop();
    engine.stop(signals.next()).await;
    process.expire();
    process.finished().await;
    context.cache.stop(LAST_REFRESHES).await;
    answering.stop();
    answers.await?.context("answer over HTTP")
}

/// All interfaces: Prometheus and health checks come from outside the container.
async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await;
    bound.with_context(|| format!("listen on port {port} for /metrics and /health; choose another with --port or TRIPSAGE_API_PORT (--port 0 takes a free one)"))
}

async fn check_schema(app: &App, store: &Store) -> anyhow::Result<()> {
    if app.settings.database.auto_migrate {
        return super::migrate::up(app, store).await;
    }
    let state = store.migration_state().await?;
    if !state.missing.is_empty() {
        bail!("the database lacks the migrations {}; run `tripsage migrate`", state.missing.join(", "));
    }
    Ok(())
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
