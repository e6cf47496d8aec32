//! Hears what workers say to each other on the control channel.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{broker::Subscriber, shutdown::Shutdown};

/// A word between workers, JSON on the control channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "lowercase")]
pub enum Word {
    /// A worker leaves and has handed back what it had not begun.
    Goodbye {
        /// Which worker.
        worker: String,
    },
}

/// Listens for this worker.
pub(crate) struct Listener {
    pub(crate) subscriber: Subscriber,
    pub(crate) goodbyes: watch::Sender<u64>,
}

impl Listener {
    /// Ends when told to stop. A word that is lost costs a second: every loop also looks by itself.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        while let Some(Some(message)) = shutdown.run_until_stopped(self.subscriber.next()).await {
            match message.payload.as_deref().map(serde_json::from_slice) {
                Some(Ok(Word::Goodbye { worker })) => {
                    tracing::debug!(worker, "a worker said goodbye");
                    self.goodbyes.send_modify(|n_goodbyes| *n_goodbyes += 1);
                }
                Some(Err(error)) => tracing::debug!(%error, "a word that this version does not know"),
                None => {}
            }
        }
    }
}
