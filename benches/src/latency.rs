//! From submission to the handler's start and to the completion received; and what an idle worker costs.
//!
//! Open loop: a submission counts from the moment it was meant to happen, so that a stall shows in every
//! job that it delayed. Arrivals come at a steady rate.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, ensure};
use engine::{
    client::Submission,
    completions::{Completions, Filter},
    job::JobId,
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use hdrhistogram::Histogram;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::{
    corner::{Corner, command},
    noop,
    process::{self, Worker},
};

/// The first arrivals warm up both sides and are not counted; as for the peers.
const N_WARM: usize = 100;

/// Jobs that arrive.
#[derive(Clone, Copy)]
pub(crate) struct Arrivals {
    /// Submissions a second.
    pub(crate) per_s: u32,
    /// For how long.
    pub(crate) during: Duration,
    /// Submissions that are due together go in one call, up to so many.
    pub(crate) at_once: usize,
    /// Arrivals that are not counted.
    n_warm: usize,
}

impl Arrivals {
    /// Each in a call of its own, at a rate that leaves everything time.
    pub(crate) fn steady(during: Duration) -> Self {
        Self { per_s: 500, during, at_once: 1, n_warm: N_WARM }
    }

    /// So many that some are due together.
    pub(crate) fn dense(per_s: f64, during: Duration) -> Self {
        let per_s = num_cast(per_s).max(1);
        Self { per_s, during, at_once: 256, n_warm: N_WARM }
    }

    /// So few that everything has come to rest before each.
    pub(crate) fn from_idle(during: Duration) -> Self {
        Self { per_s: 4, during, at_once: 1, n_warm: 0 }
    }

    fn n_jobs(&self) -> usize {
        self.n_warm + usize::try_from(u64::from(self.per_s) * self.during.as_secs()).unwrap_or(usize::MAX)
    }

    /// When one is meant to be submitted, since the first.
    fn at(&self, place: usize) -> Duration {
        Duration::from_secs_f64(f64::from(u32::try_from(place).unwrap_or(u32::MAX)) / f64::from(self.per_s))
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate: positive, and far below the limit")]
fn num_cast(rate: f64) -> u32 {
    rate as u32
}

/// A distribution in two numbers.
#[derive(Debug, PartialEq)]
pub(crate) struct Quantiles {
    /// The median, milliseconds.
    pub(crate) p50_ms: f64,
    /// What all but one in a hundred stay under.
    pub(crate) p99_ms: f64,
}

impl Quantiles {
    fn of(waits_us: impl Iterator<Item = u64>) -> anyhow::Result<Self> {
        let mut histogram = Histogram::<u64>::new(3)?;
        for wait in waits_us {
            histogram.record(wait)?;
        }
        let ms = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile)).as_secs_f64() * 1e3;
        Ok(Self { p50_ms: ms(0.5), p99_ms: ms(0.99) })
    }
}

/// What a worker does to those who wait for it.
pub(crate) struct Latency {
    /// Submission to the start of the handler.
    pub(crate) start: Quantiles,
    /// Submission to the completion received.
    pub(crate) completion: Quantiles,
}

/// What an idle worker costs.
pub(crate) struct Idle {
    /// Resident memory, MB.
    pub(crate) rss_mb: f64,
    /// Share of one core.
    pub(crate) core: f64,
    /// Commands per second at the server.
    pub(crate) commands_per_s: f64,
}

/// Sends jobs to a worker that has been idle for so long; gives what it cost then, too.
pub(crate) async fn measure(
    corner: &mut Corner,
    idle: Duration,
    arrivals: Arrivals,
) -> anyhow::Result<(Idle, Latency)> {
    let worker = Worker::start(corner, 1, process::usual()).await?;
    // What a worker does to start is no part of its idleness.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let idle = watch(corner, &worker, idle).await?;
    let completed_us = arrive(corner, arrivals).await?;
    let started_us = worker.stop().await?;
    corner.verify(arrivals.n_jobs()).await?;
    ensure!(started_us.len() == arrivals.n_jobs(), "{} handlers told of their start", started_us.len());
    let counted = |waits: Vec<u64>| Quantiles::of(waits.into_iter().skip(arrivals.n_warm));
    Ok((idle, Latency { start: counted(started_us)?, completion: counted(completed_us)? }))
}

async fn watch(corner: &Corner, worker: &Worker, during: Duration) -> anyhow::Result<Idle> {
    let (commands, cpu, since) = (n_commands(corner).await?, worker.cpu_seconds()?, Instant::now());
    tokio::time::sleep(during).await;
    let seconds = since.elapsed().as_secs_f64();
    Ok(Idle {
        rss_mb: worker.rss_mb()?,
        core: (worker.cpu_seconds()? - cpu) / seconds,
        commands_per_s: (n_commands(corner).await? - commands) / seconds,
    })
}

/// Commands that the server has run, those that only ask for this number aside.
async fn n_commands(corner: &Corner) -> anyhow::Result<f64> {
    let info: String = command(&corner.plain, "INFO", vec!["commandstats".into()]).await?.convert()?;
    let calls = info.lines().filter(|line| !line.starts_with("cmdstat_info")).filter_map(|line| {
        line.split_once("calls=")
            .and_then(|(_, rest)| rest.split(',').next())
            .and_then(|calls| calls.parse::<f64>().ok())
    });
    Ok(calls.sum())
}

/// Submits at the given rate; gives how long each took to its completion, microseconds, in the order of submission.
async fn arrive(corner: &Corner, arrivals: Arrivals) -> anyhow::Result<Vec<u64>> {
    let completions = corner.client.completions(&Filter::Queue(noop::QUEUE)).await?;
    let (lead, n_jobs) = (Duration::from_millis(50), arrivals.n_jobs());
    let (begun, begun_us) = (Instant::now() + lead, noop::now_us() + 50_000);
    let intended = |place| anyhow::Ok(begun_us + u64::try_from(arrivals.at(place).as_micros())?);
    let submissions: Vec<Submission> =
        (0..n_jobs).map(|place| Ok(noop::timed(place, intended(place)?)?)).collect::<anyhow::Result<_>>()?;
    let ids: Vec<JobId> = submissions.iter().map(|submission| submission.envelope.id).collect();
    let send = submit_on_time(corner, submissions, (begun, arrivals));
    let ((), received) = tokio::try_join!(send, receive(completions, n_jobs))?;
    let waited = |(place, id): (usize, &JobId)| {
        let at: &Instant = received.get(id).context("a completion of a job that nobody submitted")?;
        Ok(u64::try_from(at.duration_since(begun + arrivals.at(place)).as_micros())?)
    };
    ids.iter().enumerate().map(waited).collect()
}

async fn receive(mut completions: Completions, n_jobs: usize) -> anyhow::Result<HashMap<JobId, Instant>> {
    let mut received = HashMap::with_capacity(n_jobs);
    while received.len() < n_jobs {
        let batch = timeout(Duration::from_secs(20), completions.next()).await;
        let batch = batch.context("no completion came for 20 s")?.context("the subscription ended")?;
        let now = Instant::now();
        received.extend(batch.completions.into_iter().map(|completion| (completion.id, now)));
    }
    Ok(received)
}

/// Submits each at its own moment, whatever became of those before.
async fn submit_on_time(
    corner: &Corner,
    submissions: Vec<Submission>,
    (begun, arrivals): (Instant, Arrivals),
) -> anyhow::Result<()> {
    let mut due = metronome(begun, arrivals, submissions.len());
    let mut sent = FuturesUnordered::new();
    let mut submissions = submissions.into_iter();
    let mut ticks = Vec::with_capacity(arrivals.at_once);
    loop {
        tokio::select! {
            n_due @ 1.. = due.recv_many(&mut ticks, arrivals.at_once) => {
                ticks.clear();
                sent.push(corner.client.submit_all(submissions.by_ref().take(n_due).collect()));
            }
            Some(accepted) = sent.next() => drop(accepted?),
            else => break,
        }
    }
    ensure!(submissions.next().is_none(), "not every job was submitted");
    Ok(())
}

/// Ticks from a thread of its own: the runtime's timers are too coarse for fractions of a millisecond.
fn metronome(begun: Instant, arrivals: Arrivals, n_ticks: usize) -> mpsc::UnboundedReceiver<()> {
    let (ticks, due) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for place in 0..n_ticks {
            let intended = begun + arrivals.at(place);
            std::thread::sleep(intended.saturating_duration_since(Instant::now()));
            if ticks.send(()).is_err() {
                return;
            }
        }
    });
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_evenly_spaced_and_the_warm_ones_come_on_top() {
        let arrivals = Arrivals::steady(Duration::from_secs(2));
        assert_eq!(arrivals.n_jobs(), 1_100);
        assert_eq!(arrivals.at(500), Duration::from_secs(1));
    }

    #[test]
    fn a_dense_rate_is_a_whole_number_and_never_nothing() {
        assert_eq!(Arrivals::dense(15_000.5, Duration::from_secs(1)).per_s, 15_000);
        assert_eq!(Arrivals::dense(0.5, Duration::from_secs(1)).per_s, 1);
    }

    #[test]
    fn quantiles_are_in_milliseconds() {
        let quantiles = Quantiles::of((1..=100).map(|n| n * 1_000)).unwrap();
        assert!((quantiles.p50_ms - 50.0).abs() < 0.1 && (quantiles.p99_ms - 99.0).abs() < 0.1, "{quantiles:?}");
    }
}
