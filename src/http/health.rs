//! Whether a worker lives, and whether it can work.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    broker::Connection,
    cycles::Cycles,
    shutdown::Shutdown,
    store::{Backlog, Store},
};

const DATABASE_LIMIT: Duration = Duration::from_secs(5);
/// Jobs that wait longer than this to be brought to Dragonfly are late.
const LATE: Duration = Duration::from_secs(60);
const DRAGONFLY_LIMIT: Duration = Duration::from_secs(2);

/// What a worker's health is made of.
pub struct Health {
    /// The worker's name.
    pub worker: String,
    /// Dragonfly.
    pub connection: Connection,
    /// Postgres.
    pub store: Store,
    /// Whether it stops.
    pub shutdown: Shutdown,
    /// When it started.
    pub started: Instant,
    /// What the process itself looks at; a failure of these does not keep it from taking jobs.
    pub others: Vec<NamedCheck>,
    /// Its loops.
    pub cycles: Arc<Cycles>,
}

/// A check of the process's own.
#[derive(Clone)]
pub struct NamedCheck {
    /// What it is called in the report.
    pub name: &'static str,
    /// Says at once whether it works, or why not.
    pub run: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// What one check found.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Whether it answered in time.
    pub ok: bool,
    /// How long it took, milliseconds.
    pub took_ms: u64,
    /// What was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What all checks found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `ok`, `degraded` or `stopping`.
    pub status: &'static str,
    /// Whether jobs can be taken and settled.
    pub ready: bool,
    /// The worker's name.
    pub worker: String,
    /// The version of the binary.
    pub version: &'static str,
    /// How long it has run, seconds.
    pub uptime_s: u64,
    /// By what was checked: `database`, `dragonfly`, `journal`, `loops`, `schema`, and what the process itself looks at.
    pub checks: BTreeMap<&'static str, Check>,
}

impl Health {
    /// Whether the process should be left alone: a new one helps only where a loop of this one has ended.
    pub fn is_live(&self) -> bool {
        !self.shutdown.is_expired() && self.cycles.ended().is_empty()
    }

    /// In a word: `live`, `stopping`, or that a loop has ended by itself.
    pub fn life(&self) -> &'static str {
        match (self.is_live(), self.shutdown.is_expired()) {
            (true, _) => "live",
            (false, true) => "stopping",
            (false, false) => "a loop has ended",
        }
    }

    /// Runs every check, all at the same time.
    pub async fn report(&self) -> Report {
        let (database, dragonfly, journal, schema) = tokio::join!(
            timed(DATABASE_LIMIT, async { self.store.ping().await.map_err(|error| error.to_string()) }),
            self.dragonfly(),
            timed(DATABASE_LIMIT, self.journal()),
            timed(DATABASE_LIMIT, self.schema()),
        );
        let loops = self.loops();
        let loops_can_work = !self.cycles.keep_from_work(Instant::now());
        let can_work = database.ok && dragonfly.ok && schema.ok && loops_can_work;
        let mut checks = BTreeMap::from([
            ("database", database),
            ("dragonfly", dragonfly),
            ("journal", journal),
            ("loops", loops),
            ("schema", schema),
        ]);
        checks.extend(self.others.iter().map(|other| (other.name, checked((other.run)(), Duration::ZERO))));
        let all_ok = checks.values().all(|check| check.ok);
        let stopping = self.shutdown.is_stopping();
        let status = if stopping {
            "stopping"
        } else if all_ok {
            "ok"
        } else {
            "degraded"
        };
        Report {
            status,
            ready: can_work && !stopping,
            worker: self.worker.clone(),
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: self.started.elapsed().as_secs(),
            checks,
        }
    }

    /// A server that answers nobody is told in the words of the log.
    async fn dragonfly(&self) -> Check {
        let ping = async { self.connection.ping().await.map_err(|error| error.to_string()) };
        let mut check = timed(DRAGONFLY_LIMIT, ping).await;
        if let Some(silence) = self.connection.pulse().silence(Instant::now()).filter(|_| !check.ok) {
            check.error = Some(format!("the server at {} {silence}", self.connection.address().shown()));
        }
        check
    }

    /// Whether every loop goes on: one that stands still serves nobody, whatever the servers say.
    fn loops(&self) -> Check {
        let problem = self.cycles.problem(Instant::now());
        Check { ok: problem.is_none(), took_ms: 0, error: problem }
    }

    /// Late jobs do not keep this worker from working, and say that something else does.
    async fn journal(&self) -> Result<(), String> {
        let Backlog { n_jobs, oldest } = self.store.journal_backlog().await.map_err(|error| error.to_string())?;
        if oldest <= LATE {
            return Ok(());
        }
        let s = oldest.as_secs();
        Err(format!(
            "{n_jobs} journaled jobs wait to be brought to Dragonfly, the oldest for {s} s: a queue is full or closed (`tripsage queues`), or Dragonfly takes nothing"
        ))
    }

    async fn schema(&self) -> Result<(), String> {
        let state = self.store.migration_state().await.map_err(|error| error.to_string())?;
        match state.missing.as_slice() {
            [] => Ok(()),
            missing => Err(format!("the database lacks the migrations {}; run `tripsage migrate`", missing.join(", "))),
        }
    }
}

async fn timed(limit: Duration, check: impl Future<Output = Result<(), String>>) -> Check {
    let begun = Instant::now();
    let outcome =
        tokio::time::timeout(limit, check).await.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")));
    checked(outcome, begun.elapsed())
}

fn checked(outcome: Result<(), String>, took: Duration) -> Check {
    Check { ok: outcome.is_ok(), took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX), error: outcome.err() }
}
