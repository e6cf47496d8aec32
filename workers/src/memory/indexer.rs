//! Keeps the approximate index up with the memories, in the background.
//!
//! Promise: one worker of the fleet at a time, in small transactions; an index that is far behind is dropped, loaded and built
//! rather than fed row by row (an HNSW index takes some hundred rows a second, a build thousands).
//! Never holds up who adds memories, and takes at most half of one core while it feeds.

use std::time::{Duration, Instant};

use engine::{
    shutdown::Shutdown,
    store::{Store, StoreError, statement},
    telemetry::metrics,
};

use super::index::{self, COPY_ROWS, Step};
use crate::vector_type::VectorType;

/// Keeps the approximate index up with the memories.
#[derive(Debug, Clone)]
pub struct Indexer {
    /// Postgres.
    pub store: Store,
    /// How many values each vector has.
    pub dimensions: usize,
    /// How long it rests when there is nothing to do, or somebody else does it.
    pub interval: Duration,
}

impl Indexer {
    /// Works until told to stop.
    pub async fn run(self, shutdown: Shutdown) {
        let mut pause = Duration::ZERO;
        while shutdown.run_until_stopped(tokio::time::sleep(pause)).await.is_some() {
            let begun = Instant::now();
            let Some(step) =
                shutdown.run_until_expired(index::step(&self.store, VectorType::of(self.dimensions))).await
            else {
                return;
            };
            pause = self.pause(&step, begun.elapsed());
        }
    }

    fn pause(&self, step: &Result<Step, StoreError>, took: Duration) -> Duration {
        match step {
            Ok(Step::Idle | Step::Busy) => self.interval,
            Ok(Step::Fed(_)) => took,
            Ok(Step::Copied(_) | Step::Dropped | Step::Built) => Duration::ZERO,
            Err(error) => {
                metrics::role_failed("indexer");
                tracing::warn!(%error, "could not bring the index of memories up to date; searches answer without it");
                self.interval
            }
        }
    }
}

/// An index that was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexBuilt {
    /// How many memories it holds.
    pub n_memories: u64,
    /// How long that took.
    pub took: Duration,
}

/// Builds the index anew over everything that is stored now.
///
/// # Errors
/// What Postgres refused. Searches then answer exactly, only slower, until it is built again.
pub async fn build(store: &Store, dimensions: usize) -> Result<IndexBuilt, StoreError> {
    let begun = Instant::now();
    let mut tx = index::begin_alone(store).await?;
    index::drop_index(&mut tx).await?;
    tx.commit().await?;
    loop {
        let mut tx = index::begin_alone(store).await?;
        let n_copied = index::copy(&mut tx, COPY_ROWS).await?;
        tx.commit().await?;
        if n_copied < COPY_ROWS.unsigned_abs() {
            break;
        }
    }
    let mut tx = index::begin_alone(store).await?;
    index::build_index(&mut tx, VectorType::of(dimensions)).await?;
    let rows = tx.fetch(statement("select count(*) as n_memories from memory_vectors")).await?;
    let n_memories = rows.first().map_or(Ok(0), |row| row.get::<i64>("n_memories"))?.unsigned_abs();
    tx.commit().await?;
    Ok(IndexBuilt { n_memories, took: begun.elapsed() })
}

/// Works until there is nothing to do; for tests and for commands that must not leave before.
///
/// # Errors
/// What Postgres refused.
pub async fn catch_up(store: &Store, dimensions: usize) -> Result<(), StoreError> {
    loop {
        match index::step(store, VectorType::of(dimensions)).await? {
            Step::Idle => return Ok(()),
            // Wait in line behind whoever is at work.
            Step::Busy => drop(index::begin_alone(store).await?),
            _ => {}
        }
    }
}
