//! Keeps this worker's queues in the fleet's list, and what operators decided about them in force.
//!
//! Promise: when the server has lost its memory, the list is whole again within seconds, so that producers
//! find every partition, and a paused queue stays paused. Never removes a queue or a partition.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    broker::{BrokerError, Connection, govern, register},
    job::QueueName,
    keys::Keys,
    partition::Tag,
    shutdown::Shutdown,
    store::{Store, StoreError},
    telemetry::metrics,
};

const REGISTER: Duration = Duration::from_secs(5);

/// Registers every queue of this worker, again and again.
pub(crate) struct Registrar {
    pub(crate) connection: Connection,
    pub(crate) keys: Keys,
    pub(crate) queues: Vec<(QueueName, Vec<Tag>)>,
    pub(crate) store: Store,
}

/// Why the fleet's list could not be seen to.
#[derive(Debug, thiserror::Error)]
enum RegistrarError {
    #[error("the list of queues: {0}")]
    Broker(#[from] BrokerError),
    #[error("the policies: {0}")]
    Store(#[from] StoreError),
}

impl Registrar {
    /// Ends when told to stop.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let mut ticks = interval(REGISTER);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_stopped(ticks.tick()).await.is_some() {
            if let Err(error) = self.register().await {
                metrics::role_failed("registrar");
                tracing::warn!(%error, "could not see to the fleet's list of queues; trying again");
            }
        }
    }

    async fn register(&self) -> Result<(), RegistrarError> {
        for (queue, tags) in &self.queues {
            register(&self.connection, &self.keys, queue, tags).await?;
        }
        let policies = self.store.policies().await?;
        for (queue, tags) in &self.queues {
            let Some(policy) = policies.get(queue) else { continue };
            govern(&self.connection, &self.keys, (queue, tags), policy).await?;
        }
        Ok(())
    }
}
