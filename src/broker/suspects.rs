//! Remembers which entries run alone because a worker died while it held them.
//!
//! An entry is counted when it begins to run alone and forgotten when it is settled: what is still
//! counted when it is claimed again was running when its worker died, and nothing else was.

use super::{
    connection::{BrokerError, text},
    partition::Partition,
    release::Held,
};

impl Partition {
    /// A suspected entry begins to run alone.
    ///
    /// # Errors
    /// When the server cannot be asked, or has no memory to remember it.
    pub async fn begin_alone(&self, held: &Held) -> Result<(), BrokerError> {
        self.count_alone(held, "1").await
    }

    /// A suspected entry was cut short alive: that does not count against it.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn forget_alone(&self, held: &Held) -> Result<(), BrokerError> {
        self.count_alone(held, "-1").await
    }

    async fn count_alone(&self, held: &Held, by: &str) -> Result<(), BrokerError> {
        let field = format!("{}:{}", held.priority.lane(), held.entry.as_str());
        self.commands.call("HINCRBY", vec![text(&*self.keys.crashes), text(field), text(by)]).await.map(drop)
    }
}
