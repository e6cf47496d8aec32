//! A worker's sign of life.

use super::{
    connection::{BrokerError, text},
    partition::Partition,
    reply,
    script::Script,
};

static BEAT: Script = Script::new("beat", include_str!("beat.lua"));

impl Partition {
    /// Beats for `consumer`; gives the server's time, milliseconds since 1970. When the server's memory is full the
    /// lease is renewed all the same: nobody claims what hearts hold until a lease after it has room again.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn beat(&self, consumer: &str) -> Result<u64, BrokerError> {
        let now = BEAT.run(&self.commands, &[&self.keys.live, &self.keys.control], vec![text(consumer)]).await?;
        reply::integer(&now).and_then(|ms| u64::try_from(ms).ok()).ok_or_else(|| BrokerError::odd("beat", &now))
    }

    /// Ends a consumer's beating: what it still holds may be claimed from now on.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn stop_beating(&self, consumer: &str) -> Result<(), BrokerError> {
        self.commands.call("ZREM", vec![text(&*self.keys.live), text(consumer)]).await.map(drop)
    }
}
