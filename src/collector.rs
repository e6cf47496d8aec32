//! Gathers the jobs of one batch kind, by count and by time.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use crate::runner::{Ready, Runner};

/// Gathers batches of one kind and has them run.
pub(crate) struct Collector<C> {
    pub(crate) runner: Arc<Runner<C>>,
    pub(crate) jobs: mpsc::Receiver<Ready<C>>,
    pub(crate) max_batch: usize,
    pub(crate) linger: Duration,
}

impl<C: Send + Sync + 'static> Collector<C> {
    /// Ends when nobody can send jobs any more; what is gathered is run, or handed back when stopping.
    pub(crate) async fn run(mut self) {
        while let Some(first) = self.jobs.recv().await {
            let batch = self.gather(first).await;
            let runner = Arc::clone(&self.runner);
            let tasks = runner.shutdown.clone();
            drop(tasks.spawn(async move { runner.run_together(batch).await }));
        }
    }

    async fn gather(&mut self, first: Ready<C>) -> Vec<Ready<C>> {
        let until = Instant::now() + self.linger;
        let mut batch = vec![first];
        while batch.len() < self.max_batch {
            match timeout_at(until, self.jobs.recv()).await {
                Ok(Some(job)) => batch.push(job),
                Ok(None) | Err(_) => break,
            }
        }
        batch
    }
}
