//! Plain values that expire by themselves: what the cache is made of.

use std::time::Duration;

use bytes::Bytes;

use super::{
    connection::{self, BrokerError, Connection, text},
    reply,
};

/// Values with an expiry, over one connection.
#[derive(Clone)]
pub struct Expiring {
    connection: Connection,
}

impl Expiring {
    /// Values over this connection.
    pub fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// The value of `key`, if it has not expired.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, BrokerError> {
        Ok(reply::bytes(&self.connection.call("GET", vec![text(key)]).await?))
    }

    /// Sets `key` for `ttl`.
    ///
    /// # Errors
    /// `OutOfMemory` when it was refused.
    pub async fn set(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), BrokerError> {
        let args = vec![text(key), connection::bytes(value), text("PX"), text(milliseconds(ttl))];
        self.connection.call("SET", args).await.map(drop)
    }

    /// Sets `key` for `ttl` unless it is set; gives whether it was set now.
    ///
    /// # Errors
    /// As [`Expiring::set`].
    pub async fn claim(&self, key: &str, owner: &str, ttl: Duration) -> Result<bool, BrokerError> {
        let args = vec![text(key), text(owner), text("NX"), text("PX"), text(milliseconds(ttl))];
        let set = self.connection.call("SET", args).await?;
        Ok(reply::text(&set).is_some_and(|word| word == "OK"))
    }

    /// Deletes `key`; gives whether it was there.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn delete(&self, key: &str) -> Result<bool, BrokerError> {
        let deleted = self.connection.call("DEL", vec![text(key)]).await?;
        Ok(reply::integer(&deleted) == Some(1))
    }
}

fn milliseconds(ttl: Duration) -> String {
    ttl.as_millis().max(1).to_string()
}
