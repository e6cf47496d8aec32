//! The command line: every verb an operator or a script needs.

mod control;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};
use engine::job::JobId;

pub use self::control::{
    Choice, DrainArgs, JobArgs, JobCommand, ListArgs, OneJobArgs, PurgeArgs, QueueArgs, QueuesArgs, QueuesCommand,
    SetArgs, StateArg,
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
    #[command(after_help = ENQUEUE_HELP)]
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
    #[command(subcommand, after_help = SCHEDULE_HELP)]
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

const ENQUEUE_HELP: &str = "\
Examples:
  tripsage enqueue search.places '{\"query\": \"lisbon\"}' --wait
  tripsage enqueue memory.add '{\"user_id\": \"ann\", \"items\": [{\"text\": \"Likes window seats\"}]}'
  tripsage enqueue diagnostics.probe --delay 10s --priority low
  tripsage enqueue memory.add '…' --dedup-key ann --dedup-mode debounce --dedup-window 5s
  generate | tripsage enqueue search.places --lines -      one payload a line, JSON

Exit status: 0 accepted (with --wait: done), 75 the queue is full or closed: try again later, 1 anything else.";

const SCHEDULE_HELP: &str = "\
Examples:
  tripsage schedule add warm-popular cache.warm '{\"popular\": {\"limit\": 50}}' --cron '*/15 * * * *'
  tripsage schedule add nightly diagnostics.probe --cron '30 2 * * *' --zone Europe/Berlin --missed once
  tripsage schedule next nightly --count 10
  tripsage schedule next --cron '0 9 * * MON-FRI' --zone Asia/Tokyo

When the clocks change, a fixed time that is left out fires right after the gap, one that comes twice fires the first
time; an interval (`*/30 * * * *`) fires at every such moment that there is.";

/// `schedule …`
#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// Keep a new schedule
    Add(ScheduleAddArgs),
    /// List all schedules
    List(JsonArgs),
    /// Show one schedule
    Show(ScheduleNameArgs),
    /// Let a schedule rest
    Pause(ScheduleNameArgs),
    /// Let a schedule fire again; slots that passed meanwhile are left out
    Resume(ScheduleNameArgs),
    /// Forget a schedule; jobs that it fired go on
    Remove(ScheduleNameArgs),
    /// Show the coming slots of a schedule, or of a pattern that is to be tried
    Next(ScheduleNextArgs),
}

/// `schedule add`
#[derive(Debug, Args)]
pub struct ScheduleAddArgs {
    /// Its name: lower-case letters, digits, `-`, `_`, `.`
    pub name: String,
    /// The kind of job that it fires
    pub kind: String,
    /// The payload of each job, JSON
    #[arg(default_value = "{}")]
    pub payload: String,
    /// When: minute, hour, day of month, month, day of week; or `@hourly`, `@daily`, …; seconds may stand in front
    #[arg(long)]
    pub cron: String,
    /// The time zone that the pattern is read in, by its IANA name
    #[arg(long, default_value = "UTC")]
    pub zone: String,
    /// What becomes of slots that pass while no worker runs: `skip`, `once` (the last of them), `all:N` (the last N)
    #[arg(long, default_value = "once")]
    pub missed: String,
    /// Whose jobs they are
    #[arg(long)]
    pub user: Option<String>,
    /// Which jobs they go before
    #[arg(long, value_enum, default_value_t = PriorityArg::Normal)]
    pub priority: PriorityArg,
    /// Replace the schedule of this name, if there is one
    #[arg(long)]
    pub replace: bool,
    /// JSON for scripts
    #[arg(long)]
    pub json: bool,
}

/// A schedule by its name.
#[derive(Debug, Args)]
pub struct ScheduleNameArgs {
    /// Which schedule
    pub name: String,
    /// JSON for scripts
    #[arg(long)]
    pub json: bool,
}

/// `schedule next`
#[derive(Debug, Args)]
pub struct ScheduleNextArgs {
    /// Which schedule
    #[arg(required_unless_present = "cron", conflicts_with = "cron")]
    pub name: Option<String>,
    /// A pattern instead
    #[arg(long)]
    pub cron: Option<String>,
    /// The pattern's time zone
    #[arg(long, default_value = "UTC", conflicts_with = "name")]
    pub zone: String,
    /// How many
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub count: u16,
    /// JSON for scripts
    #[arg(long)]
    pub json: bool,
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
    pub delay: Option<std::time::Duration>,
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
    pub dedup_window: std::time::Duration,
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
    pub within: std::time::Duration,
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

/// `dead …`
#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// List dead jobs, the latest first
    List {
        /// Which
        #[command(flatten)]
        filter: DeadArgs,
        /// At most this many
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show dead jobs whole, the latest first: payload, trace, every attempt's worker and chain of errors
    Show {
        /// Which job; or filters
        #[arg(value_name = "ID", conflicts_with = "id")]
        job: Option<JobId>,
        /// Which
        #[command(flatten)]
        filter: DeadArgs,
        /// At most this many
        #[arg(long, default_value_t = 10)]
        limit: u32,
        /// JSON for scripts
        #[arg(long)]
        json: bool,
    },
    /// Put dead jobs back to work, their attempts reset
    Redrive(ActArgs),
    /// Delete dead jobs for good
    Purge(ActArgs),
}

/// Which dead jobs are meant.
#[derive(Clone, Debug, Args)]
pub struct DeadArgs {
    /// This job
    #[arg(long, value_name = "ID")]
    pub id: Option<JobId>,
    /// Of this queue
    #[arg(long)]
    pub queue: Option<String>,
    /// Of this kind
    #[arg(long)]
    pub kind: Option<String>,
    /// Whose last error is of this class: error, timeout, panic, refused, crashed, unreadable, …
    #[arg(long)]
    pub class: Option<String>,
    /// Of this user
    #[arg(long)]
    pub user: Option<String>,
    /// Dead since this time, such as 2026-01-31T08:00:00Z
    #[arg(long)]
    pub since: Option<DateTime<Utc>>,
    /// Dead until this time
    #[arg(long)]
    pub until: Option<DateTime<Utc>>,
}

/// `dead redrive`, `dead purge`
#[derive(Debug, Args)]
pub struct ActArgs {
    /// Which
    #[command(flatten)]
    pub filter: DeadArgs,
    /// All of them; needed when no filter is given
    #[arg(long)]
    pub all: bool,
    /// Count only, change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// At most this many a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub per_second: Option<u32>,
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
