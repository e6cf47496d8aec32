//! Keeps this worker's queues in the fleet's list, and what operators decided about them in force.
//!
//! Promise: when the server has lost its memory, the list is whole again within seconds, so that producers
//! find every partition, and a paused queue stays paused. Never removes a queue or a partition.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};

use crate::{
    broker::{BrokerError, Connection, govern, policies, register, warn_unless_silent},
    cycles::Cycle,
    gate::Gate,
    job::QueueName,
    keys::Keys,
    partition::Tag,
    policy::Policy,
    shutdown::Shutdown,
    store::{Store, StoreError},
    telemetry::metrics,
};

/// How long a word that is lost on the control channel can be missed.
pub(crate) const REGISTER: Duration = Duration::from_secs(5);

/// Every queue's policy, those that have one.
pub(crate) type Policies = BTreeMap<QueueName, Policy>;

/// One queue of this worker.
pub(crate) struct Registered {
    pub(crate) queue: QueueName,
    pub(crate) tags: Vec<Tag>,
    pub(crate) gate: Arc<Gate>,
}

/// Registers every queue of this worker, again and again.
pub(crate) struct Registrar {
    pub(crate) connection: Connection,
    pub(crate) keys: Keys,
    pub(crate) queues: Vec<Registered>,
    pub(crate) store: Store,
    /// As last read.
    pub(crate) policies: Policies,
    /// An operator has decided something.
    pub(crate) decided: Arc<Notify>,
    pub(crate) cycle: Cycle,
}

/// Why the fleet's list could not be seen to.
#[derive(Debug, thiserror::Error)]
enum RegistrarError {
    #[error("the list of queues: {0}")]
    Broker(#[from] BrokerError),
    #[error("the policies, which stay as they were: {0}")]
    Store(#[from] StoreError),
}

impl RegistrarError {
    /// Whether the server answers nobody, which the observer says.
    fn is_of_silence(&self) -> bool {
        matches!(self, Self::Broker(error) if error.is_of_silence())
    }
}

/// What is decided, before this worker takes its first job: from Postgres, else the fleet's copy.
pub(crate) async fn first_policies(
    store: &Store,
    connection: &Connection,
    keys: &Keys,
) -> Result<Policies, BrokerError> {
    match store.policies().await {
        Ok(policies) => Ok(policies),
        Err(error) => {
            metrics::role_failed("registrar");
            tracing::warn!(%error, "could not read the queues' policies from Postgres; the fleet's copy counts for now");
            policies(connection, keys).await
        }
    }
}

impl Registrar {
    /// Ends when told to stop.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let mut ticks = interval(REGISTER);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let decided = Arc::clone(&self.decided);
        loop {
            let due = async {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = decided.notified() => {}
                }
            };
            if shutdown.run_until_stopped(due).await.is_none() {
                return;
            }
            let read = self.read_policies().await;
            let told = self.register().await;
            for error in [read.err(), told.err()].into_iter().flatten() {
                metrics::role_failed("registrar");
                self.cycle.failed();
                warn_unless_silent!(error, "could not see to the fleet's list of queues; trying again");
            }
            self.cycle.completed();
        }
    }

    /// This worker obeys first, the server is told after: it may be away.
    async fn read_policies(&mut self) -> Result<(), RegistrarError> {
        self.policies = self.store.policies().await?;
        for Registered { queue, gate, .. } in &self.queues {
            let policy = self.policies.get(queue).cloned().unwrap_or_default();
            if gate.obey(&policy) {
                tracing::info!(%queue, paused = policy.paused, concurrency = gate.n_slots(), "an operator decided about a queue");
            }
        }
        Ok(())
    }

    async fn register(&self) -> Result<(), RegistrarError> {
        for Registered { queue, tags, .. } in &self.queues {
            register(&self.connection, &self.keys, queue, tags).await?;
            let Some(policy) = self.policies.get(queue) else { continue };
            govern(&self.connection, &self.keys, (queue, tags), policy).await?;
        }
        Ok(())
    }
}
