//! `tripsage worker`: runs jobs until told to stop.

use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use engine::{
    engine::Engine,
    http::{self, Health, NamedCheck},
    shutdown::Shutdown,
    store::Store,
    telemetry::metrics,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    app::App,
    cli::WorkerArgs,
    context::Context,
    kinds,
    memory::{self, indexer::Indexer},
    queues::SEARCH,
    search::places::PlacesLoader,
};

/// How long the index of memories rests when there is nothing to add.
const INDEX_EVERY: Duration = Duration::from_secs(5);

/// How long the loader of places waits after its first failure, and before it looks again at what another worker loads.
const PLACES_EVERY: Duration = Duration::from_secs(2);
/// How long it waits at most after many failures.
const PLACES_LONGEST: Duration = Duration::from_secs(60);

/// How long refreshes of the cache may go on after the jobs have ended.
const LAST_REFRESHES: Duration = Duration::from_secs(2);

/// Runs until SIGTERM or Ctrl-C; a second signal ends the patience with running jobs.
///
/// # Errors
/// Why the worker cannot start: a server, the schema, the model, the port.
pub async fn run(app: &App, args: &WorkerArgs) -> anyhow::Result<()> {
    let options = app.options(&args.queues)?;
    let listener = listen(args.port.unwrap_or(app.settings.application.api_port)).await?;
    let (store, embedder) = (app.store().await?, app.embedder()?);
    check_schema(app, &store, embedder.dimensions()).await?;
    let context = app.context(&store, embedder).await?;
    let handle = metrics::install().context("install the metrics recorder")?;
    let (process, answering) = (Shutdown::new(), Shutdown::new());
    let worker = options.worker.clone();
    let searches = options.queues.iter().any(|queue| queue.name == SEARCH);
    let engine = Engine::start(options, Arc::new(kinds::registry()), Arc::clone(&context), store.clone()).await?;
    let indexer = Indexer { store: store.clone(), dimensions: context.memory.dimensions, interval: INDEX_EVERY };
    drop(process.spawn(indexer.run(process.clone())));
    if searches {
        load_places(app, &context, &process);
    }
    let health = Health {
        worker: worker.clone(),
        connection: engine.connection().clone(),
        store,
        shutdown: process.clone(),
        started: Instant::now(),
        others: vec![places_check(&context)],
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

/// Places by meaning are no condition of starting: they are loaded beside the jobs, by a worker that searches.
fn load_places(app: &App, context: &Context, process: &Shutdown) {
    if app.lacks_key() {
        tracing::warn!("{}", super::migrate::NO_KEY);
        return;
    }
    let (store, embedder, state) = (context.store.clone(), context.embedder.clone(), context.places.clone());
    let loader = PlacesLoader { store, embedder, state, interval: PLACES_EVERY, longest: PLACES_LONGEST };
    drop(process.spawn(loader.run(process.clone())));
}

fn places_check(context: &Context) -> NamedCheck {
    let places = context.places.clone();
    NamedCheck { name: "places", run: Arc::new(move || places.check()) }
}

async fn check_schema(app: &App, store: &Store, dimensions: usize) -> anyhow::Result<()> {
    if app.settings.database.auto_migrate {
        super::migrate::up(app, store).await?;
        return Ok(memory::schema::create_vectors(store, dimensions).await?);
    }
    let state = store.migration_state().await?;
    if !state.missing.is_empty() {
        bail!("the database lacks the migrations {}; run `tripsage migrate`", state.missing.join(", "));
    }
    Ok(memory::schema::check_vectors(store, dimensions).await?)
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
