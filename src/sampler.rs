//! Measures what stands in the queues; the only writer of gauges that describe the system.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    broker::{BrokerError, Connection, sampling},
    clock::ServerClock,
    gate::Gate,
    job::QueueName,
    keys::PartitionKeys,
    shutdown::Shutdown,
    store::Store,
    telemetry::metrics,
};

const SAMPLE: Duration = Duration::from_secs(5);

/// Samples every queue of this worker.
pub(crate) struct Sampler {
    pub(crate) connection: Connection,
    pub(crate) store: Store,
    pub(crate) clock: Arc<ServerClock>,
    pub(crate) partitions: BTreeMap<QueueName, Vec<PartitionKeys>>,
    pub(crate) gates: BTreeMap<QueueName, Arc<Gate>>,
}

impl Sampler {
    /// Ends when told to stop.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let mut ticks = interval(SAMPLE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_stopped(ticks.tick()).await.is_some() {
            let (open, idle) = self.store.connections();
            metrics::database_connections(open, idle);
            for (queue, gate) in &self.gates {
                metrics::queue_governed(queue, gate.n_slots(), gate.is_closed());
            }
            match self.store.journal_backlog().await {
                Ok(backlog) => metrics::journal_sampled(&backlog),
                Err(error) => {
                    metrics::role_failed("sampler");
                    tracing::warn!(%error, "could not sample the journal");
                }
            }
            if let Err(error) = self.sample().await {
                metrics::role_failed("sampler");
                tracing::warn!(%error, "could not sample the queues");
            }
        }
    }

    async fn sample(&self) -> Result<(), BrokerError> {
        for (queue, partitions) in &self.partitions {
            let mut depths = Vec::with_capacity(partitions.len());
            for keys in partitions {
                depths.push(sampling::depths(&self.connection, keys).await?);
            }
            metrics::queue_sampled(queue, &depths, self.clock.now_ms());
        }
        Ok(())
    }
}
