//! How a job is submitted: `enqueue`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

pub(super) const HELP: &str = "\
Examples:
  tripsage enqueue search.places '{\"query\": \"lisbon\"}' --wait
  tripsage enqueue memory.add '{\"user_id\": \"ann\", \"items\": [{\"text\": \"Likes window seats\"}]}'
  tripsage enqueue diagnostics.probe --delay 10s --priority low
  tripsage enqueue memory.add '…' --dedup-key ann --dedup-mode debounce --dedup-window 5s
  generate | tripsage enqueue search.places --lines -      one payload a line, JSON

Exit status: 0 accepted (with --wait: done), 75 the queue is full or closed: try again later, 1 anything else.";

/// `enqueue`
#[derive(Debug, Args)]
pub struct EnqueueArgs {
    /// The kind of job, such as `search.places`; `tripsage kinds` lists them
    pub kind: String,
    /// The payload, JSON; `-` reads it from standard input
    #[arg(default_value = "{}", conflicts_with = "lines")]
    pub payload: String,
    /// Submit one job for each line of this file (`-` for standard input), each line a payload
    #[arg(long, value_name = "FILE")]
    pub lines: Option<PathBuf>,
    /// Whose job it is
    #[arg(long)]
    pub user: Option<String>,
    /// Which jobs it goes before
    #[arg(long, value_enum, default_value_t = PriorityArg::Normal)]
    pub priority: PriorityArg,
    /// Not before this long from now, such as 500ms, 10s, 5m, 2h
    #[arg(long, value_parser = crate::commands::duration, value_name = "TIME")]
    pub delay: Option<Duration>,
    /// How many attempts in all
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_attempts: Option<u32>,
    /// Where the completion goes besides the queue's channel: `job`, `user`, `reply:<name>`
    #[arg(long, value_delimiter = ',')]
    pub notify: Vec<String>,
    /// What makes two jobs of a queue the same: a second one is treated as `--dedup-mode` says
    #[arg(long, conflicts_with = "lines", value_name = "KEY")]
    pub dedup_key: Option<String>,
    /// How long the key lasts at most
    #[arg(long, requires = "dedup_key", value_parser = crate::commands::duration, default_value = "1h", value_name = "TIME")]
    pub dedup_window: Duration,
    /// What becomes of a second job with the same key
    #[arg(long, requires = "dedup_key", value_enum, default_value_t = DedupModeArg::Reject)]
    pub dedup_mode: DedupModeArg,
    /// With `--lines`: exit 75 when the queue is full instead of waiting for room
    #[arg(long, requires = "lines")]
    pub fail_when_full: bool,
    /// Wait for the completion and print it; exit 1 unless the job is done
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, value_parser = crate::commands::duration, default_value = "60s", value_name = "TIME")]
    pub within: Duration,
}

/// What becomes of a second job with the same dedup key.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum DedupModeArg {
    /// It is refused
    Reject,
    /// The first job's id is printed, as if it were the second's
    Existing,
    /// It takes the first one's place, if that still waits
    Replace,
    /// Each one begins the window anew; the last runs when the window has passed quietly
    Debounce,
    /// The first of a window runs, also when it is done long before the window ends
    Throttle,
}

/// A job's priority.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum PriorityArg {
    /// Before the others
    High,
    /// The usual
    Normal,
    /// After the others
    Low,
}
