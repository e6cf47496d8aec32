//! What fires by itself: `schedule …`.

use clap::{Args, Subcommand};

use super::{JsonArgs, PriorityArg};

pub(super) const HELP: &str = "\
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
