//! Publish and subscribe, on one server or in a cluster.
//!
//! A Dragonfly in real cluster mode refuses PUBLISH and SUBSCRIBE and has SPUBLISH and SSUBSCRIBE; this
//! type knows both. Promise: a subscription is taken up again after a reconnection. It does not promise
//! that nothing was missed meanwhile: completions carry numbers, and can be replayed.

use bytes::Bytes;
use fred::{
    clients::SubscriberClient,
    interfaces::{ClientLike, EventInterface, PubsubInterface},
};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{
    connection::{Address, BrokerError, Connection, bytes, text},
    reply,
};

/// Which kind of channels are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Ordinary channels.
    #[default]
    Global,
    /// Sharded channels, for a Dragonfly in real cluster mode.
    Sharded,
}

impl Scope {
    /// The command that publishes.
    pub const fn publish(self) -> &'static str {
        match self {
            Self::Global => "PUBLISH",
            Self::Sharded => "SPUBLISH",
        }
    }
}

/// Publishes over one connection.
#[derive(Clone)]
pub struct Publisher {
    connection: Connection,
    scope: Scope,
}

impl Publisher {
    /// Publishes over this connection.
    pub fn new(connection: Connection, scope: Scope) -> Self {
        Self { connection, scope }
    }

    /// Publishes; gives how many received it at the server's own word.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn publish(&self, channel: &str, message: Bytes) -> Result<i64, BrokerError> {
        let received = self.connection.call(self.scope.publish(), vec![text(channel), bytes(message)]).await?;
        Ok(reply::integer(&received).unwrap_or_default())
    }
}

/// A message and where it came from.
#[derive(Clone, Debug)]
pub struct Message {
    /// The channel.
    pub channel: String,
    /// The message; none when messages were lost because the reader was too slow.
    pub payload: Option<Bytes>,
}

/// Messages that a slow reader may be behind before it misses some.
const BUFFERED: usize = 4_096;

/// Receives from channels over a connection of its own.
pub struct Subscriber {
    client: SubscriberClient,
    messages: Receiver<fred::types::Message>,
    scope: Scope,
}

impl Subscriber {
    /// Connects, subscribed to nothing yet.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn open(address: &Address, scope: Scope) -> Result<Self, BrokerError> {
        let failed = |error: fred::error::Error| BrokerError::new("connect", &error);
        let mut builder = address.builder();
        // Only subscribers get this much room: the client library reserves it in every connection that is told so.
        builder.with_performance_config(|performance| performance.broadcast_channel_capacity = BUFFERED);
        let client = builder.build_subscriber_client().map_err(failed)?;
        let messages = client.message_rx();
        client.init().await.map_err(failed)?;
        drop(client.manage_subscriptions()); // runs until the client is dropped
        Ok(Self { client, messages, scope })
    }

    /// Receives what is published on a channel from now on.
    ///
    /// # Errors
    /// When the server refuses or cannot be asked.
    pub async fn subscribe(&self, channel: &str) -> Result<(), BrokerError> {
        let subscribed = match self.scope {
            Scope::Global => self.client.subscribe(channel.to_owned()).await,
            Scope::Sharded => self.client.ssubscribe(channel.to_owned()).await,
        };
        subscribed.map_err(|error| BrokerError::new("SUBSCRIBE", &error))
    }

    /// Receives what is published on every channel that matches, such as `tripsage:done:*`.
    ///
    /// # Errors
    /// When the server refuses (sharded channels know no patterns) or cannot be asked.
    pub async fn subscribe_pattern(&self, pattern: &str) -> Result<(), BrokerError> {
        let subscribed = self.client.psubscribe(pattern.to_owned()).await;
        subscribed.map_err(|error| BrokerError::new("PSUBSCRIBE", &error))
    }

    /// The next message; none when the connection was closed.
    pub async fn next(&mut self) -> Option<Message> {
        match self.messages.recv().await {
            Ok(message) => {
                Some(Message { channel: message.channel.to_string(), payload: reply::bytes(&message.value) })
            }
            Err(RecvError::Lagged(_)) => Some(Message { channel: String::new(), payload: None }),
            Err(RecvError::Closed) => None,
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let client = self.client.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(async move { drop(client.quit().await) }));
        }
    }
}
