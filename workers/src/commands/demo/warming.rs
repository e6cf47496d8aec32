//! Warms popular searches, some of them before anybody has asked them.

use engine::job::JobId;

use super::{phase::Phase, progress::Progress, queries::Queries, stage::Stage};
use crate::cache::Warmed;

/// Runs the jobs that warm; gives what they did together.
///
/// # Errors
/// When a server cannot be asked.
pub(super) async fn warm(stage: &Stage<'_>, queries: &Queries) -> anyhow::Result<Warmed> {
    let jobs = queries.warming()?;
    let progress = Progress::begin(Phase::Warming.label(), jobs.len());
    let ids: Vec<JobId> = jobs.iter().map(|job| job.envelope.id).collect();
    stage.submit(Phase::Warming, jobs).await?;
    stage.settled(Phase::Warming, &progress).await?;
    progress.end();
    // The details of many searches make a result too large to travel, so it is read where it is committed.
    let results = stage.store.results(&ids).await?;
    let runs = results.into_values().filter_map(|stored| serde_json::from_value::<Warmed>(stored.result).ok());
    Ok(runs.fold(Warmed::default(), together))
}

fn together(one: Warmed, other: Warmed) -> Warmed {
    Warmed {
        requested: one.requested + other.requested,
        popular: one.popular + other.popular,
        warmed: one.warmed + other.warmed,
        already_fresh: one.already_fresh + other.already_fresh,
        failed: one.failed + other.failed,
        ..one
    }
}
