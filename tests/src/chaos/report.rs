//! What a run tells: one line of JSON for each scenario, and a table.

use std::{fmt::Write, time::Duration};

use engine::policy::Durability;
use serde::Serialize;

use super::judge::Verdict;

/// A scenario at one level of durability, all its repetitions together.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Its name.
    pub scenario: &'static str,
    /// The level.
    pub durability: Durability,
    /// Jobs that were accepted.
    pub accepted: usize,
    /// Jobs with a committed result.
    pub done: usize,
    /// Jobs that were given up.
    pub dead: usize,
    /// Accepted jobs that are neither.
    pub lost: usize,
    /// Jobs whose effect is there more than once.
    pub doubled: usize,
    /// Ended jobs of which no completion was seen, live or replayed.
    pub completions_missed: usize,
    /// Completions beyond each job's first.
    pub completions_repeated: usize,
    /// From the fault to the end of the jobs that it touched, 99 of 100, the worst repetition; none where nothing waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_s: Option<f64>,
    /// The same for the last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_max_s: Option<f64>,
    /// How often it was played.
    pub runs: usize,
    /// Why it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// What is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<String>,
}

impl Line {
    pub(super) fn new(scenario: &'static str, durability: Durability) -> Self {
        Self {
            scenario,
            durability,
            accepted: 0,
            done: 0,
            dead: 0,
            lost: 0,
            doubled: 0,
            completions_missed: 0,
            completions_repeated: 0,
            recovery_s: None,
            recovery_max_s: None,
            runs: 0,
            skipped: None,
            wrong: Vec::new(),
        }
    }

    /// One repetition more.
    pub(super) fn add(&mut self, verdict: Verdict) {
        self.runs += 1;
        self.accepted += verdict.accepted;
        self.done += verdict.done;
        self.dead += verdict.dead;
        self.lost += verdict.lost;
        self.doubled += verdict.doubled;
        self.completions_missed += verdict.completions_missed;
        self.completions_repeated += verdict.completions_repeated;
        if let Some((p99, longest)) = verdict.recovery {
            self.recovery_s = Some(seconds(p99).max(self.recovery_s.unwrap_or_default()));
            self.recovery_max_s = Some(seconds(longest).max(self.recovery_max_s.unwrap_or_default()));
        }
        self.wrong.extend(verdict.wrong);
    }
}

/// To a hundredth.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}

/// The lines as a table in Markdown, which reads well on a terminal too.
pub fn table(lines: &[Line]) -> String {
    let mut table = String::from(
        "| scenario | durability | accepted | done | dead | lost | doubled | completions missed | repeated | recovery s (p99 / all) | runs |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for line in lines {
        let recovery = match (line.recovery_s, line.recovery_max_s) {
            (Some(p99), Some(longest)) => format!("{p99:.2} / {longest:.2}"),
            _ => "–".to_owned(),
        };
        let told = match &line.skipped {
            Some(why) => format!("skipped: {why} |||||||||"),
            None => format!(
                "{} | {} | {} | {} | {} | {} | {} | {recovery} | {} |",
                line.accepted,
                line.done,
                line.dead,
                line.lost,
                line.doubled,
                line.completions_missed,
                line.completions_repeated,
                line.runs
            ),
        };
        writeln!(table, "| {} | {} | {told}", line.scenario, line.durability).expect("a string takes everything");
    }
    table
}
