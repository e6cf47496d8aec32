//! Puts dead letters back to work.

use bytes::Bytes;

use super::{
    MAX_PER_SCRIPT,
    connection::{self, BrokerError, Connection, text},
    partition::EntryId,
    reply,
    script::Script,
};
use crate::{
    job::Priority,
    keys::{JOB_FIELD, PartitionKeys},
};

static REDRIVE: Script = Script::new("redrive", include_str!("redrive.lua"));

/// A dead letter to put back.
#[derive(Clone, Debug)]
pub struct Redrive {
    /// Its entry in the stream of dead letters.
    pub letter: EntryId,
    /// Which stream the job enters.
    pub priority: Priority,
    /// The job's envelope, fresh.
    pub envelope: Bytes,
}

/// Puts letters back into one partition; gives how many were still there.
///
/// # Errors
/// When the server cannot be asked or its memory is full; some may have been put back.
pub async fn redrive(connection: &Connection, keys: &PartitionKeys, letters: &[Redrive]) -> Result<usize, BrokerError> {
    let [high, normal, low] = &keys.lanes;
    let mut n_redriven = 0;
    for some in letters.chunks(MAX_PER_SCRIPT) {
        let mut args = vec![text(JOB_FIELD)];
        for letter in some {
            args.push(connection::bytes(letter.letter.0.clone()));
            args.extend([text(letter.priority.lane().to_string()), connection::bytes(letter.envelope.clone())]);
        }
        let redriven = REDRIVE.run(connection, &[high, normal, low, &keys.dead], args).await?;
        n_redriven += reply::integer(&redriven).and_then(|n| usize::try_from(n).ok()).unwrap_or_default();
    }
    Ok(n_redriven)
}
