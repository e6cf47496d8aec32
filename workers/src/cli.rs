//! The command line: every verb an operator or a script needs.

mod control;
mod dead;
mod enqueue;
mod schedule;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use engine::job::JobId;

pub use self::{
    control::{
        Choice, DrainArgs, JobArgs, JobCommand, ListArgs, OneJobArgs, PurgeArgs, QueueArgs, QueuesArgs, QueuesCommand,
        SetArgs, StateArg,
    },
    dead::{ActArgs, DeadArgs, DeadCommand},
    enqueue::{DedupModeArg, EnqueueArgs, PriorityArg},
    schedule::{ScheduleAddArgs, ScheduleCommand, ScheduleNameArgs, ScheduleNextArgs},
};

/// TripSage's background plane: workers, jobs, dead letters, caches.
#[derive(Debug, Parser)]
#[command(name = "tripsage", version, propagate_version = true)]
pub struct Cli {
    /// A settings file in TOML; `TRIPSAGE_CONFIG_FILE` otherwise
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run jobs until told to stop (SIGTERM or Ctrl-C; a second signal ends the patience)
    Worker(WorkerArgs),
    /// Bring the database's schema and the place index up to date
    Migrate(MigrateArgs),
    /// Submit jobs
    #[command(after_help = enqueue::HELP)]
    Enqueue(EnqueueArgs),
    /// Follow completions
    Watch(WatchArgs),
    /// Show what stands in every queue and what is decided about it; pause, resume, limit one
    Queues(QueuesArgs),
    /// Show where a job is, in every state; cancel one, list them, run a delayed one now
    Job(JobArgs),
    /// List, show, redrive or purge dead letters
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Fire jobs again and again, by a cron pattern in a time zone
    #[command(subcommand, after_help = schedule::HELP)]
    Schedule(ScheduleCommand),
    /// Show or check the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// List the kinds of job
    Kinds(JsonArgs),
    /// Write the JSON Schemas of all kinds and of completions
    Schemas(SchemasArgs),
    /// Build the vector index over all memories anew
    Index,
    /// Ask a worker on this machine whether it lives; for container health checks
    Health(HealthArgs),
    /// Run the demonstration: real places and memories through two workers, one of them killed on the way
    Demo(DemoArgs),
}

/// `worker`
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// The port of /metrics and /health; 0 takes a free one; `TRIPSAGE_API_PORT` otherwise
    #[arg(long)]
    pub port: Option<u16>,
    /// Work on these queues only; `TRIPSAGE_WORKER_QUEUES` otherwise
    #[arg(long, value_delimiter = ',', value_name = "QUEUE,…")]
    pub queues: Vec<String>,
}

/// `migrate`
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Say what is missing and change nothing; exit 1 when something is
    #[arg(long)]
    pub check: bool,
    /// Leave the place index as it is
    #[arg(long)]
    pub skip_places: bool,
    /// Take back all migrations after this number; 0 removes the whole schema and its data
    #[arg(long, value_name = "NUMBER")]
    pub down_to: Option<i64>,
}

/// `watch`
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Of this queue only
    #[arg(long, group = "filter")]
    pub queue: Option<String>,
    /// Of this kind only
    #[arg(long, group = "filter")]
    pub kind: Option<String>,
    /// Of this job only (submitted with `--notify job`)
    #[arg(long, group = "filter", value_name = "ID")]
    pub job: Option<JobId>,
    /// Of this user only (submitted with `--notify user`)
    #[arg(long, group = "filter")]
    pub user: Option<String>,
    /// Of this reply channel only (submitted with `--notify reply:NAME`)
    #[arg(long, group = "filter", value_name = "NAME")]
    pub reply: Option<String>,
    /// First print those that were published before and are still kept
    #[arg(long)]
    pub replay: bool,
    /// End after this many
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// A verb without further choices.
#[derive(Debug, Args)]
pub struct JsonArgs {
    /// JSON for scripts
    #[arg(long)]
    pub json: bool,
}

/// `config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the settings, then try every server and provider for real; exit 1 when one fails
    Check(JsonArgs),
    /// Show every setting; secrets as set or not set
    Show(JsonArgs),
}

/// `schemas`
#[derive(Debug, Args)]
pub struct SchemasArgs {
    /// The folder to write to
    #[arg(long, default_value = "schemas")]
    pub out: PathBuf,
}

/// `health`
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// The worker's port; `TRIPSAGE_API_PORT` otherwise
    #[arg(long)]
    pub port: Option<u16>,
    /// Ask whether it can take jobs, not only whether it lives
    #[arg(long)]
    pub ready: bool,
}

/// `demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many memories to add
    #[arg(long, default_value_t = 12_000)]
    pub memories: usize,
    /// How many searches to run
    #[arg(long, default_value_t = 4_000)]
    pub searches: usize,
    /// For how many users
    #[arg(long, default_value_t = 300)]
    pub users: usize,
}
