//! What the adapters in Rust share: the protocol of `../../README.md`, the clock, arrivals at a steady rate.
//!
//! Promise: one line of JSON on standard output, or an error and an exit code other than 0; ends with whoever asked.

use std::{
    future::Future,
    io::Read as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

/// Jobs a bulk call.
const BULK: usize = 1_000;
const CONCURRENCY: usize = 100;
/// The first arrivals warm up both sides and are not counted.
const N_WARM: usize = 100;
/// What a handler calls with the moment that its job was meant to be submitted.
pub type OnJob = Arc<dyn Fn(f64) + Send + Sync>;

/// A job system.
pub trait Peer: Send + Sync + 'static {
    /// Enqueues so many jobs by its fastest way.
    fn enqueue(&self, n_jobs: usize) -> impl Future<Output = anyhow::Result<()>> + Send;
    /// Enqueues one that carries the moment it was meant for.
    fn submit(&self, n: usize, intended_ms: f64) -> impl Future<Output = anyhow::Result<()>> + Send;
    /// Runs jobs from now on, until it is dropped.
    fn work(&mut self, concurrency: usize, on_job: OnJob) -> impl Future<Output = anyhow::Result<()>> + Send;
    /// Stops working.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}

/// Does what the arguments say.
///
/// # Errors
/// What the peer said, or that it did not get done in time.
pub async fn run(peer: impl Peer) -> anyhow::Result<()> {
    std::thread::spawn(end_with_standard_input);
    let words: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = words.iter().skip(1).map(|word| word.parse()).collect::<Result<_, _>>()?;
    let answer = match (words.first().map(String::as_str), numbers.as_slice()) {
        (Some("drain"), &[n, concurrency]) => drain(peer, n, concurrency).await?,
        (Some("latency"), &[rate, seconds]) => latency(peer, rate, seconds).await?,
        _ => bail!("expected: drain N CONCURRENCY | latency RATE SECONDS"),
    };
    println!("{answer}");
    Ok(())
}

/// When whoever asked is gone, nobody would stop this program.
fn end_with_standard_input() {
    std::io::stdin().read_to_end(&mut Vec::new()).ok(); // An error is an end, too.
    std::process::exit(1);
}

/// What every job carries beside a number.
pub fn pad() -> String {
    let length = std::env::var("PAYLOAD_BYTES").ok().and_then(|length| length.parse().ok());
    "x".repeat(length.unwrap_or(80))
}

/// A variable of the protocol.
///
/// # Errors
/// When it is not set.
pub fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set: see benches/peers/README.md"))
}

fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64() * 1e3)
}

async fn enqueue(peer: &impl Peer, n_jobs: usize) -> anyhow::Result<f64> {
    let begun = Instant::now();
    for first in (0..n_jobs).step_by(BULK) {
        peer.enqueue(BULK.min(n_jobs - first)).await?;
    }
    Ok(begun.elapsed().as_secs_f64())
}

async fn drain(mut peer: impl Peer, n_jobs: usize, concurrency: usize) -> anyhow::Result<Value> {
    let enqueue_seconds = enqueue(&peer, n_jobs).await?;
    let n_ended = Arc::new(AtomicUsize::new(0));
    let first = Arc::new(Mutex::new(None));
    let last = Arc::new(Mutex::new(None));
    let done = Arc::new(Notify::new());
    let on_job: OnJob = {
        let (n_ended, first, last, done) = (n_ended.clone(), first.clone(), last.clone(), done.clone());
        Arc::new(move |_| match n_ended.fetch_add(1, Ordering::SeqCst) + 1 {
            n if n == n_jobs => {
                *last.lock().expect("no code panics while it holds this lock") = Some(Instant::now());
                done.notify_one();
            }
            1 => *first.lock().expect("no code panics while it holds this lock") = Some(Instant::now()),
            _ => {}
        })
    };
    peer.work(concurrency, on_job).await?;
    let patience = Duration::from_secs(30 + n_jobs as u64 / 50);
    tokio::time::timeout(patience, done.notified()).await.context("not all jobs were run in time")?;
    peer.close().await;
    let at = |moment: &Mutex<Option<Instant>>| *moment.lock().expect("no code panics while it holds this lock");
    let seconds = at(&last).zip(at(&first)).map_or(0.0, |(last, first)| (last - first).as_secs_f64());
    let jobs = n_ended.load(Ordering::SeqCst);
    Ok(json!({ "measure": "drain", "jobs": jobs, "enqueue_seconds": enqueue_seconds, "seconds": seconds }))
}

async fn latency(mut peer: impl Peer, rate: usize, seconds: usize) -> anyhow::Result<Value> {
    let n_jobs = rate * seconds + N_WARM;
    let (started, mut waits) = mpsc::unbounded_channel();
    let on_job = move |intended: f64| {
        started.send(now_ms() - intended).ok(); // Nobody listens once all have come.
    };
    peer.work(CONCURRENCY, Arc::new(on_job)).await?;
    tokio::time::sleep(Duration::from_millis(500)).await; // What it does to start is no part of its latency.
    let peer = Arc::new(peer);
    let mut due = metronome(rate, n_jobs);
    let sender = peer.clone();
    let sent = tokio::spawn(async move {
        let mut sent = tokio::task::JoinSet::new();
        while let Some((n, intended)) = due.recv().await {
            let peer = sender.clone();
            sent.spawn(async move { peer.submit(n, intended).await });
        }
        while let Some(submitted) = sent.join_next().await {
            submitted??;
        }
        anyhow::Ok(())
    });
    let mut all = Vec::with_capacity(n_jobs);
    let patience = Duration::from_secs(30 + seconds as u64);
    let receive = async {
        while all.len() < n_jobs {
            all.push(waits.recv().await.context("the worker ended")?);
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(patience, receive).await.context("not all jobs were run in time")??;
    sent.await??;
    let mut counted = all.split_off(N_WARM);
    counted.sort_by(f64::total_cmp);
    let at = |hundredths: usize| counted[(counted.len() * hundredths).div_ceil(100).max(1) - 1];
    Ok(json!({ "measure": "latency", "jobs": counted.len(), "p50_ms": at(50), "p99_ms": at(99) }))
}

/// Says each arrival at its own moment, whatever became of those before, from a thread of its own: the runtime's
/// timers round to milliseconds.
fn metronome(rate: usize, n_ticks: usize) -> mpsc::UnboundedReceiver<(usize, f64)> {
    let (ticks, due) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let begun = now_ms() + 50.0;
        for place in 0..n_ticks {
            let intended = begun + place as f64 * 1e3 / rate as f64;
            std::thread::sleep(Duration::from_secs_f64(((intended - now_ms()) / 1e3).max(0.0)));
            if ticks.send((place, intended)).is_err() {
                return;
            }
        }
    });
    due
}
