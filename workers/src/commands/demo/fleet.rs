//! The workers of the demonstration: two, one of them killed on the way, one that takes its place.

use std::path::PathBuf;

use anyhow::Context as _;

use super::{scrape::Metrics, worker_process::WorkerProcess};
use crate::app::App;

/// Workers that were started here.
pub(super) struct Fleet {
    /// Where their logs are.
    pub(super) folder: PathBuf,
    workers: Vec<WorkerProcess>,
    n_started: usize,
    /// What the killed worker's metrics said just before.
    last_words: Vec<Metrics>,
}

/// A worker's memory, bytes.
pub(super) struct Memory {
    /// Before the first job.
    pub(super) idle: u64,
    /// At the end.
    pub(super) end: u64,
    /// The most that it ever was.
    pub(super) peak: u64,
}

impl Fleet {
    /// None yet.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, workers: Vec::new(), n_started: 0, last_words: Vec::new() }
    }

    /// Where the next worker's log goes.
    pub(super) fn next_log(&mut self) -> PathBuf {
        self.n_started += 1;
        self.folder.join(format!("worker-{}.log", self.n_started))
    }

    /// Starts two workers side by side.
    ///
    /// # Errors
    /// Why one of them did not become ready.
    pub(super) async fn start_two(&mut self, app: &App, prefix: &str) -> anyhow::Result<()> {
        let logs = [self.next_log(), self.next_log()].map(|log| WorkerProcess::start(app, prefix, log));
        let workers = futures::future::try_join_all(logs).await?;
        self.workers.extend(workers);
        Ok(())
    }

    /// A worker that was started elsewhere joins.
    pub(super) fn join(&mut self, worker: WorkerProcess) {
        self.workers.push(worker);
    }

    /// The worker that is to be killed.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn victim(&self) -> anyhow::Result<&WorkerProcess> {
        self.workers.first().context("no worker runs")
    }

    /// Kills the victim with SIGKILL.
    ///
    /// # Errors
    /// When it had ended by itself.
    pub(super) async fn kill_victim(&mut self) -> anyhow::Result<()> {
        let metrics = self.victim()?.metrics().await?;
        let mut victim = self.workers.remove(0);
        self.last_words.push(metrics);
        victim.kill()?;
        victim.buried().await
    }

    /// What the metrics of all workers say, the killed one's last words among them.
    ///
    /// # Errors
    /// When one does not answer.
    pub(super) async fn metrics(&self) -> anyhow::Result<Vec<Metrics>> {
        let mut all = futures::future::try_join_all(self.workers.iter().map(WorkerProcess::metrics)).await?;
        all.extend(self.last_words.iter().cloned());
        Ok(all)
    }

    /// The memory of those that run.
    ///
    /// # Errors
    /// When one has ended.
    pub(super) fn memory(&self) -> anyhow::Result<Vec<(String, Memory)>> {
        let of = |worker: &WorkerProcess| {
            let (end, peak) = worker.memory().with_context(|| format!("its log is {}", worker.log.display()))?;
            Ok((worker.name.clone(), Memory { idle: worker.idle_bytes, end, peak }))
        };
        self.workers.iter().map(of).collect()
    }

    /// Stops all as an operator would; gives the names of those that did not end well.
    pub(super) async fn stop(&mut self) -> Vec<String> {
        let stopped = self.workers.drain(..).map(|worker| async {
            let name = worker.name.clone();
            (!worker.stop().await).then_some(name)
        });
        futures::future::join_all(stopped).await.into_iter().flatten().collect()
    }
}
