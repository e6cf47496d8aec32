//! What the fleet says of its queues: their partitions, and what operators decided about them.
//!
//! Promise: what is known is at most ten seconds old, and one submission at a time asks for it. Where there is a Postgres,
//! what operators decided is known even while Dragonfly is away.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::Client;
use crate::{
    broker::{self, BrokerError, BrokerErrorKind, QueueTags},
    job::QueueName,
    partition::{Tag, of_key, tags},
    policy::Policy,
};

/// What the fleet says of its queues.
pub(super) struct Fleet {
    pub(super) queues: QueueTags,
    pub(super) policies: BTreeMap<QueueName, Policy>,
    /// Why the server could not be asked; then only what is decided in Postgres is known.
    pub(super) away: Option<BrokerError>,
}

/// When an answer came, and what it was.
pub(super) type LastFleet = Option<(Instant, Result<Arc<Fleet>, BrokerError>)>;

/// How long a client waits for what Postgres says of policies, before it goes by Dragonfly's copy.
const DECIDED_WITHIN: Duration = Duration::from_secs(1);

/// How long the list of partitions, and what operators decided, is believed.
const FLEET_KNOWN_FOR: Duration = Duration::from_secs(10);

impl Client {
    pub(super) async fn fleet(&self) -> Result<Arc<Fleet>, BrokerError> {
        let known = self.fleet.lock().expect("no code panics while it holds this lock").clone();
        if let Some((_, fleet)) = known.filter(|(since, _)| since.elapsed() < FLEET_KNOWN_FOR) {
            return Ok(fleet);
        }
        // Boxed: it is rare, and no submission shall be as large as that.
        Box::pin(self.ask_fleet_once()).await
    }

    /// Whoever comes while somebody asks waits for that one's answer, whatever it is: a crowd of submissions is one question.
    async fn ask_fleet_once(&self) -> Result<Arc<Fleet>, BrokerError> {
        let begun = Instant::now();
        let mut last = self.last_fleet.lock().await;
        if let Some((_, answer)) = last.as_ref().filter(|(at, _)| *at > begun) {
            return answer.clone();
        }
        let answer = self.ask_fleet().await.map(Arc::new);
        if let Ok(fleet) = answer.as_ref()
            && fleet.away.is_none()
        {
            let known = Some((Instant::now(), Arc::clone(fleet)));
            *self.fleet.lock().expect("no code panics while it holds this lock") = known;
        }
        *last = Some((Instant::now(), answer.clone()));
        answer
    }

    async fn ask_fleet(&self) -> Result<Fleet, BrokerError> {
        let told = tokio::try_join!(
            broker::registered(&self.connection, &self.options.keys),
            broker::policies(&self.connection, &self.options.keys)
        );
        // Dragonfly's copy of the policies goes with its memory: where there is a Postgres, it decides.
        let decided = match &self.journal {
            Some(journal) => {
                tokio::time::timeout(DECIDED_WITHIN, journal.store.policies()).await.ok().and_then(Result::ok)
            }
            None => None,
        };
        match (told, decided) {
            (Ok((queues, copied)), decided) => Ok(Fleet { queues, policies: decided.unwrap_or(copied), away: None }),
            (Err(error), Some(policies)) if error.kind() == BrokerErrorKind::Unreachable => {
                Ok(Fleet { queues: QueueTags::new(), policies, away: Some(error) })
            }
            (Err(error), _) => Err(error),
        }
    }
}

/// Where a job goes.
pub(crate) fn choose(queues: &QueueTags, queue: &QueueName, key: Option<&str>, turn: usize) -> Tag {
    tag_at(queues, queue, place(queues, queue, key, turn))
}

/// Which of its queue's partitions a job goes to: with a dedup key, always to the same one, so that the key meets itself;
/// else by turns.
pub(super) fn place(queues: &QueueTags, queue: &QueueName, key: Option<&str>, turn: usize) -> usize {
    let n_partitions = queues.get(queue).map_or(1, |tags| tags.len().max(1));
    key.map_or(turn % n_partitions, |key| of_key(key, n_partitions))
}

/// A queue's partition. Partition 0 exists by convention, even before the first worker of the queue has started.
pub(super) fn tag_at(queues: &QueueTags, queue: &QueueName, place: usize) -> Tag {
    queues.get(queue).and_then(|tags| tags.get(place)).cloned().unwrap_or_else(|| tags(queue, 1, 1).swap_remove(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_partition_and_jobs_without_one_take_turns() {
        let queue = QueueName::from_static("search");
        let three = tags(&queue, 3, 1);
        let queues = QueueTags::from([(queue.clone(), three.clone())]);
        for turn in 0..9 {
            assert_eq!(choose(&queues, &queue, None, turn), three[turn % 3]);
            assert_eq!(choose(&queues, &queue, Some("any"), turn), three[of_key("any", 3)]);
            assert_eq!(choose(&QueueTags::new(), &queue, Some("any"), turn), three[0]);
        }
    }
}
