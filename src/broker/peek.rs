//! Looks at a delivery where it stands, without taking it: which job a worker had in its hands.

use super::{
    connection::{BrokerError, text},
    partition::{Deaths, Entry, Partition},
    release::Held,
    reply,
};

impl Partition {
    /// The entry of a delivery; none when it is settled and gone.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn peek(&self, held: &Held) -> Result<Option<Entry>, BrokerError> {
        let (lane, id) = (self.keys.lane(held.priority), held.entry.as_str());
        let found = self.commands.call("XRANGE", [lane, id, id, "COUNT", "1"].map(text).to_vec()).await?;
        let entry = reply::array(&found).first().map(reply::array);
        Ok(entry
            .and_then(|parts| Some(Entry::of_fields(held.priority, parts.first()?, parts.get(1)?, Deaths::default()))))
    }
}
