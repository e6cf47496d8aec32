//! `tripsage demo`: memories, searches and cache warming over real data, through two workers, one of them killed.
//!
//! Promise: what it reports was counted in Postgres, in Dragonfly and from completions; it ends well only when
//! every job settled as it had to. Every run has keys, users and jobs of its own, so that it can be repeated on
//! the same servers. Never leaves a worker behind that it started, whatever ends it.

mod audit;
mod cast;
mod crash;
mod failures;
mod findings;
mod fleet;
mod phase;
mod progress;
mod queries;
mod report;
mod scrape;
mod shown;
mod stage;
mod tally;
mod warming;
mod worker_process;

use std::time::Instant;

use anyhow::bail;
use engine::{client::Submission, job::JobId};
use tokio::signal::unix::{SignalKind, signal};

use self::{
    audit::Audit, crash::Load, findings::Findings, phase::Phase, progress::Progress, queries::Queries, stage::Stage,
};
use crate::{app::App, cli::DemoArgs, diagnostics::Probe, places::PlaceIndex};

/// One in so many jobs with memories is kept for the moment of the kill.
const KEPT_FOR_THE_KILL: usize = 10;
/// Slow jobs submitted just before the kill, so that the victim has something in its hands; too few to be seen in a p99.
const SLOW: usize = 16;
const SLOW_MS: u64 = 250;

/// Runs the demonstration and prints its report; the last line is JSON.
///
/// # Errors
/// Why it could not be run, or that something was not as it has to be.
pub async fn run(app: &App, args: &DemoArgs) -> anyhow::Result<()> {
    check(args)?;
    let stage = Stage::set(app, args).await?;
    let performed = tokio::select! {
        performed = Box::pin(perform(&stage, args)) => performed,
        interrupted = interrupted() => interrupted,
    };
    let unwell = stage.clear().await;
    let findings = performed?;
    report::print(&stage, &findings);
    let mut problems = findings.problems();
    problems.extend(unwell.iter().map(|name| format!("worker {name} did not stop when it was told to")));
    if problems.is_empty() {
        stage.tidy().await?;
    } else {
        println!("\nNot as it has to be (the workers' logs are in {})", stage.fleet.lock().await.folder.display());
        problems.iter().for_each(|problem| println!("  {problem}"));
    }
    println!("\n{}", serde_json::to_string(&findings.summary())?);
    if problems.is_empty() {
        Ok(())
    } else {
        bail!("{} things are not as they have to be; they are listed above", problems.len())
    }
}

fn check(args: &DemoArgs) -> anyhow::Result<()> {
    let n_places = PlaceIndex::get().all().len();
    if !(1..=n_places).contains(&args.memories) || args.users == 0 || args.searches == 0 {
        bail!("expected 1 to {n_places} memories, and at least one user and one search");
    }
    Ok(())
}

/// SIGINT or SIGTERM.
async fn interrupted() -> anyhow::Result<Findings> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    bail!("interrupted; the workers were stopped")
}

async fn perform(stage: &Stage<'_>, args: &DemoArgs) -> anyhow::Result<Findings> {
    eprintln!("· {}: starting two workers", stage.run);
    stage.fleet.lock().await.start_two(stage.app, &stage.prefix).await?;
    let begun = Instant::now();
    let mut queries = Queries::new(&stage.cast, args.searches);
    let mut memories = stage.cast.jobs()?;
    let mut burst = memories.split_off(memories.len() - memories.len() / KEPT_FOR_THE_KILL);
    burst.extend(slow()?);
    all_at_once(stage, Phase::Memories, memories).await?;
    all_at_once(stage, Phase::Searches, queries.draw(args.searches / 2)?).await?;
    let warmed = warming::warm(stage, &queries).await?;
    let steady = queries.draw(args.searches - args.searches / 2)?;
    let killed = Box::pin(crash::crash(stage, Load { steady, burst })).await?;
    let redriven = failures::fail_on_purpose(stage).await?;
    let shown = shown::ask(stage).await?;
    let elapsed = begun.elapsed();
    let n_missed = stage.replay().await?;
    let fates = stage.tally.snapshot();
    let ids: Vec<JobId> = fates.keys().copied().collect();
    let fleet = stage.fleet.lock().await;
    Ok(Findings {
        audit: Audit::take(stage, &ids).await?,
        metrics: fleet.metrics().await?,
        memory: fleet.memory()?,
        n_memories: stage.cast.n_expected(),
        fates,
        killed,
        redriven,
        warmed,
        shown,
        n_missed,
        elapsed,
    })
}

/// Submits jobs as fast as they are taken, and waits until all are done.
async fn all_at_once(stage: &Stage<'_>, phase: Phase, jobs: Vec<Submission>) -> anyhow::Result<()> {
    let progress = Progress::begin(phase.label(), jobs.len());
    stage.submit(phase, jobs).await?;
    stage.settled(phase, &progress).await?;
    progress.end();
    Ok(())
}

/// Jobs that take a while.
fn slow() -> anyhow::Result<Vec<Submission>> {
    let probe = Probe { sleep_ms: SLOW_MS, ..Probe::default() };
    (0..SLOW).map(|_| Ok(Submission::job(&probe)?)).collect()
}
