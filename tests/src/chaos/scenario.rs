//! What a scenario is: a name, a promise, where it applies, and how it is played.

use std::time::Duration;

use chrono::{DateTime, Utc};
use engine::policy::Durability;
use futures::future::LocalBoxFuture;

use super::{
    database::Home,
    scenarios::{brokers, databases, jobs, networks, workers},
    stage::Stage,
    tally::{Affected, Evidence},
};

/// One fault under load, and what must hold.
pub struct Scenario {
    /// Its name, on the command line and in the documents.
    pub name: &'static str,
    /// What must hold, in a few words.
    pub promise: &'static str,
    /// The levels of durability at which it is played.
    pub durabilities: &'static [Durability],
    /// The levels at which jobs may be lost: those that the server lost with its memory.
    pub(super) losing: &'static [Durability],
    /// The levels at which completions may be lost, of jobs that were accepted before the fault was over.
    pub(super) forgetting: &'static [Durability],
    pub(super) home: Home,
    pub(super) play: Act,
}

type Act = for<'a> fn(&'a mut Stage) -> LocalBoxFuture<'a, anyhow::Result<Ending>>;

/// How a scenario went.
pub(super) enum Ending {
    /// The fault happened, and the load has ended.
    Played(Play),
    /// This machine cannot make the fault, and why.
    Skipped(String),
}

/// A limit on how long affected jobs may take after the fault.
#[derive(Clone, Copy, Debug)]
pub(super) enum Limit {
    /// For 99 of 100.
    P99(Duration),
    /// For all.
    All(Duration),
    /// None is promised.
    None,
}

/// What was played, and what to ask of the evidence besides the usual.
pub(super) struct Play {
    /// When the fault was over: what is accepted later may not be lost at any level.
    pub(super) over: DateTime<Utc>,
    pub(super) affected: Affected,
    pub(super) limit: Limit,
    /// How many jobs have to be given up.
    pub(super) n_dead: usize,
    pub(super) checks: Vec<Check>,
}

/// A question whose answer is what is wrong.
pub(super) type Check = Box<dyn FnOnce(&Evidence) -> Result<(), String> + Send>;

impl Play {
    /// A fault that is over now, after which nothing is promised but the usual.
    pub(super) fn new(over: DateTime<Utc>, affected: Affected, limit: Limit) -> Self {
        Self { over, affected, limit, n_dead: 0, checks: Vec::new() }
    }

    /// The same with one question more.
    pub(super) fn check(mut self, check: impl FnOnce(&Evidence) -> Result<(), String> + Send + 'static) -> Self {
        self.checks.push(Box::new(check));
        self
    }
}

impl From<Play> for Ending {
    fn from(play: Play) -> Self {
        Self::Played(play)
    }
}

const MEMORY: &[Durability] = &[Durability::Memory];
const JOURNALED: &[Durability] = &[Durability::Memory, Durability::Journaled];
const REPLICATED: &[Durability] = &[Durability::Replicated];
const EVERY: &[Durability] = &[Durability::Memory, Durability::Replicated, Durability::Journaled];
const NEVER: &[Durability] = &[];

macro_rules! scenario {
    ($name:literal, $home:ident, $losing:expr, $act:path, $promise:literal) => {
        scenario!(MEMORY, $name, $home, ($losing, $losing), $act, $promise)
    };
    ($at:expr, $name:literal, $home:ident, ($losing:expr, $forgetting:expr), $act:path, $promise:literal) => {
        Scenario {
            name: $name,
            promise: $promise,
            durabilities: $at,
            losing: $losing,
            forgetting: $forgetting,
            home: Home::$home,
            play: |stage| Box::pin($act(stage)),
        }
    };
}

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    scenario!(
        JOURNALED,
        "worker-sigkill",
        Shared,
        (NEVER, NEVER),
        workers::killed_once,
        "a killed worker's jobs run elsewhere within the lease plus two seconds"
    ),
    scenario!(
        "worker-sigkill-repeated",
        Shared,
        NEVER,
        workers::killed_repeatedly,
        "so they do when a worker is killed every two seconds"
    ),
    scenario!(
        "worker-sigstop",
        Shared,
        NEVER,
        workers::stopped_and_continued,
        "a worker that slept past its lease writes nothing of what it held"
    ),
    scenario!(
        "worker-sigterm",
        Shared,
        NEVER,
        workers::told_to_stop,
        "what a stopping worker had not begun begins elsewhere within a second"
    ),
    scenario!(
        "worker-sigterm-twice",
        Shared,
        NEVER,
        workers::told_twice,
        "what a second signal cuts short begins elsewhere within a second"
    ),
    scenario!("scale-up-and-down", Shared, NEVER, workers::scaled, "workers come and go under load"),
    scenario!(
        "rolling-restart",
        Shared,
        NEVER,
        workers::rolled,
        "every worker is replaced by one that knows a new version of a kind"
    ),
    scenario!(
        "cold-start",
        Shared,
        NEVER,
        workers::cold_start,
        "two workers start at once on an empty server that has jobs already"
    ),
    scenario!(
        "clock-off",
        Shared,
        NEVER,
        workers::clock_off,
        "one worker's clock is ten minutes ahead, another's ten minutes behind"
    ),
    scenario!(
        EVERY,
        "broker-kill",
        Shared,
        (MEMORY, JOURNALED),
        brokers::killed,
        "the server is killed and starts again with nothing, or its replica takes over; workers go on by themselves"
    ),
    scenario!(
        JOURNALED,
        "broker-rollback",
        Shared,
        (MEMORY, JOURNALED),
        brokers::rolled_back,
        "the server is killed and starts again from an older snapshot"
    ),
    scenario!(
        REPLICATED,
        "replica-lost",
        Shared,
        (NEVER, NEVER),
        brokers::replica_lost,
        "the only replica is killed: nothing counts as accepted until there is one again"
    ),
    scenario!(
        "memory-full",
        Shared,
        NEVER,
        brokers::full,
        "the server's memory is full: producers are refused, workers settle, what was accepted is done"
    ),
    scenario!(
        "partition-worker-broker",
        Shared,
        NEVER,
        networks::worker_from_broker,
        "one worker and the server cannot hear each other; late bytes change nothing"
    ),
    scenario!(
        "partition-fleet-broker",
        Shared,
        NEVER,
        networks::fleet_from_broker,
        "no worker can hear the server; no job waits longer than that plus five seconds"
    ),
    scenario!(
        JOURNALED,
        "partition-worker-postgres",
        Shared,
        (NEVER, NEVER),
        networks::fleet_from_postgres,
        "no worker can hear Postgres; outcomes wait, and no attempt is spent"
    ),
    scenario!(
        JOURNALED,
        "partition-producer-broker",
        Shared,
        (NEVER, NEVER),
        networks::producer_from_broker,
        "the producer cannot hear the server and submits again what had no answer"
    ),
    scenario!(
        "postgres-forgotten",
        Shared,
        NEVER,
        networks::postgres_forgotten,
        "connections to Postgres stay open and silent for ever, as behind a firewall that forgot them"
    ),
    scenario!(
        "connection-cut",
        Shared,
        NEVER,
        networks::snipped,
        "connections of all kinds end in the middle of a reply, again and again"
    ),
    scenario!(
        JOURNALED,
        "postgres-restart",
        Own,
        (NEVER, NEVER),
        databases::restarted,
        "Postgres restarts at once, without a goodbye"
    ),
    scenario!("postgres-down", Own, NEVER, databases::down, "Postgres is away for a while; readiness says so"),
    scenario!("postgres-disk-full", SmallDisk, NEVER, databases::disk_full, "Postgres' disk is full for a while"),
    scenario!(
        "statement-timeout",
        Shared,
        NEVER,
        databases::statement_timeout,
        "statements run into their time limit while a table is locked"
    ),
    scenario!(
        "bad-row",
        Shared,
        NEVER,
        jobs::bad_row,
        "one row that Postgres refuses among 500 that are settled together fails alone"
    ),
    scenario!(
        "poison-job",
        Shared,
        NEVER,
        jobs::poison,
        "a job that kills its process is given up; its neighbours are neither failed nor charged"
    ),
    scenario!("long-job", Shared, NEVER, jobs::long, "a healthy job of ten times the lease runs once"),
];
