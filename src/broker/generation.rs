//! The marks by which a server is known that kept its memory.

use super::{
    connection::{BrokerError, Connection, text},
    reply,
};
use crate::keys::Keys;

/// The field of the hash `generation`.
const NONCE: &str = "nonce";

/// What a server shows of its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What a worker left there; none in a server that started with nothing.
    pub nonce: Option<String>,
    /// The server's own: new after every restart, also from a snapshot, and after a failover.
    pub replication_id: String,
}

/// Looks at the server's memory.
///
/// # Errors
/// When the server cannot be asked.
pub async fn memory(connection: &Connection, keys: &Keys) -> Result<Memory, BrokerError> {
    let nonce = connection.call("HGET", vec![text(keys.generation()), text(NONCE)]).await?;
    let info = connection.call("INFO", vec![text("replication")]).await?;
    let told = reply::text(&info).unwrap_or_default();
    let id = told.lines().find_map(|line| line.trim().strip_prefix("master_replid:").map(str::to_owned));
    let replication_id = id.ok_or_else(|| BrokerError::odd("INFO", &info))?;
    Ok(Memory { nonce: reply::text(&nonce), replication_id })
}

/// Leaves a nonce in the server's memory.
///
/// # Errors
/// When the server cannot be asked, or its memory is full.
pub async fn mark_memory(connection: &Connection, keys: &Keys, nonce: &str) -> Result<(), BrokerError> {
    connection.call("HSET", vec![text(keys.generation()), text(NONCE), text(nonce)]).await.map(drop)
}
