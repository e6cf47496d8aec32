//! Frees the dedup key of a job that is over.

use super::{
    connection::{BrokerError, Connection, text},
    reply,
    script::Script,
};
use crate::{
    dedup::{Dedup, Mode},
    job::JobId,
    keys::PartitionKeys,
};

static FREE: Script = Script::new("free", include_str!("free.lua"));

/// Frees what `owner`, which is over, had for a dedup key; gives whether it still had it. A throttled key is kept:
/// only time frees it.
///
/// # Errors
/// When the server cannot be asked; the key then ends with its window.
pub async fn free(
    connection: &Connection,
    keys: &PartitionKeys,
    dedup: &Dedup,
    owner: JobId,
) -> Result<bool, BrokerError> {
    if dedup.mode == Mode::Throttle {
        return Ok(false);
    }
    let freed = FREE.run(connection, &[&keys.dedup(&dedup.key)], vec![text(owner.to_string())]).await?;
    Ok(reply::integer(&freed) == Some(1))
}
