//! From submission to the completion received, at a steady rate of arrivals; and what an idle worker costs.
//!
//! Open loop: a submission counts from the moment it was meant to happen, so that a stall shows in every
//! job that it delayed.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, ensure};
use engine::{client::Submission, completions::Filter, job::JobId};
use hdrhistogram::Histogram;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::{
    corner::{Corner, command},
    noop,
    plan::Plan,
    process::Worker,
};

/// Submissions a second.
const RATE: u32 = 500;

/// What a worker does to those who wait for it.
pub(crate) struct Latency {
    /// Submission to completion, milliseconds: the median.
    pub p50_ms: f64,
    /// And what all but one in a hundred stay under.
    pub p99_ms: f64,
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

/// Watches an idle worker, then sends it jobs at a steady rate.
pub(crate) async fn measure(corner: &mut Corner, plan: &Plan) -> anyhow::Result<(Idle, Latency)> {
    let worker = Worker::start(corner, 1).await?;
    // What a worker does to start is no part of its idleness.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let idle = watch(corner, &worker, plan.idle).await?;
    let n_jobs = usize::try_from(plan.arrivals.as_secs())? * usize::try_from(RATE)?;
    let latency = arrive(corner, n_jobs).await?;
    worker.stop().await?;
    corner.verify(n_jobs).await?;
    Ok((idle, latency))
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

async fn arrive(corner: &Corner, n_jobs: usize) -> anyhow::Result<Latency> {
    let mut completions = corner.client.completions(&Filter::Queue(noop::QUEUE)).await?;
    let submissions = noop::submissions(n_jobs, noop::SMALL)?;
    let ids: Vec<JobId> = submissions.iter().map(|submission| submission.envelope.id).collect();
    let begun = Instant::now() + Duration::from_millis(50);
    let send = submit_on_time(corner, submissions, begun);
    let receive = async {
        let mut received = HashMap::with_capacity(n_jobs);
        while received.len() < n_jobs {
            let batch = timeout(Duration::from_secs(20), completions.next()).await;
            let batch = batch.context("no completion came for 20 s")?.context("the subscription ended")?;
            let now = Instant::now();
            received.extend(batch.completions.into_iter().map(|completion| (completion.id, now)));
        }
        anyhow::Ok(received)
    };
    let ((), received) = tokio::try_join!(send, receive)?;
    let mut histogram = Histogram::<u64>::new(3)?;
    for (place, id) in ids.iter().enumerate() {
        let intended = begun + Duration::from_secs(1) / RATE * u32::try_from(place)?;
        let at = received.get(id).context("a completion of a job that nobody submitted")?;
        histogram.record(u64::try_from(at.duration_since(intended).as_micros())?)?;
    }
    let ms = |quantile| std::time::Duration::from_micros(histogram.value_at_quantile(quantile)).as_secs_f64() * 1e3;
    Ok(Latency { p50_ms: ms(0.5), p99_ms: ms(0.99) })
}

/// Submits each at its own moment, whatever became of those before.
async fn submit_on_time(corner: &Corner, submissions: Vec<Submission>, begun: Instant) -> anyhow::Result<()> {
    let mut due = metronome(begun, submissions.len());
    let mut sent = futures::stream::FuturesUnordered::new();
    let mut submissions = submissions.into_iter();
    loop {
        use futures::StreamExt as _;
        tokio::select! {
            Some(()) = due.recv() => sent.push(corner.client.submit(submissions.next().context("as many as ticks")?)),
            Some(accepted) = sent.next() => drop(accepted?),
            else => break,
        }
    }
    ensure!(submissions.next().is_none(), "not every job was submitted");
    Ok(())
}

/// Ticks from a thread of its own: the runtime's timers are too coarse for fractions of a millisecond.
fn metronome(begun: Instant, n_ticks: usize) -> mpsc::UnboundedReceiver<()> {
    let (ticks, due) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for place in 0..u32::try_from(n_ticks).unwrap_or(u32::MAX) {
            let intended = begun + Duration::from_secs(1) / RATE * place;
            std::thread::sleep(intended.saturating_duration_since(Instant::now()));
            if ticks.send(()).is_err() {
                return;
            }
        }
    });
    due
}
