//! Accepts jobs that are to wait.

use std::time::Duration;

use bytes::Bytes;

use super::{
    MAX_PER_SCRIPT,
    connection::{self, BrokerError, Connection, text},
    pubsub::Scope,
    script::Script,
};
use crate::{
    job::{JobId, Priority},
    keys::PartitionKeys,
};

static SCHEDULE: Script = Script::new("schedule", include_str!("schedule.lua"));

/// When a job is due, by the server's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// At this time, milliseconds since 1970.
    At(u64),
    /// This long from now.
    In(Duration),
}

/// A job that is to wait.
#[derive(Clone, Debug)]
pub struct Scheduled {
    /// Which job.
    pub id: JobId,
    /// When it is due.
    pub due: Due,
    /// Which stream it then enters.
    pub priority: Priority,
    /// Its envelope.
    pub envelope: Bytes,
}

/// A hash's value: the lane's digit, then the envelope.
pub(crate) fn with_lane(priority: Priority, envelope: &[u8]) -> Bytes {
    let mut value = Vec::with_capacity(1 + envelope.len());
    value.push(b'0' + priority.lane());
    value.extend_from_slice(envelope);
    Bytes::from(value)
}

/// Accepts delayed jobs into one partition.
pub(super) async fn schedule(
    connection: &Connection,
    keys: &PartitionKeys,
    (scope, jobs): (Scope, &[Scheduled]),
) -> Result<(), BrokerError> {
    for some in jobs.chunks(MAX_PER_SCRIPT) {
        let mut args = Vec::with_capacity(3 + 4 * some.len());
        args.extend([scope.publish(), &keys.words, &keys.due_word].map(text));
        for job in some {
            let (how, ms) = match job.due {
                Due::At(ms) => ("at", u128::from(ms)),
                Due::In(delay) => ("in", delay.as_millis()),
            };
            args.extend([text(job.id.to_string()), text(how), text(ms.to_string())]);
            args.push(connection::bytes(with_lane(job.priority, &job.envelope)));
        }
        SCHEDULE.run(connection, &[&keys.later, &keys.later_jobs], args).await?;
    }
    Ok(())
}
