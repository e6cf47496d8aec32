//! Starts the roles in the documented order, each in a task that its own kind of stop ends.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::sync::{Notify, mpsc, watch};

use super::Engine;
use crate::{
    admission::Limits,
    broker::{BrokerError, Expiring, Partition, SettleContext, Subscriber, register},
    cancellations::Cancellations,
    clock::ServerClock,
    consumer::{self, Consumer},
    executor::Executor,
    expirer::{self, Expirer},
    gate::Gate,
    heart::{self, Heart},
    holding::Holding,
    job::QueueName,
    keys::PartitionKeys,
    listener::Listener,
    observer::Observer,
    partition::tags,
    promoter::{self, Promoter},
    reclaimer::{self, Reclaimer},
    reconciler::{self, Reconciler},
    registrar::{self, Policies, Registered, Registrar, first_policies},
    registry::Registry,
    relay::{self, Relay},
    reporter::Reporter,
    retry_budget::RetryBudget,
    runner::Runner,
    sampler::{self, Sampler},
    settlement::SharedBudget,
    settler::{Lane, Settler},
    slots::Slots,
    solitude::Solitude,
    store::Store,
    sweeper::{self, Sweeper},
    telemetry::metrics::JobMeters,
    ticker::{self, Ticker},
};

/// How jobs of one queue are let in and taken back, shared by the queue's roles.
struct Ways {
    slots: Slots,
    solitude: Solitude,
    gate: Arc<Gate>,
    cancellations: Arc<Cancellations>,
    reporter: Arc<Reporter>,
}

impl Engine {
    pub(super) async fn start_roles<C: Send + Sync + 'static>(
        &mut self,
        registry: &Arc<Registry<C>>,
        context: &Arc<C>,
        store: &Store,
    ) -> Result<(), BrokerError> {
        drop(self.hearts.spawn(Observer::new(&self.connection).run(self.hearts.clone())));
        let clock = Arc::new(ServerClock::new());
        let (said, goodbyes) = watch::channel(0);
        let (decided, cancellations) = (Arc::new(Notify::new()), Arc::new(Cancellations::new()));
        let reporter = Arc::new(self.reporter(&clock));
        let policies = first_policies(store, &self.connection, &self.options.keys).await?;
        let mut registered = Vec::new();
        let mut sampled: BTreeMap<QueueName, Vec<PartitionKeys>> = BTreeMap::new();
        let slots: Vec<Slots> = self.options.queues.iter().map(|queue| Slots::new(queue.concurrency)).collect();
        let solitude = Solitude::new(slots.clone());
        for (queue, slots) in self.options.queues.clone().into_iter().zip(slots) {
            let gate = Arc::new(Gate::new(slots.clone(), queue.concurrency));
            gate.obey(&policies.get(&queue.name).cloned().unwrap_or_default());
            let ways = Ways {
                reporter: Arc::clone(&reporter),
                slots,
                solitude: solitude.clone(),
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
        self.start_journal(registry, store, &registered);
        self.start_watch(registered, sampled, (policies, store, clock), (said, decided, cancellations)).await
    }

    /// What looks after the fleet's list, hears the other workers and measures.
    async fn start_watch(
        &self,
        registered: Vec<Registered>,
        sampled: BTreeMap<QueueName, Vec<PartitionKeys>>,
        (policies, store, clock): (Policies, &Store, Arc<ServerClock>),
        (said, decided, cancellations): (watch::Sender<u64>, Arc<Notify>, Arc<Cancellations>),
    ) -> Result<(), BrokerError> {
        let gates = registered.iter().map(|known| (known.queue.clone(), Arc::clone(&known.gate))).collect();
        let registrar = Registrar {
            connection: self.connection.clone(),
            keys: self.options.keys.clone(),
            queues: registered,
            store: store.clone(),
            policies,
            decided: Arc::clone(&decided),
            cycle: self.cycles.begin("registrar", "", registrar::REGISTER),
        };
        drop(self.intake.spawn(registrar.run(self.intake.clone())));
        let subscriber = Subscriber::open(&self.options.address, self.options.scope).await?;
        subscriber.subscribe(&self.options.keys.control_channel()).await?;
        let by_tag = |holding: &Arc<Holding>| (holding.partition.tag.to_string(), Arc::clone(holding));
        let holdings = self.holdings.iter().map(by_tag).collect();
        let _cycle = self.cycles.begin_waiting("listener", "");
        let listener = Listener { subscriber, goodbyes: said, decided, cancellations, holdings, _cycle };
        drop(self.intake.spawn(listener.run(self.intake.clone())));
        let sampler = Sampler {
            connection: self.connection.clone(),
            store: store.clone(),
            clock,
            format: self.options.completion_format,
            partitions: sampled,
            gates,
            cycle: self.cycles.begin("sampler", "", sampler::LOOK),
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
            cycle: self.cycles.begin("reconciler", "", reconciler::LOOK),
        };
        drop(self.intake.spawn(reconciler.run(self.intake.clone())));
        let journal = (store.clone(), self.cycles.begin("relay", "", relay::LOOK));
        let relay = Relay::new(connection, keys, self.options.scope, journal);
        drop(self.intake.spawn(relay.run(self.intake.clone())));
        let sweeper = Sweeper { store: store.clone(), cycle: self.cycles.begin("sweeper", "", sweeper::SWEEP) };
        drop(self.intake.spawn(sweeper.run(self.intake.clone())));
        if let Some(retention) = self.options.dead_retention {
            let (connection, keys) = (self.connection.clone(), self.options.keys.clone());
            let cycle = self.cycles.begin("expirer", "", expirer::LOOK);
            let expirer = Expirer { connection, keys, store: store.clone(), retention, cycle };
            drop(self.intake.spawn(expirer.run(self.intake.clone())));
        }
        let ticker = Ticker { store: store.clone(), cycle: self.cycles.begin("ticker", "", ticker::LOOK) };
        drop(self.intake.spawn(ticker.run(self.intake.clone())));
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
            kept: Mutex::default(),
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
        let _cycle = self.cycles.begin_waiting("settler", queue);
        let settler = Settler { outcomes, lane, max_batch: options.settle_batch, _cycle };
        drop(self.settling.spawn(settler.run()));
        let runner = Arc::new(Runner {
            context: Arc::clone(context),
            slots: ways.slots.clone(),
            solitude: ways.solitude.clone(),
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
        let tag = &holding.partition.tag;
        let heart = Heart {
            holding: Arc::clone(holding),
            clock: Arc::clone(clock),
            worker: Arc::clone(&worker),
            lease: self.options.lease,
            cycle: self.cycles.begin("heart", tag, heart::every(self.options.lease)),
        };
        heart.begin().await?;
        drop(self.hearts.spawn(heart.run(self.hearts.clone())));
        let consumer = Consumer {
            holding: Arc::clone(holding),
            executor: Arc::clone(executor),
            slots: ways.slots.clone(),
            gate: Arc::clone(&ways.gate),
            worker: Arc::clone(&worker),
            cycle: self.cycles.begin("consumer", tag, consumer::CYCLE),
        };
        drop(self.intake.spawn(consumer.run(self.intake.clone())));
        let cycle = self.cycles.begin("promoter", tag, promoter::LOOK);
        let promoter = Promoter { holding: Arc::clone(holding), cycle };
        drop(self.intake.spawn(promoter.run(self.intake.clone())));
        let reclaimer = Reclaimer {
            holding: Arc::clone(holding),
            executor: Arc::clone(executor),
            slots: ways.slots.clone(),
            gate: Arc::clone(&ways.gate),
            worker,
            lease: self.options.lease,
            goodbyes: goodbyes.clone(),
            turns: ways.gate.turns(),
            cycle: self.cycles.begin("reclaimer", tag, reclaimer::LOOK),
        };
        drop(self.intake.spawn(reclaimer.run(self.intake.clone())));
        Ok(())
    }
}
