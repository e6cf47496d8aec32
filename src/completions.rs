//! Completions as a subscriber sees them: live from a channel, or replayed from the streams.

use std::collections::HashMap;

use crate::{
    broker::{Address, BrokerError, Connection, EntryId, QueueTags, Scope, Subscriber, replay},
    completion::{Completion, read_batch},
    job::{JobId, Kind, QueueName},
    keys::Keys,
    partition::Tag,
};

/// Which completions are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Every queue's.
    All,
    /// One queue's.
    Queue(QueueName),
    /// One kind's.
    Kind(Kind),
    /// One job's; the job must ask for it with `notify: ["job"]`.
    Job(JobId),
    /// One user's; the jobs must ask for it with `notify: ["user"]`.
    User(String),
    /// What jobs send to this name with `notify: ["reply:<name>"]`.
    Reply(String),
}

/// Completions that came together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The completions.
    pub completions: Vec<Completion>,
    /// Whether completions before these were missed: a number was left out, or the reader was too slow.
    pub missed: bool,
}

/// A live subscription.
pub struct Completions {
    subscriber: Subscriber,
    /// The last number of each partition, where all of a queue's completions are seen.
    last: Option<HashMap<String, u64>>,
}

impl Completions {
    /// Subscribes over a connection of its own.
    pub(crate) async fn subscribe(
        address: &Address,
        keys: &Keys,
        (scope, filter): (Scope, &Filter),
    ) -> Result<Self, BrokerError> {
        let subscriber = Subscriber::open(address, scope).await?;
        match filter {
            Filter::All => subscriber.subscribe_pattern(&format!("{}done:*", keys.prefix())).await?,
            Filter::Queue(queue) => subscriber.subscribe(&keys.done_channel(queue)).await?,
            Filter::Kind(kind) => subscriber.subscribe(&keys.kind_channel(kind)).await?,
            Filter::Job(id) => subscriber.subscribe(&keys.job_channel(*id)).await?,
            Filter::User(user) => subscriber.subscribe(&keys.user_channel(user)).await?,
            Filter::Reply(name) => subscriber.subscribe(&keys.reply_channel(name)).await?,
        }
        let counts = matches!(filter, Filter::All | Filter::Queue(_));
        Ok(Self { subscriber, last: counts.then(HashMap::new) })
    }

    /// The next batch; none when the connection was closed for good.
    pub async fn next(&mut self) -> Option<Batch> {
        loop {
            let message = self.subscriber.next().await?;
            let Some(payload) = message.payload else {
                return Some(Batch { completions: Vec::new(), missed: true });
            };
            // The pattern of all queues matches the narrower channels too, which say the same again.
            if self.last.is_some() && is_narrow(&message.channel) {
                continue;
            }
            match read_batch(&payload) {
                Ok(completions) => {
                    let missed = self.last.as_mut().is_some_and(|last| count(last, numbers(&completions)));
                    return Some(Batch { completions, missed });
                }
                Err(error) => {
                    tracing::warn!(%error, channel = message.channel, "a message that is no batch of completions")
                }
            }
        }
    }
}

fn is_narrow(channel: &str) -> bool {
    ["done:kind:", "done:job:", "done:user:", "done:reply:"].iter().any(|narrow| channel.contains(narrow))
}

/// Notes the numbers; true when one was left out.
fn count<'a>(last: &mut HashMap<String, u64>, numbers: impl Iterator<Item = (&'a str, u64)>) -> bool {
    let mut missed = false;
    for (partition, seq) in numbers {
        let before = last.insert(partition.to_owned(), seq);
        missed |= before.is_some_and(|before| seq != before + 1);
    }
    missed
}

fn numbers(completions: &[Completion]) -> impl Iterator<Item = (&str, u64)> {
    completions.iter().map(|completion| (completion.partition.as_str(), completion.seq))
}

/// Where a replay of one partition stands.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// Which partition.
    pub tag: Tag,
    /// After which entry it goes on; none from the oldest kept.
    pub after: Option<EntryId>,
}

/// A cursor at the beginning of every partition of these queues.
pub fn cursors(queues: &QueueTags) -> Vec<Cursor> {
    queues.values().flatten().map(|tag| Cursor { tag: tag.clone(), after: None }).collect()
}

/// Completions of a partition that were published before, the oldest first; moves the cursor. Empty at the end.
///
/// # Errors
/// When the server cannot be asked.
pub async fn replay_some(
    connection: &Connection,
    keys: &Keys,
    cursor: &mut Cursor,
) -> Result<Vec<Completion>, BrokerError> {
    let page = replay::replay(connection, &keys.partition(&cursor.tag), cursor.after.as_ref(), 100).await?;
    if let Some(last) = page.last() {
        cursor.after = Some(last.entry.clone());
    }
    let batches = page.iter().map(|entry| read_batch(&entry.batch));
    Ok(batches.filter_map(Result::ok).flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_left_out_is_noticed() {
        let mut last = HashMap::from([("p".to_owned(), 4)]);
        let mut missed = |seq: u64| count(&mut last, std::iter::once(("p", seq)));
        assert!(!missed(5) && missed(7) && !missed(8));
    }

    #[test]
    fn queue_channels_are_told_from_narrower_ones() {
        assert!(!is_narrow("tripsage:done:search"));
        assert!(is_narrow("tripsage:done:kind:memory.add") && is_narrow("tripsage:done:job:1"));
    }
}
