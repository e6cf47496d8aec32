//! Which dead jobs are meant, and what becomes of them: `dead …`.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use engine::job::JobId;

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
