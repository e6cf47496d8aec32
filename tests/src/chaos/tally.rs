//! The books of one run: what was accepted, and what became of it.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::Duration,
};

use chrono::{DateTime, Utc};
use engine::job::JobId;

use super::{database::Done, stage::Stage};

/// A handler that began to run a job.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) id: JobId,
    pub(super) worker: String,
    pub(super) at: DateTime<Utc>,
}

/// Everything that is known at the end.
pub(super) struct Evidence {
    pub(super) accepted: HashMap<JobId, DateTime<Utc>>,
    pub(super) done: HashMap<JobId, Done>,
    pub(super) dead: HashMap<JobId, DateTime<Utc>>,
    pub(super) effects: HashMap<JobId, i64>,
    /// How many completions each job had.
    pub(super) completions: HashMap<JobId, usize>,
    pub(super) begun: Vec<Begun>,
}

/// Whose way to the end is timed.
#[derive(Clone, Debug)]
pub(super) enum Affected {
    /// What these workers held when each of them died or went silent.
    HeldBy(Vec<(String, DateTime<Utc>)>),
    /// Everything that was accepted and not done at this time.
    WaitingAt(DateTime<Utc>),
    /// Nothing had to recover.
    Nobody,
}

/// How long completions that are on their way are waited for.
const LAST_COMPLETIONS: Duration = Duration::from_secs(5);

impl Evidence {
    /// Asks everyone.
    pub(super) async fn gather(stage: &Stage) -> anyhow::Result<Self> {
        let mut evidence = Self {
            accepted: stage.answers.accepted(),
            done: stage.database.done().await?,
            dead: stage.database.dead().await?,
            effects: stage.database.effects().await?,
            completions: HashMap::new(),
            begun: begun(&stage.fleet.spec.begun),
        };
        let deadline = tokio::time::Instant::now() + LAST_COMPLETIONS;
        loop {
            evidence.completions = stage.witness.closed(&stage.keys, &stage.tags).await?;
            if evidence.missed().is_empty() || tokio::time::Instant::now() > deadline {
                return Ok(evidence);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Accepted jobs that are neither done nor given up.
    pub(super) fn lost(&self) -> Vec<JobId> {
        let ended = |id: &JobId| self.done.contains_key(id) || self.dead.contains_key(id);
        self.accepted.keys().filter(|id| !ended(id)).copied().collect()
    }

    /// Jobs whose effect is there more than once, or that are done and given up.
    pub(super) fn doubled(&self) -> Vec<JobId> {
        let twice = self.effects.iter().filter(|(_, n_rows)| **n_rows > 1).map(|(id, _)| *id);
        let both = self.dead.keys().filter(|id| self.done.contains_key(id)).copied();
        twice.chain(both).collect::<HashSet<_>>().into_iter().collect()
    }

    /// Results without their effect, or effects without their result.
    pub(super) fn halves(&self) -> usize {
        let bare = self.done.keys().filter(|id| !self.effects.contains_key(id)).count();
        bare + self.effects.keys().filter(|id| !self.done.contains_key(id)).count()
    }

    /// Ended jobs of which no completion was seen.
    pub(super) fn missed(&self) -> Vec<JobId> {
        let ended = self.done.keys().chain(self.dead.keys());
        ended.filter(|id| !self.completions.contains_key(id)).copied().collect()
    }

    /// Completions beyond each job's first.
    pub(super) fn repeated(&self) -> usize {
        self.completions.values().map(|n| n.saturating_sub(1)).sum()
    }

    /// How long each affected job took from the fault to its end, the shortest first.
    pub(super) fn recovery(&self, affected: &Affected) -> Vec<Duration> {
        let mut took: Vec<Duration> = match affected {
            Affected::Nobody => Vec::new(),
            Affected::WaitingAt(at) => {
                let accepted = self.accepted.iter().filter(|(_, accepted)| *accepted <= at);
                accepted.filter_map(|(id, _)| self.ended_after(id, at)).collect()
            }
            Affected::HeldBy(workers) => {
                let held = |(worker, at): &(String, DateTime<Utc>)| {
                    let ids = self.held(worker, *at);
                    ids.into_iter().filter_map(|id| self.ended_after(&id, at)).collect::<Vec<_>>()
                };
                workers.iter().flat_map(held).collect()
            }
        };
        took.sort_unstable();
        took
    }

    /// Jobs that a worker had begun and not committed at a time.
    pub(super) fn held(&self, worker: &str, at: DateTime<Utc>) -> HashSet<JobId> {
        let begun = self.begun.iter().filter(|begun| begun.worker == worker && begun.at <= at);
        let open = begun.filter(|begun| self.done.get(&begun.id).is_none_or(|done| done.committed_at > at));
        open.map(|begun| begun.id).collect()
    }

    fn ended_after(&self, id: &JobId, at: &DateTime<Utc>) -> Option<Duration> {
        let ended = self.done.get(id).map(|done| &done.committed_at).or_else(|| self.dead.get(id))?;
        (*ended - *at).to_std().ok()
    }
}

fn begun(path: &Path) -> Vec<Begun> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Begun> {
    let mut words = line.split(' ');
    let (id, worker, at_us) = (words.next()?, words.next()?, words.next()?.parse().ok()?);
    Some(Begun { id: id.parse().ok()?, worker: worker.to_owned(), at: DateTime::from_timestamp_micros(at_us)? })
}
