//! Makes a delayed job ready before it is due.

use super::{
    connection::{BrokerError, Connection, bytes, text},
    enqueue::with_lane,
    reply,
    script::Script,
    sightings::Delayed,
};
use crate::{
    envelope::Envelope,
    keys::{JOB_FIELD, PartitionKeys},
};

static HASTEN: Script = Script::new("hasten", include_str!("hasten.lua"));

/// Moves a delayed job into its stream, with another envelope; gives whether it still waited as it was seen.
///
/// # Errors
/// `OutOfMemory` when the server cannot take it: it stays where it is.
pub async fn hasten(
    connection: &Connection,
    keys: &PartitionKeys,
    seen: &Delayed,
    envelope: &Envelope,
) -> Result<bool, BrokerError> {
    let [high, normal, low] = &keys.lanes;
    let mut args = vec![text(JOB_FIELD), text(seen.id.to_string())];
    args.extend([bytes(with_lane(seen.priority, &seen.envelope)), bytes(envelope.write())]);
    let dedup = envelope.options.dedup.as_ref().map(|dedup| keys.dedup(&dedup.key));
    let mut declared: Vec<&str> = vec![high, normal, low, &keys.later, &keys.later_jobs];
    declared.extend(dedup.as_deref());
    let moved = HASTEN.run(connection, &declared, args).await?;
    Ok(reply::integer(&moved) == Some(1))
}
