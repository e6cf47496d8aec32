//! Whether what was sent over a connection has reached enough replicas.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    connection::{BrokerError, Connection, text},
    reply,
};

/// One command waits no longer than this at the server: well under the command time limit.
const SLICE: Duration = Duration::from_secs(2);

/// The least time from one question to the next: a Dragonfly without replicas answers at once.
const PAUSE: Duration = Duration::from_millis(50);

/// Writes over one connection, from now on.
pub struct Writes<'a> {
    connection: &'a Connection,
    /// The server's number for the connection: another one after it was lost and made anew.
    number: i64,
}

impl<'a> Writes<'a> {
    /// Begins; what is sent after this can be waited for.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn begin(connection: &'a Connection) -> Result<Self, BrokerError> {
        Ok(Self { connection, number: number(connection).await? })
    }

    /// Waits until `wanted` replicas have everything that was sent, at most for `within`; gives how many have it. None
    /// have it for certain where the connection was lost on the way: the server counts for the new one alone.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn replicated(&self, wanted: u32, within: Duration) -> Result<u32, BrokerError> {
        let deadline = Instant::now() + within;
        loop {
            let asked = Instant::now();
            let left = deadline.saturating_duration_since(asked).min(SLICE);
            // 0 would mean for ever.
            let args = [wanted.to_string(), left.as_millis().max(1).to_string()].map(text).to_vec();
            let waited = self.connection.call("WAIT", args).await?;
            let reached = reply::integer(&waited).and_then(|n| u32::try_from(n).ok());
            let reached = reached.ok_or_else(|| BrokerError::odd("WAIT", &waited))?;
            if reached >= wanted || Instant::now() >= deadline {
                let same = number(self.connection).await? == self.number;
                return Ok(if same { reached } else { 0 });
            }
            tokio::time::sleep_until(deadline.min(asked + PAUSE)).await;
        }
    }
}

async fn number(connection: &Connection) -> Result<i64, BrokerError> {
    let id = connection.call("CLIENT", vec![text("ID")]).await?;
    reply::integer(&id).ok_or_else(|| BrokerError::odd("CLIENT ID", &id))
}
