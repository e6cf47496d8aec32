//! Keeps this worker's queues in the fleet's list.
//!
//! Promise: when the server has lost its memory, the list is whole again within seconds, so that producers
//! find every partition. Never removes anything from it.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    broker::{BrokerError, Connection, register},
    job::QueueName,
    keys::Keys,
    partition::Tag,
    shutdown::Shutdown,
    telemetry::metrics,
};

const REGISTER: Duration = Duration::from_secs(5);

/// Registers every queue of this worker, again and again.
pub(crate) struct Registrar {
    pub(crate) connection: Connection,
    pub(crate) keys: Keys,
    pub(crate) queues: Vec<(QueueName, Vec<Tag>)>,
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

    async fn register(&self) -> Result<(), BrokerError> {
        for (queue, tags) in &self.queues {
            register(&self.connection, &self.keys, queue, tags).await?;
        }
        Ok(())
    }
}
