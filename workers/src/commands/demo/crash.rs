//! A steady load, and a worker killed in the middle of it.
//!
//! The load is open: a job is submitted when its time has come, whether or not earlier ones have come back.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use engine::{
    broker::Partition,
    client::Submission,
    envelope::{Envelope, Reading},
    job::JobId,
};

use super::{phase::Phase, progress::Progress, stage::Stage, tally::Fate, worker_process::WorkerProcess};

/// How long the steady load lasts; longer than a worker's lease, so that reclaimed jobs come in its midst.
const LASTS: Duration = Duration::from_secs(8);
/// When the worker is killed.
const KILLED_AFTER: Duration = Duration::from_secs(2);
/// How often jobs that are due are submitted.
const TICK: Duration = Duration::from_millis(10);
/// How long it is tried to find the victim with something in its hands.
const CATCH: Duration = Duration::from_secs(2);

/// The load of this phase.
pub(super) struct Load {
    /// Submitted one by one at a steady pace.
    pub(super) steady: Vec<Submission>,
    /// Submitted together just before the kill.
    pub(super) burst: Vec<Submission>,
}

/// What the kill left behind.
pub(super) struct Killed {
    /// Who was killed.
    pub(super) victim: String,
    /// When.
    pub(super) at: Instant,
    /// The jobs in its hands, and their kinds.
    pub(super) held: HashMap<JobId, String>,
    /// How many jobs a second were submitted.
    pub(super) rate: f64,
}

impl Killed {
    /// From the kill to the first and the last completion of a job that had been in the victim's hands.
    pub(super) fn back_after(&self, fates: &HashMap<JobId, Fate>) -> Option<(Duration, Duration)> {
        let done = || self.held.keys().filter_map(|id| Some(fates.get(id)?.done.as_ref()?.0.duration_since(self.at)));
        Some((done().min()?, done().max()?))
    }

    /// How many of the victim's jobs are done.
    pub(super) fn n_back(&self, fates: &HashMap<JobId, Fate>) -> usize {
        self.held.keys().filter(|&id| fates.get(id).is_some_and(|fate| fate.done.is_some())).count()
    }

    /// The victim's jobs by kind, as text.
    pub(super) fn kinds(&self) -> String {
        let mut counts: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
        self.held.values().for_each(|kind| *counts.entry(kind).or_default() += 1);
        counts.iter().map(|(kind, n)| format!("{n} {kind}")).collect::<Vec<_>>().join(", ")
    }
}

/// Submits the load, kills a worker in its midst and starts another.
///
/// # Errors
/// When a server or a worker fails otherwise than meant.
pub(super) async fn crash(stage: &Stage<'_>, load: Load) -> anyhow::Result<Killed> {
    let n_jobs = load.steady.len() + load.burst.len();
    let progress = Progress::begin(Phase::Crash.label(), n_jobs);
    let ((), mut killed) = tokio::try_join!(pace(stage, load.steady), kill(stage, load.burst))?;
    stage.settled(Phase::Crash, &progress).await?;
    progress.end();
    killed.rate = super::phase::per_second(n_jobs, LASTS);
    Ok(killed)
}

/// Submits each job when its time has come.
async fn pace(stage: &Stage<'_>, jobs: Vec<Submission>) -> anyhow::Result<()> {
    let (n_jobs, begun) = (jobs.len(), Instant::now());
    let (mut jobs, mut n_submitted) = (jobs.into_iter(), 0);
    let mut tick = tokio::time::interval(TICK);
    while n_submitted < n_jobs {
        tick.tick().await;
        let share = begun.elapsed().as_secs_f64() / LASTS.as_secs_f64();
        let n_due = due(n_jobs, share) - n_submitted;
        n_submitted += n_due;
        stage.submit(Phase::Crash, jobs.by_ref().take(n_due).collect()).await?;
    }
    Ok(())
}

/// How many of `n_jobs` are due when this share of the time is over.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count is a count"
)]
fn due(n_jobs: usize, share: f64) -> usize {
    ((n_jobs as f64 * share) as usize).min(n_jobs)
}

async fn kill(stage: &Stage<'_>, burst: Vec<Submission>) -> anyhow::Result<Killed> {
    tokio::time::sleep(KILLED_AFTER).await;
    let partitions = open_partitions(stage).await?;
    let mut fleet = stage.fleet.lock().await;
    let victim = fleet.victim()?.name.clone();
    stage.submit(Phase::Crash, burst).await?;
    let deadline = Instant::now() + CATCH;
    while held(&partitions, &victim).await?.is_empty() && Instant::now() < deadline {}
    fleet.kill_victim().await?;
    let at = Instant::now();
    let log = fleet.next_log();
    drop(fleet);
    let held = held(&partitions, &victim).await?;
    futures::future::join_all(partitions.iter().map(Partition::close)).await;
    let replacement = WorkerProcess::start(stage.app, &stage.prefix, log).await.context("start a replacement")?;
    stage.fleet.lock().await.join(replacement);
    Ok(Killed { victim, at, held, rate: 0.0 })
}

async fn open_partitions(stage: &Stage<'_>) -> anyhow::Result<Vec<Partition>> {
    let options = stage.client.options();
    let queues = stage.queues().await?;
    let tags = queues.iter().flat_map(|(queue, tags)| tags.iter().map(move |tag| (queue, tag)));
    let opened = tags.map(|(queue, tag)| Partition::open(&options.address, &options.keys, queue.clone(), tag.clone()));
    Ok(futures::future::try_join_all(opened).await?)
}

/// What the server says a worker has in its hands: the jobs and their kinds.
async fn held(partitions: &[Partition], worker: &str) -> anyhow::Result<HashMap<JobId, String>> {
    let each = partitions.iter().map(|partition| held_in(partition, worker));
    Ok(futures::future::try_join_all(each).await?.into_iter().flatten().collect())
}

async fn held_in(partition: &Partition, worker: &str) -> anyhow::Result<Vec<(JobId, String)>> {
    let held = partition.strays(worker, Duration::ZERO).await?;
    let entries = futures::future::try_join_all(held.iter().map(|stray| partition.peek(&stray.held))).await?;
    let jobs = entries.into_iter().flatten().filter_map(|entry| {
        let fallback = || entry.derived_job_id(partition.keys.lane(entry.priority));
        match Envelope::read(entry.job.as_ref()?, fallback) {
            Ok(Reading::Whole(envelope)) => Some((envelope.id, envelope.kind.to_string())),
            _ => None,
        }
    });
    Ok(jobs.collect())
}

#[cfg(test)]
mod tests {
    use super::due;

    #[test]
    fn jobs_are_due_in_step_with_time_and_never_more_than_there_are() {
        assert_eq!([0.0, 0.5, 1.0, 7.0].map(|share| due(10, share)), [0, 5, 10, 10]);
    }
}
