//! Tells how far running jobs have come: kept for whoever asks, published for whoever listens.
//!
//! Promise: a handler is never held up for long nor failed by it: what comes too often or cannot be told is left out.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    broker::{BrokerError, Expiring, Publisher},
    clock::ServerClock,
    job::JobId,
    keys::Keys,
    partition::Tag,
    progress::Progress,
    telemetry::metrics,
};

/// No more often than this, the last step of all aside.
const EVERY: Duration = Duration::from_millis(100);
/// The longest that a handler waits for a report.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a report is kept that no other follows.
const KEPT: Duration = Duration::from_secs(3_600);

/// What is shared by all reports of a worker.
pub(crate) struct Reporter {
    pub(crate) kept: Expiring,
    pub(crate) publisher: Publisher,
    pub(crate) keys: Keys,
    pub(crate) clock: Arc<ServerClock>,
}

/// The reports of one attempt.
pub(crate) struct Reports {
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) tag: Tag,
    pub(crate) last: Mutex<Option<Instant>>,
}

impl Reports {
    pub(crate) async fn tell(&self, id: JobId, (done, total): (u64, Option<u64>), note: &str) {
        if !self.is_due(total == Some(done)) {
            return;
        }
        let progress = Progress { done, total, note: note.to_owned(), at_ms: self.reporter.clock.now_ms() };
        let json = Bytes::from(serde_json::to_vec(&progress).expect("numbers and text encode"));
        match tokio::time::timeout(PATIENCE, self.send(id, json)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                metrics::role_failed("reporter");
                tracing::debug!(%error, job.id = %id, "could not tell how far a job has come");
            }
            Err(_) => metrics::role_failed("reporter"),
        }
    }

    fn is_due(&self, is_last: bool) -> bool {
        let now = Instant::now();
        let mut last = self.last.lock().expect("no code panics while it holds this lock");
        let due = is_last || last.is_none_or(|last| now.duration_since(last) >= EVERY);
        if due {
            *last = Some(now);
        }
        due
    }

    async fn send(&self, id: JobId, json: Bytes) -> Result<(), BrokerError> {
        let Reporter { kept, publisher, keys, .. } = &*self.reporter;
        kept.set(&keys.progress(&self.tag, id), json.clone(), KEPT).await?;
        publisher.publish(&keys.progress_channel(id), json).await.map(drop)
    }
}
