//! Measures what stands in the queues; the only writer of gauges that describe the system.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    broker::{BrokerError, Budgets, Connection, Depths, sampling, warn_unless_silent},
    clock::ServerClock,
    completion::Format,
    cycles::Cycle,
    gate::Gate,
    job::QueueName,
    keys::PartitionKeys,
    shutdown::Shutdown,
    store::Store,
    telemetry::metrics,
};

/// How often budgets are measured.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// After how many of these everything is.
const SAMPLE: u32 = 5;

/// Samples every queue of this worker.
pub(crate) struct Sampler {
    pub(crate) connection: Connection,
    pub(crate) store: Store,
    pub(crate) clock: Arc<ServerClock>,
    pub(crate) format: Format,
    pub(crate) partitions: BTreeMap<QueueName, Vec<PartitionKeys>>,
    pub(crate) gates: BTreeMap<QueueName, Arc<Gate>>,
    pub(crate) cycle: Cycle,
}

impl Sampler {
    /// Ends when told to stop.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let mut ticks = interval(LOOK);
        let mut budgets = Budgets::default();
        let mut n_looks = 0;
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_stopped(ticks.tick()).await.is_some() {
            let is_sampled = n_looks % SAMPLE == 0;
            let measured = self.measure(&mut budgets, is_sampled).await;
            let sampled = if is_sampled { self.sample().await } else { Ok(()) };
            n_looks += 1;
            if let Err(error) = measured.and(sampled) {
                metrics::role_failed("sampler");
                self.cycle.failed();
                warn_unless_silent!(error, "could not sample the queues");
            }
            self.cycle.completed();
        }
    }

    /// Budgets of queues that have one; now and then of all, for a server that forgot what it was told of their completions.
    async fn measure(&self, budgets: &mut Budgets, of_all: bool) -> Result<(), BrokerError> {
        for (queue, partitions) in &self.partitions {
            if of_all || self.is_limited(queue) {
                for keys in partitions {
                    budgets.measure(&self.connection, keys, self.format).await?;
                }
            }
        }
        Ok(())
    }

    fn is_limited(&self, queue: &QueueName) -> bool {
        self.gates.get(queue).is_some_and(|gate| gate.limits_producers())
    }

    async fn sample_postgres(&self) {
        let (open, idle) = self.store.connections();
        metrics::database_connections(open, idle);
        match self.store.journal_backlog().await {
            Ok(backlog) => metrics::journal_sampled(&backlog),
            Err(error) => {
                metrics::role_failed("sampler");
                tracing::warn!(%error, "could not sample the journal");
            }
        }
    }

    async fn sample(&self) -> Result<(), BrokerError> {
        self.sample_postgres().await;
        for (queue, gate) in &self.gates {
            metrics::queue_governed(queue, gate.n_slots(), gate.is_closed());
        }
        for (queue, partitions) in &self.partitions {
            let mut depths = Vec::with_capacity(partitions.len());
            for keys in partitions {
                depths.push(sampling::depths(&self.connection, keys).await?);
            }
            metrics::queue_sampled(queue, &depths, self.clock.now_ms());
            self.tell_level(queue, partitions, &depths).await?;
        }
        Ok(())
    }

    /// Who enqueues in SQL is told how full a queue with a budget is; about others nobody asks.
    async fn tell_level(
        &self,
        queue: &QueueName,
        partitions: &[PartitionKeys],
        depths: &[Depths],
    ) -> Result<(), BrokerError> {
        if !self.is_limited(queue) {
            return Ok(());
        }
        let mut n_bytes = 0;
        for keys in partitions {
            n_bytes += sampling::bytes(&self.connection, keys).await?;
        }
        let n_jobs = depths.iter().map(Depths::unsettled).sum();
        if let Err(error) = self.store.set_level(queue, n_jobs, n_bytes).await {
            metrics::role_failed("sampler");
            tracing::warn!(%error, %queue, "could not tell how full the queue is");
        }
        Ok(())
    }
}
