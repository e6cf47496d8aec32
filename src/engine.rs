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

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::{
    admission::Limits,
    broker::{
        Address, BrokerError, Connection, Partition, Publisher, Scope, ServerVersion, SettleContext, Subscriber,
        register,
    },
    clock::ServerClock,
    completion::Format,
    consumer::Consumer,
    executor::Executor,
    heart::Heart,
    holding::Holding,
    job::QueueName,
    keys::{Keys, PartitionKeys},
    listener::{Listener, Word},
    partition::tags,
    promoter::Promoter,
    queue::Queue,
    reclaimer::Reclaimer,
    registrar::Registrar,
    registry::Registry,
    runner::Runner,
    sampler::Sampler,
    settler::{Lane, Settler},
    shutdown::Shutdown,
    slots::Slots,
    store::Store,
    telemetry::metrics::JobMeters,
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
        let mut registered = Vec::new();
        let mut sampled: BTreeMap<QueueName, Vec<PartitionKeys>> = BTreeMap::new();
        for queue in self.options.queues.clone() {
            let slots = Slots::new(queue.concurrency);
            let executor = self.start_queue(&queue.name, &slots, &clock, (registry, context, store));
            let wanted = tags(&queue.name, queue.n_partitions, self.options.server_threads);
            let tags = register(&self.connection, &self.options.keys, &queue.name, &wanted).await?;
            registered.push((queue.name.clone(), tags.clone()));
            for tag in tags {
                let partition =
                    Partition::open(&self.options.address, &self.options.keys, queue.name.clone(), tag).await?;
                sampled.entry(queue.name.clone()).or_default().push(partition.keys.clone());
                let holding = Arc::new(Holding::new(partition));
                self.start_partition(&holding, &executor, &slots, (&clock, &goodbyes)).await?;
                self.holdings.push(holding);
            }
        }
        let (connection, keys) = (self.connection.clone(), self.options.keys.clone());
        drop(
            self.intake.spawn(
                Registrar { connection, keys, queues: registered, store: store.clone() }.run(self.intake.clone()),
            ),
        );
        let subscriber = Subscriber::open(&self.options.address, self.options.scope).await?;
        subscriber.subscribe(&self.options.keys.control_channel()).await?;
        drop(self.intake.spawn(Listener { subscriber, goodbyes: said }.run(self.intake.clone())));
        let sampler = Sampler { connection: self.connection.clone(), store: store.clone(), clock, partitions: sampled };
        drop(self.intake.spawn(sampler.run(self.intake.clone())));
        Ok(())
    }

    fn start_queue<C: Send + Sync + 'static>(
        &self,
        queue: &QueueName,
        slots: &Slots,
        clock: &Arc<ServerClock>,
        (registry, context, store): (&Arc<Registry<C>>, &Arc<C>, &Store),
    ) -> Arc<Executor<C>> {
        let options = &self.options;
        let worker: Arc<str> = Arc::from(options.worker.as_str());
        let (sender, outcomes) = mpsc::channel(2 * options.settle_batch);
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
            shutdown: self.settling.clone(),
        });
        let settler = Settler { outcomes, lane, max_batch: options.settle_batch };
        drop(self.settling.spawn(settler.run()));
        let runner = Arc::new(Runner {
            context: Arc::clone(context),
            slots: slots.clone(),
            settler: sender,
            clock: Arc::clone(clock),
            worker: Arc::clone(&worker),
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
        slots: &Slots,
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
            slots: slots.clone(),
            worker: Arc::clone(&worker),
        };
        drop(self.intake.spawn(consumer.run(self.intake.clone())));
        drop(self.intake.spawn(Promoter { holding: Arc::clone(holding) }.run(self.intake.clone())));
        let reclaimer = Reclaimer {
            holding: Arc::clone(holding),
            executor: Arc::clone(executor),
            slots: slots.clone(),
            worker,
            lease: self.options.lease,
            goodbyes: goodbyes.clone(),
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

    async fn cut_short(&self, why: &'static str) {
        tracing::warn!(why, "ending handlers that still run; their jobs run elsewhere, at no cost of an attempt");
        self.intake.expire();
        drop(tokio::time::timeout(LAST_TRIES, self.intake.finished()).await);
    }

    async fn say_goodbye(&self) {
        let word = Word::Goodbye { worker: self.options.worker.clone() };
        let json = serde_json::to_vec(&word).expect("two words encode");
        if let Err(error) = self.publisher.publish(&self.options.keys.control_channel(), Bytes::from(json)).await {
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
