//! The engine itself: submissions, and drains with a committed result for every job.

use std::time::Instant;

use anyhow::ensure;

use crate::{corner::Corner, noop, process::Worker, report::per_second};

/// Jobs a call of the bulk submission.
const BULK: usize = 10_000;

/// Jobs submitted per second in bulk, made and encoded included.
pub(crate) async fn enqueue_bulk(corner: &Corner, n_jobs: usize, pad: usize) -> anyhow::Result<f64> {
    let before = corner.n_waiting().await?;
    let begun = Instant::now();
    for first in (0..n_jobs).step_by(BULK) {
        corner.client.submit_all(noop::submissions(BULK.min(n_jobs - first), pad)?).await?;
    }
    let rate = per_second(n_jobs, begun.elapsed());
    let waiting = corner.n_waiting().await? - before;
    ensure!(waiting == n_jobs as u64, "{n_jobs} jobs were submitted and {waiting} wait");
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

/// Drains jobs that wait already, by so many workers.
pub(crate) async fn drain(
    corner: &mut Corner,
    n_jobs: usize,
    (n_workers, pad): (u16, usize),
) -> anyhow::Result<Drained> {
    enqueue_bulk(corner, n_jobs, pad).await?;
    let starting = (0..n_workers).map(|_| Worker::start(corner, n_workers));
    let workers = futures::future::try_join_all(starting).await?;
    let (first, begun) = corner.until_settled(1).await?;
    let (last, ended) = corner.until_settled(n_jobs as u64).await?;
    let cpu = workers.iter().map(Worker::cpu_seconds).sum::<anyhow::Result<f64>>()?;
    let peaks = workers.iter().map(Worker::peak_rss_mb).collect::<anyhow::Result<Vec<_>>>()?;
    for worker in workers {
        worker.stop().await?;
    }
    corner.verify(n_jobs).await?;
    Ok(Drained {
        jobs_per_s: per_second(usize::try_from(last - first)?, ended - begun),
        peak_rss_mb: peaks.into_iter().fold(0.0, f64::max),
        cpu_us: cpu * 1e6 / f64::from(u32::try_from(n_jobs)?),
    })
}
