//! Puts jobs out of the journal into the partitions of their queues.
//!
//! Promise: each job gets a verdict of its own; one that Dragonfly had before goes in whatever its dedup key says. Never
//! touches the journal.

use std::{borrow::Cow, collections::HashMap};

use crate::{
    broker::{BrokerError, Connection, Door, Due, Enqueue, Enqueued, QueueTags, Scope},
    client::choose,
    dedup::{Dedup, Mode},
    envelope::{Envelope, Reading},
    job::{JobId, QueueName},
    keys::Keys,
    partition::Tag,
    store::Unrelayed,
};

/// Places jobs over one connection.
pub(crate) struct Placer {
    pub(crate) connection: Connection,
    pub(crate) keys: Keys,
    pub(crate) scope: Scope,
}

/// A job, its queue as it is written in the journal, and what the server made of it.
pub(crate) type Placed = (JobId, String, Enqueued);

impl Placer {
    /// Places jobs; those whose queue is no name are passed over.
    ///
    /// # Errors
    /// When the server could not be asked: some may have been accepted.
    pub(crate) async fn place(&self, queues: &QueueTags, jobs: Vec<Unrelayed>) -> Result<Vec<Placed>, BrokerError> {
        let mut by_partition: HashMap<Tag, (Vec<String>, Vec<Enqueue<'static>>)> = HashMap::new();
        let turn = fastrand::usize(..1 << 16);
        for (number, job) in jobs.into_iter().enumerate() {
            let Some(queue) = named(&job) else { continue };
            let dedup = dedup(&job);
            let tag = choose(queues, &queue, dedup.as_ref().map(|dedup| dedup.key.as_str()), turn + number);
            let (names, jobs) = by_partition.entry(tag).or_default();
            let dedup = dedup.map(Cow::Owned);
            let Unrelayed { id, queue, priority, wait, again, envelope, .. } = job;
            names.push(queue);
            jobs.push(Enqueue { id, priority, due: wait.map(Due::In), dedup, again, envelope });
        }
        let placed = by_partition.into_iter().map(|(tag, (names, jobs))| self.place_in(tag, names, jobs));
        Ok(futures::future::try_join_all(placed).await?.concat())
    }

    async fn place_in(&self, tag: Tag, names: Vec<String>, jobs: Vec<Enqueue<'_>>) -> Result<Vec<Placed>, BrokerError> {
        let door = Door { connection: &self.connection, keys: &self.keys, scope: self.scope };
        let verdicts = door.enqueue(&tag, &jobs).await?;
        Ok(jobs.iter().zip(names).zip(verdicts).map(|((job, name), verdict)| (job.id, name, verdict)).collect())
    }
}

/// A row whose queue is no name was not made by us: it is left where it is.
fn named(job: &Unrelayed) -> Option<QueueName> {
    let queue = job.queue.parse::<QueueName>();
    queue.inspect_err(|error| tracing::error!(%error, job.id = %job.id, "a row of job_journal names no queue")).ok()
}

/// The dedup key of a job that has one. Most have none, and are not read for that.
fn dedup(job: &Unrelayed) -> Option<Dedup> {
    if !job.envelope.windows(DEDUP.len()).any(|bytes| bytes == DEDUP) {
        return None;
    }
    let dedup = match Envelope::read(&job.envelope, || job.id) {
        Ok(Reading::Whole(envelope)) => envelope.options.dedup?,
        _ => return None,
    };
    // The key may be a later job's by now, which was accepted.
    Some(if job.unanswered { Dedup { mode: Mode::Existing, ..dedup } } else { dedup })
}

/// What is in every envelope with a dedup key, as JSON and as MessagePack.
const DEDUP: &[u8] = b"dedup";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        envelope::Options,
        job::{Kind, Priority},
    };
    use bytes::Bytes;

    fn journaled(envelope: Bytes) -> Unrelayed {
        let queue = "ledger".to_owned();
        let id = JobId::generate();
        Unrelayed {
            id,
            queue,
            priority: Priority::Normal,
            wait: None,
            settled: false,
            again: false,
            unanswered: false,
            envelope,
        }
    }

    #[test]
    fn a_dedup_key_is_found_in_either_format() {
        let wanted = Dedup { key: "k".to_owned(), window_ms: 5, mode: Mode::Existing };
        let options = Options { dedup: Some(wanted.clone()), ..Options::default() };
        let packed = Envelope::new(Kind::from_static("a.b"), Bytes::from_static(&[0x80]), options).write();
        let json = r#"{"kind": "a.b", "dedup": {"key": "k", "window_ms": 5, "mode": "existing"}}"#;
        assert_eq!(dedup(&journaled(packed)), Some(wanted.clone()));
        assert_eq!(dedup(&journaled(Bytes::from_static(json.as_bytes()))), Some(wanted));
        let replacing = r#"{"kind": "a.b", "dedup": {"key": "k", "window_ms": 5, "mode": "replace"}}"#;
        let unanswered = Unrelayed { unanswered: true, ..journaled(Bytes::from_static(replacing.as_bytes())) };
        assert_eq!(dedup(&unanswered).map(|dedup| dedup.mode), Some(Mode::Existing), "it takes no other job's place");
        let said = r#"{"kind": "a.b", "payload": {"text": "dedup"}}"#;
        assert_eq!(dedup(&journaled(Bytes::from_static(said.as_bytes()))), None);
    }
}
