//! Assembly: starts the roles in order, and stops them in order.
//!
//! Start: connections → hearts → settlers → executors → consumers, promoters, reclaimers → registrar, listener, sampler.
//!
//! Stop, in this order, the whole within the drain deadline plus a few seconds:
//! 1. consumers, reclaimers and promoters take nothing more; what is in hand and not begun goes back;
//! 2. goodbye is said, so that others claim it at once;
//! 3. running handlers end, or are cut short at the deadline (or at a second signal) and handed back;
//! 4. settlers settle what came of them, then end;
//! 5. hearts stop, connections close.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::{Notify, mpsc, watch};

use crate::{
    admission::Limits,
    broker::{
        Address, BrokerError, Connection, Expiring, Partition, Publisher, Scope, ServerVersion, SettleContext,
        Subscriber, register,
    },
    cancellations::Cancellations,
    clock::ServerClock,
    completion::Format,
    consumer::Consumer,
    executor::Executor,
    expirer::Expirer,
    gate::Gate,
    heart::Heart,
    holding::Holding,
    job::QueueName,
    keys::{Keys, PartitionKeys},
    listener::{Listener, Word},
    partition::tags,
    promoter::Promoter,
    queue::Queue,
    reclaimer::Reclaimer,
    reconciler::Reconciler,
    registrar::{Registered, Registrar, first_policies},
    registry::Registry,
    relay::Relay,
    reporter::Reporter,
    retry_budget::{RetryBudget, RetryLimits},
    runner::Runner,
    sampler::Sampler,
    settlement::SharedBudget,
    settler::{Lane, Settler},
    shutdown::Shutdown,
    slots::Slots,
    store::Store,
    sweeper::Sweeper,
    telemetry::metrics::JobMeters,
    ticker::Ticker,
};

/// How a worker works.
#[derive(Clone, Debug)]
pub struct Options {
    /// The worker's name, unique in the fleet: its consumer in every group.
    pub worker: String,
    /// Where Dragonfly is.
    pub address: Address,
    /// What every key begins with.
    pub keys: Keys,
    /// The queues to work on.
    pub queues: Vec<Queue>,
    /// The server's shard threads, for placing partitions.
    pub server_threads: u16,
    /// A worker whose heart was not heard for this long is dead.
    pub lease: Duration,
    /// How long running handlers may go on after stopping began.
    pub drain: Duration,
    /// How often a job's worker may die before the job is given up.
    pub max_crashes: u32,
    /// The largest envelope that is run.
    pub max_payload_bytes: usize,
    /// The largest result that travels inside its completion.
    pub inline_result_bytes: usize,
    /// How completions are written.
    pub completion_format: Format,
    /// How completions are published.
    pub scope: Scope,
    /// How long completions can be replayed.
    pub completion_retention: Duration,
    /// The most jobs a settlement.
    pub settle_batch: usize,
    /// After how long dead letters are forgotten; none keeps them.
    pub dead_retention: Option<Duration>,
    /// How much of each queue's work may be second tries.
    pub retry_limits: RetryLimits,
}

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Dragonfly cannot be reached or refuses.
    #[error("reach Dragonfly at {at}: {source}")]
    Broker {
        /// Host and port.
        at: String,
        /// What it said.
        #[source]
        source: BrokerError,
    },
    /// The server lacks what we use.
    #[error(
        "use the server at {at}: it is {} {}, whose streams speak like Redis {}.{}; expected Dragonfly, or Redis or Valkey 6.2 or later",
        version.product, version.version, version.compatible.0, version.compatible.1
    )]
    TooOld {
        /// Host and port.
        at: String,
        /// What it is.
        version: ServerVersion,
    },
}

/// A running worker.
pub struct Engine {
    options: Options,
    /// Consumers, promoters, reclaimers, registrar, listener, sampler, and the handlers they started.
    intake: Shutdown,
    /// Settlers.
    settling: Shutdown,
    /// Hearts.
    hearts: Shutdown,
    holdings: Vec<Arc<Holding>>,
    publisher: Publisher,
    connection: Connection,
}

/// How jobs of one queue are let in and taken back, shared by the queue's roles.
struct Ways {
    slots: Slots,
    gate: Arc<Gate>,
    cancellations: Arc<Cancellations>,
    reporter: Arc<Reporter>,
}

/// How often goodbye is said while running handlers end.
const GOODBYE: Duration = Duration::from_millis(250);

/// After the drain deadline: how long settlers may still try.
const LAST_TRIES: Duration = Duration::from_secs(3);

impl Engine {
    /// Starts a worker.
    ///
    /// # Errors
    /// When Dragonfly cannot be reached, refuses, or is too old.
    pub async fn start<C: Send + Sync + 'static>(
        options: Options,
        registry: Arc<Registry<C>>,
        context: Arc<C>,
        store: Store,
    ) -> Result<Self, StartError> {
        let at = options.address.shown().to_owned();
        let failed = |source| StartError::Broker { at: at.clone(), source };
        let connection = Connection::open(&options.address).await.map_err(failed)?;
        let version = ServerVersion::of(&connection).await.map_err(failed)?;
        if !version.is_new_enough() {
            return Err(StartError::TooOld { at, version });
        }
        tracing::info!(server = version.product, version = version.version, at, "connected to Dragonfly");
        let publisher = Publisher::new(connection.clone(), options.scope);
        let (intake, settling, hearts) = (Shutdown::new(), Shutdown::new(), Shutdown::new());
        let mut engine = Self { options, intake, settling, hearts, holdings: Vec::new(), publisher, connection };
        engine.start_roles(&registry, &context, &store).await.map_err(failed)?;
        Ok(engine)
    }

    async fn start_roles<C: Send + Sync + 'static>(
        &mut self,
        registry: &Arc<Registry<C>>,
        context: &Arc<C>,
        store: &Store,
    ) -> Result<(), BrokerError> {
        let clock = Arc::new(ServerClock::new());
        let (said, goodbyes) = watch::channel(0);
        let (decided, cancellations) = (Arc::new(Notify::new()), Arc::new(Cancellations::new()));
        let reporter = Arc::new(self.reporter(&clock));
        let policies = first_policies(store, &self.connection, &self.options.keys).await?;
        let mut registered = Vec::new();
        let mut sampled: BTreeMap<QueueName, Vec<PartitionKeys>> = BTreeMap::new();
        for queue in self.options.queues.clone() {
            let slots = Slots::new(queue.concurrency);
            let gate = Arc::new(Gate::new(slots.clone(), queue.concurrency));
            gate.obey(&policies.get(&queue.name).cloned().unwrap_or_default());
            let ways = Ways {
                reporter: Arc::clone(&reporter),
                slots,
                gate: Arc::clone(&gate),
                cancellations: Arc::clone(&cancellations),
            };
            let executor = self.start_queue(&queue.name, &ways, &clock, (registry, context, store));
            let wanted = tags(&queue.name, queue.n_partitions, self.options.server_threads);
            let tags = register(&self.connection, &self.options.keys, &queue.name, &wanted).await?;
            registered.push(Registered { queue: queue.name.clone(), tags: tags.clone(), gate });
            for tag in tags {
                let partition =
                    Partition::open(&self.options.address, &self.options.keys, queue.name.clone(), tag).await?;
                sampled.entry(queue.name.clone()).or_default().push(partition.keys.clone());
                let holding = Arc::new(Holding::new(partition));
                self.start_partition(&holding, &executor, &ways, (&clock, &goodbyes)).await?;
                self.holdings.push(holding);
            }
        }
        let gates = registered.iter().map(|known| (known.queue.clone(), Arc::clone(&known.gate))).collect();
        self.start_journal(registry, store, &registered);
        let registrar = Registrar {
            connection: self.connection.clone(),
            keys: self.options.keys.clone(),
            queues: registered,
            store: store.clone(),
            policies,
            decided: Arc::clone(&decided),
        };
        drop(self.intake.spawn(registrar.run(self.intake.clone())));
        let subscriber = Subscriber::open(&self.options.address, self.options.scope).await?;
        subscriber.subscribe(&self.options.keys.control_channel()).await?;
        let by_tag = |holding: &Arc<Holding>| (holding.partition.tag.to_string(), Arc::clone(holding));
        let holdings = self.holdings.iter().map(by_tag).collect();
        let listener = Listener { subscriber, goodbyes: said, decided, cancellations, holdings };
        drop(self.intake.spawn(listener.run(self.intake.clone())));
        let sampler = Sampler {
            connection: self.connection.clone(),
            store: store.clone(),
            clock,
            format: self.options.completion_format,
            partitions: sampled,
            gates,
        };
        drop(self.intake.spawn(sampler.run(self.intake.clone())));
        Ok(())
    }

    fn reporter(&self, clock: &Arc<ServerClock>) -> Reporter {
        Reporter {
            kept: Expiring::new(self.connection.clone()),
            publisher: self.publisher.clone(),
            keys: self.options.keys.clone(),
            clock: Arc::clone(clock),
        }
    }

    fn start_journal<C: Send + Sync + 'static>(
        &self,
        registry: &Registry<C>,
        store: &Store,
        registered: &[Registered],
    ) {
        let (connection, keys) = (self.connection.clone(), self.options.keys.clone());
        let queues = registered.iter().map(|known| (known.queue.clone(), known.tags.clone())).collect();
        let kinds = registry.specs().into_iter().map(|spec| (spec.kind.clone(), spec.queue.clone())).collect();
        let reconciler = Reconciler {
            connection: connection.clone(),
            keys: keys.clone(),
            store: store.clone(),
            queues,
            kinds,
            max_payload_bytes: self.options.max_payload_bytes,
        };
        drop(self.intake.spawn(reconciler.run(self.intake.clone())));
        drop(
            self.intake.spawn(Relay::new(connection, keys, self.options.scope, store.clone()).run(self.intake.clone())),
        );
        drop(self.intake.spawn(Sweeper { store: store.clone() }.run(self.intake.clone())));
        if let Some(retention) = self.options.dead_retention {
            let (connection, keys) = (self.connection.clone(), self.options.keys.clone());
            let expirer = Expirer { connection, keys, store: store.clone(), retention };
            drop(self.intake.spawn(expirer.run(self.intake.clone())));
        }
        drop(self.intake.spawn(Ticker { store: store.clone() }.run(self.intake.clone())));
    }

    fn start_queue<C: Send + Sync + 'static>(
        &self,
        queue: &QueueName,
        ways: &Ways,
        clock: &Arc<ServerClock>,
        (registry, context, store): (&Arc<Registry<C>>, &Arc<C>, &Store),
    ) -> Arc<Executor<C>> {
        let options = &self.options;
        let worker: Arc<str> = Arc::from(options.worker.as_str());
        let (sender, outcomes) = mpsc::channel(2 * options.settle_batch);
        let budget = RetryBudget::new(options.retry_limits, clock.now_ms());
        let budget = Arc::new(SharedBudget(Mutex::new(budget)));
        let lane = Arc::new(Lane {
            registry: Arc::clone(registry),
            store: store.clone(),
            clock: Arc::clone(clock),
            keys: options.keys.clone(),
            context: SettleContext {
                consumer: options.worker.clone(),
                format: options.completion_format,
                scope: options.scope,
                retention: options.completion_retention,
            },
            lease: options.lease,
            inline_result_bytes: options.inline_result_bytes,
            cancellations: Arc::clone(&ways.cancellations),
            budget: Arc::clone(&budget),
            shutdown: self.settling.clone(),
        });
        let settler = Settler { outcomes, lane, max_batch: options.settle_batch };
        drop(self.settling.spawn(settler.run()));
        let runner = Arc::new(Runner {
            context: Arc::clone(context),
            slots: ways.slots.clone(),
            gate: Arc::clone(&ways.gate),
            cancellations: Arc::clone(&ways.cancellations),
            settler: sender,
            reporter: Arc::clone(&ways.reporter),
            clock: Arc::clone(clock),
            worker: Arc::clone(&worker),
            budget,
            shutdown: self.intake.clone(),
            meters: JobMeters::new(queue, registry.specs().iter().map(|spec| &spec.kind)),
        });
        let limits = Limits { max_payload_bytes: options.max_payload_bytes, max_crashes: options.max_crashes, worker };
        Executor::start(runner, Arc::clone(registry), limits, store.clone())
    }

    async fn start_partition<C: Send + Sync + 'static>(
        &self,
        holding: &Arc<Holding>,
        executor: &Arc<Executor<C>>,
        ways: &Ways,
        (clock, goodbyes): (&Arc<ServerClock>, &watch::Receiver<u64>),
    ) -> Result<(), BrokerError> {
        let worker: Arc<str> = Arc::from(self.options.worker.as_str());
        let heart = Heart {
            holding: Arc::clone(holding),
            clock: Arc::clone(clock),
            worker: Arc::clone(&worker),
            lease: self.options.lease,
        };
        heart.begin().await?;
        drop(self.hearts.spawn(heart.run(self.hearts.clone())));
        let consumer = Consumer {
            holding: Arc::clone(holding),
            executor: Arc::clone(executor),
            slots: ways.slots.clone(),
            gate: Arc::clone(&ways.gate),
            worker: Arc::clone(&worker),
        };
        drop(self.intake.spawn(consumer.run(self.intake.clone())));
        drop(self.intake.spawn(Promoter { holding: Arc::clone(holding) }.run(self.intake.clone())));
        let reclaimer = Reclaimer {
            holding: Arc::clone(holding),
            executor: Arc::clone(executor),
            slots: ways.slots.clone(),
            gate: Arc::clone(&ways.gate),
            worker,
            lease: self.options.lease,
            goodbyes: goodbyes.clone(),
            turns: ways.gate.turns(),
        };
        drop(self.intake.spawn(reclaimer.run(self.intake.clone())));
        Ok(())
    }

    /// Stops the worker in the documented order. `hurry` ends the patience with running handlers, as a second signal does.
    pub async fn stop(self, hurry: impl Future<Output = ()>) {
        tracing::info!("stopping: taking no more jobs, handing back what has not begun");
        self.intake.stop();
        self.say_goodbye().await;
        tokio::select! {
            () = self.intake.finished() => {}
            () = tokio::time::sleep(self.options.drain) => self.cut_short("the drain deadline passed").await,
            () = hurry => self.cut_short("told a second time").await,
            () = self.keep_saying_goodbye() => {}
        }
        self.say_goodbye().await;
        // The executors are gone, and with them the settlers' senders: they settle what is left, then end.
        if tokio::time::timeout(self.options.drain, self.settling.finished()).await.is_err() {
            self.settling.expire();
            drop(tokio::time::timeout(LAST_TRIES, self.settling.finished()).await);
        }
        self.hearts.stop();
        drop(tokio::time::timeout(LAST_TRIES, self.hearts.finished()).await);
        drop(
            tokio::time::timeout(
                LAST_TRIES,
                futures::future::join_all(self.holdings.iter().map(|holding| holding.partition.close())),
            )
            .await,
        );
        drop(tokio::time::timeout(LAST_TRIES, self.connection.close()).await);
        tracing::info!("stopped");
    }

    /// Deliveries are handed back as reads come home and batches are given up: others are to look again and again.
    async fn keep_saying_goodbye(&self) {
        loop {
            tokio::time::sleep(GOODBYE).await;
            self.say_goodbye().await;
        }
    }

    async fn cut_short(&self, why: &'static str) {
        tracing::warn!(why, "ending handlers that still run; their jobs run elsewhere, at no cost of an attempt");
        self.intake.expire();
        drop(tokio::time::timeout(LAST_TRIES, self.intake.finished()).await);
    }

    async fn say_goodbye(&self) {
        let word = Word::Goodbye { worker: self.options.worker.clone() };
        if let Err(error) = self.publisher.publish(&self.options.keys.control_channel(), word.write()).await {
            tracing::warn!(%error, "could not say goodbye; others find what was handed back within a second");
        }
    }

    /// A sign of life from Dragonfly.
    ///
    /// # Errors
    /// When none comes.
    pub async fn ping(&self) -> Result<(), BrokerError> {
        self.connection.ping().await
    }

    /// The connection that serves everything but partitions.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}
