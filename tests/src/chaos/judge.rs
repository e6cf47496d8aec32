//! Holds the evidence of a run to what was promised.

use std::time::Duration;

use engine::policy::Durability;

use super::{
    scenario::{Limit, Play, Scenario},
    tally::Evidence,
};

/// The counts of one run, and what is wrong with them.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    pub(super) accepted: usize,
    pub(super) done: usize,
    pub(super) dead: usize,
    pub(super) lost: usize,
    pub(super) doubled: usize,
    pub(super) completions_missed: usize,
    pub(super) completions_repeated: usize,
    /// How long affected jobs took: 99 of 100, and all.
    pub(super) recovery: Option<(Duration, Duration)>,
    pub(super) wrong: Vec<String>,
}

/// Counts and judges. `patience` is what a machine that does other things besides is given on top of every limit.
pub(super) fn judge(
    (scenario, durability, patience): (&Scenario, Durability, Duration),
    (play, rested): (Play, bool),
    evidence: &Evidence,
) -> Verdict {
    let lost = evidence.lost();
    let took = evidence.recovery(&play.affected);
    let mut verdict = Verdict {
        accepted: evidence.accepted.len(),
        done: evidence.done.len(),
        dead: evidence.dead.len(),
        lost: lost.len(),
        doubled: evidence.doubled().len(),
        completions_missed: evidence.missed().len(),
        completions_repeated: evidence.repeated(),
        recovery: took.last().map(|longest| (took[(took.len() * 99 / 100).min(took.len() - 1)], *longest)),
        wrong: Vec::new(),
    };
    let may_lose = scenario.losing.contains(&durability);
    let lost_later = lost.iter().filter(|id| evidence.accepted[id] > play.over).count();
    let mut wrong = Vec::new();
    let mut must = |holds: bool, what: String| {
        if !holds {
            wrong.push(what)
        }
    };
    must(rested, "jobs were still unsettled a minute after the load".to_owned());
    must(may_lose || lost.is_empty(), format!("{} accepted jobs are lost", lost.len()));
    must(lost_later == 0, format!("{lost_later} jobs that were accepted after the fault are lost"));
    must(verdict.doubled == 0, format!("{} effects are doubled", verdict.doubled));
    must(evidence.halves() == 0, format!("{} results and effects are apart", evidence.halves()));
    must(verdict.dead == play.n_dead, format!("{} jobs were given up, expected {}", verdict.dead, play.n_dead));
    let may_forget = scenario.forgetting.contains(&durability);
    let missed = evidence.missed();
    let missed_later = missed.iter().filter(|id| evidence.accepted.get(id).is_some_and(|at| *at > play.over)).count();
    must(may_forget || missed.is_empty(), format!("{} completions never came", missed.len()));
    must(
        missed_later == 0,
        format!("{missed_later} completions of jobs that were accepted after the fault never came"),
    );
    must(verdict.accepted > 0, "nothing was accepted: this proves nothing".to_owned());
    must(verdict.done > 0, "nothing was done: this proves nothing".to_owned());
    let (p99, longest) = verdict.recovery.unwrap_or_default();
    match play.limit {
        Limit::P99(limit) => must(p99 <= limit + patience, format!("recovery took {p99:?} at p99, promised {limit:?}")),
        Limit::All(limit) => {
            must(longest <= limit + patience, format!("recovery took {longest:?}, promised {limit:?}"))
        }
        Limit::None => {}
    }
    wrong.extend(play.checks.into_iter().filter_map(|check| check(evidence).err()));
    verdict.wrong = wrong;
    verdict
}
