//! Takes jobs back that nobody works on.

use super::{
    MAX_PER_SCRIPT,
    connection::{self, BrokerError, Connection, text},
    release::Held,
    reply,
    script::Script,
    settle::{Finish, SettleContext},
};
use crate::{
    job::JobId,
    keys::{BATCH_FIELD, GROUP, PartitionKeys, RELEASED},
};

static CANCEL: Script = Script::new("cancel", include_str!("cancel.lua"));

/// Where a job stands in its partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Among the delayed jobs.
    Later,
    /// In a stream.
    Stream(Held),
    /// In the journal alone: nothing is to be removed here, and the world is told all the same.
    Journal,
}

/// A job to take back.
#[derive(Clone, Debug)]
pub struct Cancelling {
    /// Which job.
    pub id: JobId,
    /// Where it was seen.
    pub place: Place,
    /// Its dedup key, where it has one that goes with it.
    pub dedup: Option<String>,
    /// What the world is told.
    pub finish: Finish,
}

/// Takes jobs of one partition back; gives, in the same order, which were there and are gone.
///
/// # Errors
/// When the server cannot be asked; some may have been taken back.
pub async fn cancel(
    connection: &Connection,
    keys: &PartitionKeys,
    (context, queue_channel): (&SettleContext, &str),
    jobs: &[Cancelling],
) -> Result<Vec<bool>, BrokerError> {
    let mut all = Vec::with_capacity(jobs.len());
    for some in jobs.chunks(MAX_PER_SCRIPT) {
        let [high, normal, low] = &keys.lanes;
        let mut declared: Vec<&str> = vec![high, normal, low, &keys.later, &keys.later_jobs, &keys.done, &keys.control];
        let head = [GROUP, RELEASED, context.format.letter(), context.scope.publish(), queue_channel, BATCH_FIELD];
        let mut args = head.map(text).to_vec();
        for job in some {
            let (lane, entry) = match &job.place {
                Place::Later => (0, String::new()),
                Place::Journal => (4, String::new()),
                Place::Stream(held) => (held.priority.lane(), held.entry.as_str().to_owned()),
            };
            declared.extend(job.dedup.as_deref());
            let dedup = if job.dedup.is_some() { declared.len() } else { 0 };
            args.extend([lane.to_string(), entry, job.id.to_string(), dedup.to_string()].map(text));
            args.push(connection::bytes(job.finish.open.clone()));
            args.extend([text(&*job.finish.kind_channel), text(job.finish.further.join(" "))]);
        }
        let answer = CANCEL.run(connection, &declared, args).await?;
        let digits = reply::bytes(&answer).filter(|digits| digits.len() == some.len());
        let digits = digits.ok_or_else(|| BrokerError::odd("cancel", &answer))?;
        all.extend(digits.iter().map(|&digit| digit == b'1'));
    }
    Ok(all)
}
