//! Remembers which entries run alone because a worker died while it held them.
//!
//! An entry is counted when it begins to run alone and no more when that is over: what is still counted when
//! it is claimed again was running when its worker died, and nothing else was. Never notes anything for who does not own
//! the entry.

use super::{
    connection::{BrokerError, text},
    partition::{Deaths, Partition},
    release::Held,
    reply,
    script::Script,
};
use crate::keys::GROUP;

static NOTE: Script = Script::new("note", include_str!("note.lua"));

impl Partition {
    /// A suspected entry, of which so many deaths were known when it was claimed, begins to run alone; false when it is
    /// somebody else's by now.
    ///
    /// # Errors
    /// When the server cannot be asked, or has no memory to remember it. It may be noted all the same.
    pub async fn begin_alone(&self, consumer: &str, held: &Held, known: Deaths) -> Result<bool, BrokerError> {
        self.note(consumer, held, Deaths { alone: known.alone + 1, ..known }).await
    }

    /// It runs alone no more, and its worker lives: that does not count against it. May be said again.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn forget_alone(&self, consumer: &str, held: &Held, known: Deaths) -> Result<bool, BrokerError> {
        self.note(consumer, held, known).await
    }

    async fn note(&self, consumer: &str, held: &Held, deaths: Deaths) -> Result<bool, BrokerError> {
        let field = format!("{}:{}", held.priority.lane(), held.entry.as_str());
        let noted = (1_000 * deaths.in_company + deaths.alone).to_string();
        let args = [GROUP, consumer, held.entry.as_str(), &field, &noted].map(text).to_vec();
        let keys = [self.keys.lane(held.priority), &self.keys.crashes];
        let answer = NOTE.run(&self.commands, &keys, args).await?;
        Ok(reply::integer(&answer) == Some(1))
    }
}
