//! Hears what workers say to each other on the control channel.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::{
    broker::Subscriber, cancellations::Cancellations, cycles::Cycle, holding::Holding, job::JobId, shutdown::Shutdown,
};

/// A word between workers, JSON on the control channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "lowercase")]
pub enum Word {
    /// A worker leaves and has handed back what it had not begun.
    Goodbye {
        /// Which worker.
        worker: String,
    },
    /// An operator decided something about a queue: look what it is.
    Policies,
    /// Jobs were cancelled: whoever runs one ends its handler.
    Cancel {
        /// Which jobs.
        ids: Vec<JobId>,
    },
    /// A job has become the earliest of those that wait in a partition: promoters that sleep longer wake up. Said by the
    /// scripts that accept delayed jobs and retries.
    Due {
        /// The partition's tag.
        partition: String,
    },
}

impl Word {
    /// The word as it goes over the channel.
    pub(crate) fn write(&self) -> Bytes {
        Bytes::from(serde_json::to_vec(self).expect("names and ids encode"))
    }
}

/// Listens for this worker.
pub(crate) struct Listener {
    pub(crate) subscriber: Subscriber,
    pub(crate) goodbyes: watch::Sender<u64>,
    pub(crate) decided: Arc<Notify>,
    pub(crate) cancellations: Arc<Cancellations>,
    /// This worker's partitions by their tags.
    pub(crate) holdings: HashMap<String, Arc<Holding>>,
    /// Says that the loop goes on, as long as it is kept.
    pub(crate) _cycle: Cycle,
}

impl Listener {
    /// Ends when told to stop. A word that is lost costs seconds: every loop also looks by itself, and a
    /// cancelled job that runs on has no effect.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        while let Some(Some(message)) = shutdown.run_until_stopped(self.subscriber.next()).await {
            match message.payload.as_deref().map(serde_json::from_slice) {
                Some(Ok(Word::Goodbye { worker })) => {
                    tracing::debug!(worker, "a worker said goodbye");
                    self.goodbyes.send_modify(|n_goodbyes| *n_goodbyes += 1);
                }
                Some(Ok(Word::Policies)) => self.decided.notify_one(),
                Some(Ok(Word::Cancel { ids })) => self.cancellations.cancel(&ids),
                Some(Ok(Word::Due { partition })) => {
                    if let Some(holding) = self.holdings.get(&partition) {
                        holding.nudge();
                    }
                }
                Some(Err(error)) => tracing::debug!(%error, "a word that this version does not know"),
                None => {}
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::{keys::Keys, partition::Tag};

    #[test]
    fn what_the_scripts_say_of_a_due_job_is_understood() {
        let keys = Keys::new("tripsage:").partition(&Tag::parse("search~1x3").unwrap());
        let word: Word = serde_json::from_str(&keys.due_word).unwrap();
        assert_eq!(word, Word::Due { partition: "search~1x3".to_owned() });
    }
}
