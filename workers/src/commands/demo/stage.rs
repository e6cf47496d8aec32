//! What every phase of the demonstration stands on: the servers, the workers, the book.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use engine::{
    broker::{Expiring, QueueTags},
    client::{Client, ClientOptions, Submission},
    completions::{Completions, Filter, cursors, replay_some},
    keys::{Keys, PartitionKeys},
    shutdown::Shutdown,
    store::Store,
};
use tokio::sync::Mutex;

use super::{
    cast::Cast,
    fleet::Fleet,
    phase::Phase,
    progress::Progress,
    tally::{Fate, Tally},
};
use crate::{app::App, cli::DemoArgs, memory};

/// What every phase stands on.
pub(super) struct Stage<'a> {
    /// The settings.
    pub(super) app: &'a App,
    /// The run's name, part of all its keys and users.
    pub(super) run: String,
    /// What the run's keys begin with.
    pub(super) prefix: String,
    /// Who takes part.
    pub(super) cast: Cast,
    /// Postgres.
    pub(super) store: Store,
    /// Submits under the run's own keys.
    pub(super) client: Client,
    /// The book.
    pub(super) tally: Arc<Tally>,
    /// The workers.
    pub(super) fleet: Mutex<Fleet>,
    listening: Shutdown,
}

/// So many jobs are submitted together.
const CHUNK: usize = 100;
/// Nothing heard for so long: what was published is read from the replay streams.
const PATIENCE: Duration = Duration::from_secs(10);
/// So often nothing is heard and nothing new replayed: what is still open is called lost.
const TRIES: usize = 3;

impl<'a> Stage<'a> {
    /// Connects, brings the schema up to date and listens for completions before anything is submitted.
    ///
    /// # Errors
    /// Which server cannot be used and why.
    pub(super) async fn set(app: &'a App, args: &DemoArgs) -> anyhow::Result<Self> {
        let run = format!("demo-{:08x}", fastrand::u32(..));
        let prefix = format!("{}{run}:", app.settings.dragonfly.key_prefix);
        let store = app.store().await?;
        let options = ClientOptions { keys: Keys::new(prefix.clone()), ..app.client_options()? };
        let shown = options.address.shown().to_owned();
        let client = Client::connect(options).await.with_context(|| format!("reach Dragonfly at {shown}"))?;
        let embedder = app.embedder()?;
        crate::commands::migrate::up(app, &store).await?;
        memory::schema::ensure_vectors(&store, embedder.dimensions()).await?;
        crate::commands::migrate::places(app, &store, &embedder).await?;
        let (tally, listening) = (Arc::new(Tally::new()), Shutdown::new());
        let completions = client.completions(&Filter::All).await?;
        drop(listening.spawn(listen(completions, Arc::clone(&tally), listening.clone())));
        let cast = Cast::new(&run, args.users, args.memories);
        let fleet = Mutex::new(Fleet::new(log_folder(&run)?));
        Ok(Self { app, run, prefix, cast, store, client, tally, fleet, listening })
    }

    /// Submits jobs as fast as they are taken.
    ///
    /// # Errors
    /// When one may not have been accepted.
    pub(super) async fn submit(&self, phase: Phase, jobs: Vec<Submission>) -> anyhow::Result<()> {
        let mut jobs = jobs.into_iter().peekable();
        while jobs.peek().is_some() {
            let some: Vec<Submission> = jobs.by_ref().take(CHUNK).collect();
            self.tally.submitting(phase, some.iter().map(|job| job.envelope.id));
            self.client.submit_all(some).await?;
        }
        Ok(())
    }

    /// Waits until all jobs of a phase are done or dead.
    ///
    /// # Errors
    /// When the server cannot be asked for completions that were missed.
    pub(super) async fn settled(&self, phase: Phase, progress: &Progress) -> anyhow::Result<()> {
        self.wait(progress, |fate| fate.phase == phase && !fate.is_settled()).await
    }

    /// Waits until all jobs of a phase are done.
    ///
    /// # Errors
    /// When the server cannot be asked for completions that were missed.
    pub(super) async fn all_done(&self, phase: Phase, progress: &Progress) -> anyhow::Result<()> {
        self.wait(progress, |fate| fate.phase == phase && fate.done.is_none()).await
    }

    /// What is still open after long silence stays open: the audit counts it.
    async fn wait(&self, progress: &Progress, open: impl Fn(&Fate) -> bool) -> anyhow::Result<()> {
        let mut tries = TRIES;
        while tries > 0 {
            if self.tally.wait(&open, PATIENCE, |n_open| progress.left(n_open)).await {
                return Ok(());
            }
            if self.replay().await? == 0 {
                tries -= 1;
            }
        }
        Ok(())
    }

    /// Hears again all that was published; gives how many completions had been missed.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub(super) async fn replay(&self) -> anyhow::Result<u64> {
        let mut n_missed = 0;
        for mut cursor in cursors(&self.queues().await?) {
            loop {
                let before = cursor.after.clone();
                let kept = replay_some(self.client.connection(), &self.client.options().keys, &mut cursor).await?;
                n_missed += self.tally.heard(kept);
                if cursor.after == before {
                    break;
                }
            }
        }
        Ok(n_missed)
    }

    /// The partitions of every queue.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub(super) async fn queues(&self) -> anyhow::Result<QueueTags> {
        Ok(self.client.queues().await?)
    }

    /// Deletes what the run leaves in Dragonfly for good: its partitions' streams and counters, its list of queues.
    /// Cached answers expire by themselves; what is in Postgres stays, to be looked at.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub(super) async fn tidy(&self) -> anyhow::Result<()> {
        let (keys, server) = (&self.client.options().keys, Expiring::new(self.client.connection().clone()));
        for tag in self.queues().await?.values().flatten() {
            let PartitionKeys { lanes, later, later_jobs, live, crashes, dead, done, control, .. } =
                keys.partition(tag);
            for key in lanes.into_iter().chain([later, later_jobs, live, crashes, dead, done, control]) {
                server.delete(&key).await?;
            }
        }
        server.delete(&keys.queues()).await?;
        Ok(())
    }

    /// Stops the workers and stops listening; gives the workers that did not end well.
    pub(super) async fn clear(&self) -> Vec<String> {
        let unwell = self.fleet.lock().await.stop().await;
        self.listening.stop();
        self.listening.finished().await;
        unwell
    }
}

async fn listen(mut completions: Completions, tally: Arc<Tally>, listening: Shutdown) {
    while let Some(Some(batch)) = listening.run_until_stopped(completions.next()).await {
        tally.heard(batch.completions);
    }
}

/// Under `.dev` where that is, as all that the development commands leave behind; else among the temporary files.
fn log_folder(run: &str) -> anyhow::Result<PathBuf> {
    let base = if std::path::Path::new(".dev").is_dir() { PathBuf::from(".dev/log") } else { std::env::temp_dir() };
    let folder = base.join(run);
    std::fs::create_dir_all(&folder).with_context(|| format!("make the folder {}", folder.display()))?;
    Ok(folder)
}
