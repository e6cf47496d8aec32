//! All that the demonstration found out, and whether it is as it has to be.

use std::{collections::HashMap, time::Duration};

use engine::job::JobId;
use serde::Serialize;

use super::{
    audit::Audit,
    crash::Killed,
    failures::{Redriven, UNTIL_REDRIVEN},
    fleet::Memory,
    phase::{Figures, Phase, per_second},
    scrape::{Metrics, sum_of},
    shown::Shown,
    tally::Fate,
};
use crate::cache::Warmed;

/// All that was found out.
pub(super) struct Findings {
    /// Every job's story.
    pub(super) fates: HashMap<JobId, Fate>,
    /// What the servers say at the end.
    pub(super) audit: Audit,
    /// What the workers' metrics say at the end.
    pub(super) metrics: Vec<Metrics>,
    /// The kill and what came of it.
    pub(super) killed: Killed,
    /// The deaths on purpose.
    pub(super) redriven: Redriven,
    /// What became of the searches that were to be warmed.
    pub(super) warmed: Warmed,
    /// The searches to judge.
    pub(super) shown: Vec<Shown>,
    /// The workers' memory.
    pub(super) memory: Vec<(String, Memory)>,
    /// How many memories there have to be.
    pub(super) n_memories: usize,
    /// Completions that came by the replay streams alone.
    pub(super) n_missed: u64,
    /// From the first phase to the last.
    pub(super) elapsed: Duration,
}

/// Where the answers of searches came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CacheReads {
    /// Fresh in the cache.
    pub(super) n_hits: usize,
    /// In the cache, being refreshed.
    pub(super) n_stale: usize,
    /// Searched for.
    pub(super) n_misses: usize,
}

impl CacheReads {
    /// The share of searches that the cache answered.
    pub(super) fn ratio(self) -> f64 {
        let share = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        let n_answered = self.n_hits + self.n_stale;
        if n_answered == 0 { 0.0 } else { share(n_answered) / share(n_answered + self.n_misses) }
    }
}

impl Findings {
    /// Jobs that are done, as their completions say.
    pub(super) fn n_done(&self) -> usize {
        self.fates.values().filter(|fate| fate.done.is_some()).count()
    }

    /// Attempts beyond the first, as the completions say.
    pub(super) fn n_retries(&self) -> u32 {
        let of_done = |fate: &Fate| fate.done.as_ref().map_or(0, |(_, done)| done.attempt.saturating_sub(1));
        let of_dead = |fate: &Fate| fate.n_dead_attempts.saturating_sub(fate.n_dead);
        self.fates.values().map(|fate| of_done(fate) + of_dead(fate)).sum()
    }

    /// Deaths, as the completions say; those that were put back are among them.
    pub(super) fn n_deaths(&self) -> u32 {
        self.fates.values().map(|fate| fate.n_dead).sum()
    }

    /// Completions as done that said again what was said already.
    pub(super) fn n_republished(&self) -> u32 {
        self.fates.values().map(|fate| fate.n_republished).sum()
    }

    /// Effects beyond one a job.
    pub(super) fn n_duplicated(&self) -> u64 {
        let n_contradicting = self.fates.values().map(|fate| u64::from(fate.n_contradicting)).sum();
        self.audit.n_duplicated(self.n_memories as u64, n_contradicting)
    }

    /// Jobs that other workers claimed, as the metrics say.
    pub(super) fn n_reclaimed(&self) -> u64 {
        sum_of(&self.metrics, "tripsage_jobs_reclaimed_total", "")
    }

    /// Where the answers of the searches under load came from.
    pub(super) fn cache_reads(&self) -> CacheReads {
        let mut reads = CacheReads::default();
        for fate in self.fates.values().filter(|fate| fate.phase != Phase::Shown) {
            let Some((_, done)) = &fate.done else { continue };
            match done.result.as_ref().and_then(|result| result.get("cache")?.as_str()) {
                Some("hit") => reads.n_hits += 1,
                Some("stale") => reads.n_stale += 1,
                Some(_) => reads.n_misses += 1,
                None => {}
            }
        }
        reads
    }

    /// What was measured in a phase.
    pub(super) fn figures(&self, phase: Phase) -> Figures {
        Figures::of(phase, self.fates.values())
    }

    /// Texts that were added in the first phase.
    pub(super) fn n_first_memories(&self) -> usize {
        let first = self.fates.values().filter(|fate| fate.phase == Phase::Memories);
        let items = |fate: &Fate| fate.done.as_ref()?.1.result.as_ref()?.get("items")?.as_array().map(Vec::len);
        first.filter_map(items).sum()
    }

    /// Jobs a second while as many were submitted as were taken: memories and searches.
    pub(super) fn full_speed(&self) -> f64 {
        let (memories, searches) = (self.figures(Phase::Memories), self.figures(Phase::Searches));
        per_second(memories.n_jobs + searches.n_jobs, memories.elapsed + searches.elapsed)
    }

    /// What is not as it has to be, one line each.
    pub(super) fn problems(&self) -> Vec<String> {
        let (audit, n_jobs) = (&self.audit, self.fates.len() as u64);
        let died = UNTIL_REDRIVEN as u64;
        let checks = [
            ("jobs with a committed result", audit.n_result_ids, n_jobs),
            ("jobs whose completion says done", self.n_done() as u64, n_jobs),
            ("jobs with neither result nor dead letter (lost)", audit.n_lost, 0),
            ("effects beyond one a job (duplicated)", self.n_duplicated(), 0),
            ("jobs still dead", audit.n_dead, 0),
            ("jobs still in a stream", audit.n_unsettled, 0),
            ("memories in Postgres", audit.n_memories, self.n_memories as u64),
            ("memories that results say were created", audit.n_reported, self.n_memories as u64),
            ("deaths by completions", u64::from(self.n_deaths()), died),
            ("dead letters listed in Postgres", self.redriven.n_listed as u64, died),
            ("dead letters put back", self.redriven.n_redriven as u64, died),
            ("searches that could not be warmed", u64::from(self.warmed.failed), 0),
            (
                "jobs of the killed worker that are done",
                self.killed.n_back(&self.fates) as u64,
                self.killed.held.len() as u64,
            ),
            (
                "searches to judge that found nothing",
                self.shown.iter().filter(|shown| shown.answers.is_empty()).count() as u64,
                0,
            ),
        ];
        let wrong = checks.iter().filter(|(_, found, expected)| found != expected);
        let mut problems: Vec<String> =
            wrong.map(|(what, found, expected)| format!("{what}: {found}, expected {expected}")).collect();
        if self.killed.held.is_empty() {
            problems.push("the killed worker had nothing in its hands, so nothing was proved by killing it".to_owned());
        }
        problems
    }

    /// The last line of the report.
    pub(super) fn summary(&self) -> Summary {
        let (memories, crash) = (self.figures(Phase::Memories), self.figures(Phase::Crash));
        let untouched = self.untouched_by_the_kill();
        Summary {
            submitted: self.fates.len(),
            done: self.n_done(),
            dead: self.audit.n_dead,
            lost: self.audit.n_lost,
            duplicated: self.n_duplicated(),
            jobs_per_s: rounded(self.full_speed()),
            p99_ms: rounded(untouched.quantile_ms(0.99)),
            cache_hit_ratio: (self.cache_reads().ratio() * 1e4).round() / 1e4,
            p50_ms: rounded(untouched.quantile_ms(0.5)),
            p99_with_reclaimed_ms: rounded(crash.quantile_ms(0.99)),
            memories_per_s: rounded(per_second(self.n_first_memories(), memories.elapsed)),
            retries: self.n_retries(),
            reclaimed: self.n_reclaimed(),
            redriven: self.redriven.n_redriven,
            republished: self.n_republished(),
            first_reclaimed_s: self.killed.back_after(&self.fates).map(|(first, _)| rounded(first.as_secs_f64())),
            seconds: rounded(self.elapsed.as_secs_f64()),
        }
    }

    /// What was measured under the steady load of the jobs that were not in the killed worker's hands.
    pub(super) fn untouched_by_the_kill(&self) -> Figures {
        let fates = self.fates.iter().filter(|(id, _)| !self.killed.held.contains_key(id));
        Figures::of(Phase::Crash, fates.map(|(_, fate)| fate))
    }
}

/// What scripts read: one JSON object on the last line. Its first eight names do not change.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// Jobs accepted.
    submitted: usize,
    /// Jobs done.
    done: usize,
    /// Jobs that are still dead.
    dead: u64,
    /// Jobs with neither a committed result nor a dead letter.
    lost: u64,
    /// Effects beyond one a job.
    duplicated: u64,
    /// While jobs were submitted as fast as they were taken: memories and searches.
    jobs_per_s: f64,
    /// Submission to completion under steady load, jobs in the killed worker's hands left out.
    p99_ms: f64,
    /// The share of searches that the cache answered.
    cache_hit_ratio: f64,
    /// As `p99_ms`, of half of the jobs.
    p50_ms: f64,
    /// As `p99_ms`, jobs in the killed worker's hands included.
    p99_with_reclaimed_ms: f64,
    /// Texts embedded and stored a second.
    memories_per_s: f64,
    /// Attempts beyond the first.
    retries: u32,
    /// Jobs claimed from the killed worker.
    reclaimed: u64,
    /// Dead jobs put back to work.
    redriven: usize,
    /// Completions as done that said again what was said already.
    republished: u32,
    /// From the kill until the first of its jobs was done.
    first_reclaimed_s: Option<f64>,
    /// From the first submission to the last completion.
    seconds: f64,
}

fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
