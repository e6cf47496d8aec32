//! The edge to Postgres: the only place that names its client library.
//!
//! Promise: what one settlement writes commits together or not at all. A job's own rows go through
//! [`Statement`] and [`Tx`]; nothing else of the client library is seen outside.

/// The log target of what Postgres notices.
pub const NOTICES: &str = "sqlx::postgres::notice";

mod cancelled;
mod connect;
mod dead_jobs;
mod error;
mod generation;
mod job_kinds;
mod journal;
mod journaled;
mod levels;
mod migrate;
mod notices;
mod policies;
mod results;
mod schedules;
mod statement;
mod submissions;
mod version;

pub use self::{
    cancelled::CancelledRow,
    connect::{Database, Store},
    dead_jobs::{DeadFilter, DeadJob, DeadRow},
    error::{StoreError, StoreErrorKind},
    generation::Generation,
    journal::{Backlog, COUNTED, JOURNAL_CHANNEL, JournalRow, Unrelayed},
    journaled::Journaled,
    migrate::MigrationState,
    notices::Notices,
    results::{ResultRow, Results, StoredResult},
    schedules::{NewSchedule, Schedule},
    statement::{Kept, Row, Statement, Tx, built, statement},
    submissions::{Abandoned, OpenSubmission, SubmissionError},
    version::{OLDEST_VECTOR, PgVersions},
};
