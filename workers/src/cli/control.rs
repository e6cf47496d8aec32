//! What an operator says to queues and jobs: `queues …`, `job …`.

use std::{str::FromStr, time::Duration};

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use engine::{job::JobId, policy::Durability};

/// `queues`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct QueuesArgs {
    /// What to do; without it every queue is shown
    #[command(subcommand)]
    pub command: Option<QueuesCommand>,
    /// JSON for scripts
    #[arg(long)]
    pub json: bool,
}

/// `queues …`
#[derive(Debug, Subcommand)]
pub enum QueuesCommand {
    /// Start nothing more of a queue; what runs goes on, what waits waits
    Pause(QueueArgs),
    /// Let a paused or drained queue work again
    Resume(QueueArgs),
    /// Decide how much a queue may hold, how many jobs run at once, how safe "accepted" is
    Set(SetArgs),
    /// Accept nothing more and let what is there run, until the queue is empty; `resume` opens it again
    Drain(DrainArgs),
    /// Cancel every job of a queue that waits or is delayed; those that run go on
    Purge(PurgeArgs),
}

/// `queues drain`
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// Which queue
    pub queue: String,
    /// How long to wait for it to be empty; it stays closed afterwards
    #[arg(long, value_parser = crate::commands::duration, default_value = "1h", value_name = "TIME")]
    pub within: Duration,
    /// Close it and do not wait
    #[arg(long)]
    pub no_wait: bool,
    /// JSON for scripts
    #[arg(long)]
    pub json: bool,
}

/// `queues purge`
#[derive(Debug, Args)]
pub struct PurgeArgs {
    /// Which queue
    pub queue: String,
    /// Really do it; without it the jobs are only counted
    #[arg(long)]
    pub yes: bool,
    /// JSON for scripts
    #[arg(long)]
    pub json: bool,
}

/// `job`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct JobArgs {
    /// What to do; without it the job is shown
    #[command(subcommand)]
    pub command: Option<JobCommand>,
    /// Which job to show
    #[arg(required = true)]
    pub id: Option<JobId>,
    /// JSON for scripts
    #[arg(long)]
    pub json: bool,
}

/// `job …`
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Take a job back, wherever it is: waiting, delayed, running; exit 1 when it is over or unknown
    Cancel(OneJobArgs),
    /// Run a delayed or retrying job now; exit 1 when it does not wait for its time
    RunNow(OneJobArgs),
    /// List the jobs of a queue
    List(ListArgs),
}

/// Which job.
#[derive(Debug, Args)]
pub struct OneJobArgs {
    /// Which job
    pub id: JobId,
    /// JSON for scripts
    #[arg(long)]
    pub json: bool,
}

/// `job list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Of which queue
    pub queue: String,
    /// Which of its jobs
    #[arg(long, value_enum, default_value_t = StateArg::Waiting)]
    pub state: StateArg,
    /// At most this many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Which jobs are listed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum StateArg {
    /// Delayed and retrying ones, the earliest due first
    Delayed,
    /// Ready ones
    Waiting,
    /// Those that workers have
    Running,
}

/// Which queue.
#[derive(Debug, Args)]
pub struct QueueArgs {
    /// Which queue
    pub queue: String,
    /// JSON for scripts
    #[arg(long)]
    pub json: bool,
}

/// `queues set`; `none` takes a decision back
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("decision").required(true).multiple(true), after_help = "`none` takes a decision back: the settings count again, or there is no limit.")]
pub struct SetArgs {
    /// Which queue
    pub queue: String,
    /// The most jobs that may wait, be delayed or run; more are answered BUSY
    #[arg(long, value_name = "N|none", group = "decision")]
    pub max_depth: Option<Choice<u64>>,
    /// The most bytes that they may take in Dragonfly's memory
    #[arg(long, value_name = "BYTES|none", group = "decision")]
    pub max_bytes: Option<Choice<u64>>,
    /// How many of its jobs each worker runs at once, 1..10000; takes effect while jobs run
    #[arg(long, value_name = "N|none", group = "decision")]
    pub concurrency: Option<Choice<u32>>,
    /// What has to survive before a job counts as accepted: memory, replicated, journaled
    #[arg(long, value_name = "LEVEL|none", group = "decision")]
    pub durability: Option<Choice<Durability>>,
    /// JSON for scripts
    #[arg(long)]
    pub json: bool,
}

/// A value, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice<T>(pub Option<T>);

impl<T: FromStr<Err: std::fmt::Display>> FromStr for Choice<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self(None)),
            text => text.parse().map(|value| Self(Some(value))).map_err(|error| format!("{error}, or none")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_takes_a_decision_back() {
        assert_eq!("none".parse::<Choice<u32>>(), Ok(Choice(None)));
        assert_eq!("7".parse::<Choice<u32>>(), Ok(Choice(Some(7))));
        assert!("many".parse::<Choice<u32>>().is_err());
        let refused = "disk".parse::<Choice<Durability>>();
        assert!(refused.is_err_and(|text| text.contains("journaled, or none")));
    }
}
