//! Forgets dead letters that are older than an operator wants them kept, in their streams and in the mirror.
//!
//! Promise: never acts unless a retention is set; one worker at a time; what is forgotten is counted and logged. Never
//! touches a dead job that was put back to work, nor a letter that cannot be read.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    broker::{BrokerError, Connection, registered, warn_unless_silent},
    cycles::Cycle,
    dead_letters::{DeadLetters, DeadLettersError, Manner},
    job::QueueName,
    keys::Keys,
    shutdown::Shutdown,
    store::{DeadFilter, Store, StoreError},
    telemetry::metrics,
};

/// How often each worker looks; the first time when it starts.
pub(crate) const LOOK: Duration = Duration::from_secs(3600);

/// Expires the dead letters of every queue of the fleet.
pub(crate) struct Expirer {
    pub(crate) connection: Connection,
    pub(crate) keys: Keys,
    pub(crate) store: Store,
    pub(crate) retention: Duration,
    pub(crate) cycle: Cycle,
}

/// Why dead letters could not be expired.
#[derive(Debug, thiserror::Error)]
enum ExpireError {
    #[error("{0}")]
    Broker(#[from] BrokerError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Letters(#[from] DeadLettersError),
}

impl ExpireError {
    /// Whether the server answers nobody, which the observer says.
    fn is_of_silence(&self) -> bool {
        matches!(self, Self::Broker(error) if error.is_of_silence())
    }
}

impl Expirer {
    /// Ends when told to stop; what was forgotten until then stays forgotten.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_stopped(ticks.tick()).await.is_some() {
            if let Some(Err(error)) = shutdown.run_until_stopped(Box::pin(self.expire())).await {
                metrics::role_failed("expirer");
                self.cycle.failed();
                warn_unless_silent!(error, "could not forget old dead letters; trying again in an hour");
            }
            self.cycle.completed();
        }
    }

    async fn expire(&self) -> Result<(), ExpireError> {
        let mut tx = self.store.begin().await?;
        if !tx.expires_alone().await? {
            return Ok(()); // another worker is at it
        }
        let retention = TimeDelta::from_std(self.retention).unwrap_or(TimeDelta::MAX);
        let Some(before) = self.store.now().await?.checked_sub_signed(retention) else { return Ok(()) };
        let queues = registered(&self.connection, &self.keys).await?;
        let (connection, keys, store) = (self.connection.clone(), self.keys.clone(), self.store.clone());
        let letters = DeadLetters { connection, keys, store, queues };
        for queue in letters.queues.keys() {
            let n_letters = self.expire_in(&letters, queue, before).await?;
            if n_letters > 0 {
                metrics::dead_letters_expired(queue, n_letters);
                tracing::info!(%queue, n_letters, %before, "forgot dead letters that are older than they are to be kept");
            }
        }
        Ok(tx.commit().await?)
    }

    async fn expire_in(
        &self,
        letters: &DeadLetters,
        queue: &QueueName,
        before: DateTime<Utc>,
    ) -> Result<usize, ExpireError> {
        let filter = DeadFilter { queue: Some(queue.to_string()), until: Some(before), ..DeadFilter::default() };
        let acted = letters.purge(&filter, Manner::default(), |_| ()).await?;
        // Those that only the mirror has and that cannot be read.
        let n_more = self.store.forget_dead_before(queue.as_str(), before).await?;
        Ok(acted.done + usize::try_from(n_more).unwrap_or_default())
    }
}
