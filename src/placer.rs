//! Puts jobs that are written already into the partitions of their queues.
//!
//! Promise: every journaled job enters Dragonfly here, whether a client or the relay brings it. Never journals anything.

use std::collections::HashMap;

use bytes::Bytes;

use crate::{
    broker::{BrokerError, Connection, Due, QueueTags, Scheduled, Submitter},
    client::choose,
    job::{JobId, Priority, QueueName},
    keys::Keys,
    partition::Tag,
};

/// A job to place.
#[derive(Clone, Debug)]
pub(crate) struct ToPlace {
    pub(crate) id: JobId,
    pub(crate) queue: QueueName,
    pub(crate) priority: Priority,
    pub(crate) due: Option<Due>,
    pub(crate) envelope: Bytes,
}

/// Places jobs over one connection.
#[derive(Clone)]
pub(crate) struct Placer {
    submitter: Submitter,
    keys: Keys,
}

impl Placer {
    pub(crate) fn new(connection: Connection, keys: Keys) -> Self {
        Self { submitter: Submitter::new(connection), keys }
    }

    /// Places jobs, spread over their queues' partitions, those of one partition in order.
    ///
    /// # Errors
    /// As [`Submitter::add`]; some may have been accepted.
    pub(crate) async fn place(&self, queues: &QueueTags, jobs: Vec<ToPlace>) -> Result<(), BrokerError> {
        let mut by_partition: HashMap<Tag, Vec<ToPlace>> = HashMap::new();
        let turn = fastrand::usize(..1 << 16);
        for (number, job) in jobs.into_iter().enumerate() {
            by_partition.entry(choose(queues, &job.queue, turn + number)).or_default().push(job);
        }
        let placed = by_partition.into_iter().map(|(tag, jobs)| self.place_in(tag, jobs));
        futures::future::try_join_all(placed).await.map(drop)
    }

    async fn place_in(&self, tag: Tag, jobs: Vec<ToPlace>) -> Result<(), BrokerError> {
        let keys = self.keys.partition(&tag);
        let (mut ready, mut delayed) = (Vec::new(), Vec::new());
        for ToPlace { id, priority, due, envelope, .. } in jobs {
            match due {
                Some(due) => delayed.push(Scheduled { id, due, priority, envelope }),
                None => ready.push((priority, envelope)),
            }
        }
        self.submitter.add_all(&keys, ready).await?;
        self.submitter.schedule(&keys, &delayed).await
    }
}
