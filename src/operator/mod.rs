//! What an operator does while the service runs: decides about queues, takes jobs back, looks where a job is.
//!
//! Promise: what is decided is in Postgres before anybody hears of it, so that neither a restart nor a server
//! that lost its memory undoes it; a call that fails says what was done until then. Never acts on a job that a
//! worker owns: the worker hears a word.

mod cancel;
mod empty;
mod find;
mod list;
mod policies;
mod state;

use std::time::Duration;

pub use self::{
    cancel::Cancelled,
    empty::{Left, Purged},
    list::{Hastened, Listed, Listing},
    state::{Ended, JobState, Live},
};
use crate::{
    broker::{BrokerError, Connection, Publisher, QueueTags, SettleContext},
    client::Client,
    clock::ServerClock,
    completion::Format,
    envelope::Options,
    job::QueueName,
    keys::Keys,
    listener::Word,
    partition::Tag,
    store::{Store, StoreError},
};

/// An operator at work.
pub struct Operator {
    connection: Connection,
    publisher: Publisher,
    keys: Keys,
    store: Store,
    queues: QueueTags,
    clock: ServerClock,
    context: SettleContext,
    no_options: Options,
}

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// Dragonfly could not be asked; nothing was done.
    #[error("ask Dragonfly: {0}")]
    Broker(#[from] BrokerError),
    /// Postgres could not be asked; nothing was done.
    #[error("ask Postgres: {0}")]
    Store(#[from] StoreError),
    /// It is decided and will be in force, but is not yet.
    #[error(
        "tell Dragonfly what is decided about the queue `{queue}`: {source}; it is written in Postgres, and workers see to it within seconds once Dragonfly answers"
    )]
    NotYet {
        /// Which queue.
        queue: QueueName,
        /// What Dragonfly said.
        #[source]
        source: BrokerError,
    },
}

impl Operator {
    /// Works over a client's connection; completions of jobs that it cancels are written as workers write theirs.
    ///
    /// # Errors
    /// When Dragonfly cannot be asked which queues there are.
    pub async fn new(client: &Client, store: Store, format: Format) -> Result<Self, OperatorError> {
        let (connection, keys, scope) =
            (client.connection().clone(), client.options().keys.clone(), client.options().scope);
        let clock = ServerClock::new();
        clock.heard(connection.now_ms().await?);
        Ok(Self {
            publisher: Publisher::new(connection.clone(), scope),
            connection,
            keys,
            store,
            queues: client.queues().await?,
            clock,
            // Kept for replay as long as the partition's next settlement says.
            context: SettleContext { consumer: String::new(), format, scope, retention: Duration::ZERO },
            no_options: Options::default(),
        })
    }

    /// Every queue that a worker has registered, with its partitions.
    pub fn queues(&self) -> &QueueTags {
        &self.queues
    }

    fn tags(&self, queue: &QueueName) -> &[Tag] {
        self.queues.get(queue).map(Vec::as_slice).unwrap_or_default()
    }

    async fn say(&self, word: &Word) -> Result<(), BrokerError> {
        self.publisher.publish(&self.keys.control_channel(), word.write()).await.map(drop)
    }
}
