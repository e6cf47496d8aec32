//! The engine itself: submissions, and drains with a committed result for every job.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::ensure;
use engine::{
    client::Submission,
    dedup::{Dedup, Mode},
    handler::Job as _,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    corner::Corner,
    noop::{self, Work},
    process::{self, Worker},
    samples::per_second,
};

/// Jobs a call of the bulk submission.
const BULK: usize = 10_000;

/// Longer than any benchmark.
const FAR: Duration = Duration::from_secs(86_400);

/// What is drained.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Jobs that wait when the workers start.
    pub(crate) n_jobs: usize,
    /// Bytes of padding each carries.
    pub(crate) pad: usize,
    /// What their handler does.
    pub(crate) work: Work,
    /// Worker processes.
    pub(crate) n_workers: u16,
    /// Partitions of the queue.
    pub(crate) n_partitions: u16,
}

impl Load {
    /// Small jobs with nothing to do for one worker on one partition.
    pub(crate) fn small(n_jobs: usize) -> Self {
        Self { n_jobs, pad: noop::SMALL, work: Work::Nothing, n_workers: 1, n_partitions: 1 }
    }
}

/// Jobs submitted per second in bulk, made and encoded included.
pub(crate) async fn enqueue_bulk(corner: &Corner, load: &Load) -> anyhow::Result<f64> {
    let before = corner.n_waiting().await?;
    let rate = submit(corner, load.n_jobs, |jobs| Ok(noop::at_work(jobs.len(), load.pad, load.work)?)).await?;
    let waiting = corner.n_waiting().await? - before;
    ensure!(waiting == load.n_jobs as u64, "{} jobs were submitted and {waiting} wait", load.n_jobs);
    Ok(rate)
}

/// Jobs submitted per second in bulk, each with a dedup key that no other has.
pub(crate) async fn enqueue_dedup(corner: &Corner, n_jobs: usize) -> anyhow::Result<f64> {
    let before = corner.n_waiting().await?;
    let rate = submit(corner, n_jobs, with_keys).await?;
    let waiting = corner.n_waiting().await? - before;
    ensure!(waiting == n_jobs as u64, "{n_jobs} jobs were submitted and {waiting} wait");
    Ok(rate)
}

fn with_keys(jobs: Range<usize>) -> anyhow::Result<Vec<Submission>> {
    let window_ms = u64::try_from(FAR.as_millis())?;
    let mut submissions = noop::submissions(jobs.len(), noop::SMALL)?;
    for (submission, number) in submissions.iter_mut().zip(jobs) {
        let dedup = Dedup { key: format!("bench-{number}"), window_ms, mode: Mode::Reject };
        submission.envelope.options.dedup = Some(dedup);
    }
    Ok(submissions)
}

/// Makes jobs and submits them, as a producer does who has more than one call holds: while one call is under way, the next
/// one's jobs are made. Gives jobs per second.
async fn submit(
    corner: &Corner,
    n_jobs: usize,
    made: impl Fn(Range<usize>) -> anyhow::Result<Vec<Submission>>,
) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let calls = (0..n_jobs).step_by(BULK).map(async |first| {
        let submissions = made(first..n_jobs.min(first + BULK))?;
        corner.client.submit_all(submissions).await?;
        anyhow::Ok(())
    });
    stream::iter(calls).buffered(2).try_collect::<()>().await?;
    Ok(per_second(n_jobs, begun.elapsed()))
}

const ENQUEUE: &str = "\
select count(tripsage.enqueue($1, jsonb_build_object('n', n, 'pad', repeat('x', $2)))) from generate_series(1, $3) as n";

/// Jobs accepted per second by the function in SQL, 500 a transaction, over one connection.
pub(crate) async fn enqueue_in_sql(corner: &mut Corner, n_jobs: usize) -> anyhow::Result<f64> {
    const CALLS: usize = 500;
    let begun = Instant::now();
    for first in (0..n_jobs).step_by(CALLS) {
        let enqueue = sqlx::query(ENQUEUE).bind(noop::Noop::KIND).bind(i32::try_from(noop::SMALL)?);
        let n_calls = i32::try_from(CALLS.min(n_jobs - first))?;
        enqueue.bind(n_calls).execute(&mut corner.postgres).await?;
    }
    let rate = per_second(n_jobs, begun.elapsed());
    let journaled = corner.n_journaled().await?;
    ensure!(journaled == n_jobs, "{n_jobs} jobs were enqueued and {journaled} are in the journal");
    Ok(rate)
}

/// Jobs submitted per second in bulk that are due tomorrow.
pub(crate) async fn enqueue_delayed(corner: &Corner, n_jobs: usize) -> anyhow::Result<f64> {
    let later = |jobs: Range<usize>| {
        let submissions = noop::submissions(jobs.len(), noop::SMALL)?;
        Ok(submissions.into_iter().map(|submission| submission.after(FAR)).collect())
    };
    let rate = submit(corner, n_jobs, later).await?;
    let delayed = corner.n_delayed().await?;
    ensure!(delayed == n_jobs as u64, "{n_jobs} jobs were submitted and {delayed} are delayed");
    Ok(rate)
}

/// Jobs submitted per second, each awaited.
pub(crate) async fn enqueue_single(corner: &Corner, n_jobs: usize) -> anyhow::Result<f64> {
    let submissions = noop::submissions(n_jobs, noop::SMALL)?;
    let begun = Instant::now();
    for submission in submissions {
        corner.client.submit(submission).await?;
    }
    Ok(per_second(n_jobs, begun.elapsed()))
}

/// What a drain gives.
pub(crate) struct Drained {
    /// From the first settled job to the last.
    pub(crate) jobs_per_s: f64,
    /// The most memory that a worker had.
    pub(crate) peak_rss_mb: f64,
    /// The workers' processor time, microseconds a job.
    pub(crate) cpu_us: f64,
}

/// Enqueues jobs, then drains them.
pub(crate) async fn drain(corner: &mut Corner, load: &Load) -> anyhow::Result<Drained> {
    Ok(enqueue_and_drain(corner, load).await?.1)
}

/// The same; gives how many were enqueued per second, too.
pub(crate) async fn enqueue_and_drain(corner: &mut Corner, load: &Load) -> anyhow::Result<(f64, Drained)> {
    Ok((enqueue_bulk(corner, load).await?, drain_waiting(corner, load).await?))
}

/// Drains those that were enqueued just now.
pub(crate) async fn drain_waiting(corner: &mut Corner, load: &Load) -> anyhow::Result<Drained> {
    let starting = (0..load.n_workers).map(|_| Worker::start(corner, load.n_partitions, process::many()));
    let workers = futures::future::try_join_all(starting).await?;
    let (first, begun) = corner.until_settled(1).await?;
    let (last, ended) = corner.until_settled(load.n_jobs as u64).await?;
    let cpu = workers.iter().map(Worker::cpu_seconds).sum::<anyhow::Result<f64>>()?;
    let peaks = workers.iter().map(Worker::peak_rss_mb).collect::<anyhow::Result<Vec<_>>>()?;
    for worker in workers {
        worker.stop().await?;
    }
    let n_kept = if matches!(load.work, Work::KeepsNothing) { 0 } else { load.n_jobs };
    corner.verify(n_kept).await?;
    Ok(Drained {
        jobs_per_s: per_second(usize::try_from(last - first)?, ended - begun),
        peak_rss_mb: peaks.into_iter().fold(0.0, f64::max),
        cpu_us: cpu * 1e6 / f64::from(u32::try_from(load.n_jobs)?),
    })
}

/// Jobs drained per second from a queue so deep that most of them still wait afterwards.
pub(crate) async fn drain_first(corner: &mut Corner, n_jobs: usize) -> anyhow::Result<f64> {
    let before = corner.n_settled().await?;
    corner.forget_rows().await?;
    let worker = Worker::start(corner, 1, process::many()).await?;
    let (first, begun) = corner.until_settled(before + 1).await?;
    let (last, ended) = corner.until_settled(before + n_jobs as u64).await?;
    worker.stop().await?;
    corner.verify_settled_since(before).await?;
    Ok(per_second(usize::try_from(last - first)?, ended - begun))
}
