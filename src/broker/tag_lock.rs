//! Whether a Dragonfly locks by hash tag, which neither INFO nor CONFIG GET of v1.40.1 says.
//!
//! Promise: nothing is written. Never sent to Redis or Valkey, which have no such lock.

use super::{
    connection::{BrokerError, Connection, text},
    script::Script,
};
use crate::keys::Keys;

static TAG_LOCK: Script = Script::new("tag_lock", include_str!("tag_lock.lua"));

/// What Dragonfly answers to a script that reads a key which it does not hold a lock for.
const REFUSED: &str = "undeclared key";

/// Whether scripts hold the lock of a whole tag.
///
/// # Errors
/// When the server cannot be asked, or refuses for another reason.
pub(super) async fn tag_lock(connection: &Connection, keys: &Keys) -> Result<bool, BrokerError> {
    let probe = keys.cache("probe");
    match TAG_LOCK.run(connection, &[&probe.value], vec![text(probe.refresh)]).await {
        Ok(_) => Ok(true),
        Err(error) if error.to_string().contains(REFUSED) => Ok(false),
        Err(error) => Err(error),
    }
}
