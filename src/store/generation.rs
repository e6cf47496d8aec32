//! Which of Dragonfly's memories the journal believes in: a number that grows whenever one is lost or goes back in time.
//!
//! Promise: whoever holds the row's lock is alone with it; a new number commits together with the marks of the memory it
//! stands for.

use super::{
    connect::Store,
    error::StoreError,
    statement::{Row, Tx, statement},
};

/// A memory of Dragonfly's, and the marks by which it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Counts from 1.
    pub number: i64,
    /// What Dragonfly holds under the key `generation`; empty before the first worker ran.
    pub nonce: String,
    /// The server's own replication id, new after every restart and failover.
    pub replication_id: String,
}

const SELECT: &str = "select generation, nonce, replication_id from broker_generation";

impl Store {
    /// The present generation.
    ///
    /// # Errors
    /// When Postgres cannot be asked, or lacks the table.
    pub async fn generation(&self) -> Result<Generation, StoreError> {
        let rows = self.fetch(statement(SELECT)).await?;
        generation(rows.first())
    }
}

impl Tx {
    /// The present generation, not locked.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn generation(&mut self) -> Result<Generation, StoreError> {
        generation(self.fetch(statement(SELECT)).await?.first())
    }

    /// The present generation, locked until this transaction ends; none while another worker has it locked.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn lock_generation(&mut self) -> Result<Option<Generation>, StoreError> {
        let rows = self.fetch(super::built(format!("{SELECT} for update skip locked"))).await?;
        rows.first().map(|row| generation(Some(row))).transpose()
    }

    /// The next generation begins, known by these marks; gives its number.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn begin_generation(&mut self, nonce: &str, replication_id: &str) -> Result<i64, StoreError> {
        let begin = statement(
            "update broker_generation set generation = generation + 1, nonce = $1, replication_id = $2, changed_at = now() returning generation",
        );
        let rows = self.fetch(begin.bind(nonce.to_owned()).bind(replication_id.to_owned())).await?;
        rows.first().expect("the row is locked by this transaction").get("generation")
    }
}

fn generation(row: Option<&Row>) -> Result<Generation, StoreError> {
    let row = row.ok_or_else(|| StoreError::new("read broker_generation")(sqlx::Error::RowNotFound))?;
    Ok(Generation {
        number: row.get("generation")?,
        nonce: row.get("nonce")?,
        replication_id: row.get("replication_id")?,
    })
}
