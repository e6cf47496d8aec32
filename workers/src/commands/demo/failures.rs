//! Jobs that fail on purpose: some once or twice, some until they are put back from the dead letters.

use std::collections::BTreeMap;

use anyhow::Context as _;
use engine::{
    client::Submission,
    dead_letters::{DeadLetters, Manner},
    envelope::Options,
    store::DeadFilter,
};

use super::{phase::Phase, progress::Progress, stage::Stage};
use crate::diagnostics::Probe;

/// Jobs whose first attempt fails.
const ONCE: usize = 40;
/// Jobs whose first two attempts fail.
const TWICE: usize = 20;
/// Jobs that fail until they are put back.
pub(super) const UNTIL_REDRIVEN: usize = 20;

/// What became of those that died.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Redriven {
    /// Dead letters listed in Postgres before they were put back.
    pub(super) n_listed: usize,
    /// Dead letters put back.
    pub(super) n_redriven: usize,
}

/// Has jobs fail, and puts the dead ones back.
///
/// # Errors
/// When a server cannot be asked.
pub(super) async fn fail_on_purpose(stage: &Stage<'_>) -> anyhow::Result<Redriven> {
    let progress = Progress::begin(Phase::Failures.label(), ONCE + TWICE + UNTIL_REDRIVEN);
    stage.submit(Phase::Failures, jobs(&stage.run)?).await?;
    stage.settled(Phase::Failures, &progress).await?;
    let listed = stage.store.dead_jobs(&filter(stage), 10_000).await?;
    let (connection, keys) = (stage.client.connection().clone(), stage.client.options().keys.clone());
    let queues: BTreeMap<_, _> = stage.client.queues().await?;
    let letters = DeadLetters { connection, keys, store: stage.store.clone(), queues };
    let acted = letters.redrive(&filter(stage), Manner::default(), drop).await.context("redrive the dead jobs")?;
    stage.all_done(Phase::Failures, &progress).await?;
    progress.end();
    Ok(Redriven { n_listed: listed.len(), n_redriven: acted.done })
}

/// The dead jobs of this run: its probes carry a user of their own.
fn filter(stage: &Stage<'_>) -> DeadFilter {
    DeadFilter { user_id: Some(stage.run.clone()), ..DeadFilter::default() }
}

fn jobs(run: &str) -> anyhow::Result<Vec<Submission>> {
    let failing = |fail_attempts| Probe { fail_attempts, ..Probe::default() };
    let dying = Probe { fail_until_redriven: true, ..Probe::default() };
    let probes = std::iter::repeat_n(failing(1), ONCE).chain(std::iter::repeat_n(failing(2), TWICE));
    let probes = probes.chain(std::iter::repeat_n(dying, UNTIL_REDRIVEN));
    let options = Options { user_id: Some(run.to_owned()), ..Options::default() };
    probes.map(|probe| Ok(Submission::job(&probe)?.with(options.clone()))).collect()
}
