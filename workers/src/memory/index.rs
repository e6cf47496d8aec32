//! The steps by which the approximate index follows the memories. Each is one transaction.
//!
//! Promise: what to do is read from the database at every step, so a crash in between leaves nothing to repair; writers of
//! memories wait for none of them. Without an index the same searches are answered exactly, only slower.

use engine::store::{Store, StoreError, Tx, built, statement};
use uuid::Uuid;

use super::limits::INDEX_LOCK;
use crate::vector_type::VectorType;

/// Fed to the index in one transaction: some tenths of a second at 256 dimensions.
const FEED_ROWS: i64 = 32;
/// Copied in one transaction while there is no index.
pub(super) const COPY_ROWS: i64 = 5_000;
/// With fewer waiting than this, feeding is quick enough.
const FEW_ROWS: i64 = 200;
/// Counting further would change no decision.
const COUNTED_ROWS: i64 = 100_000;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There was nothing to do.
    Idle,
    /// Somebody else is at work.
    Busy,
    /// So many memories went into the index one by one.
    Fed(u64),
    /// So many memories were copied while there is no index.
    Copied(u64),
    /// The index was far behind and is gone until everything is copied.
    Dropped,
    /// The index was built.
    Built,
}

/// Does what is most needed now, unless somebody else is at it.
pub(super) async fn step(store: &Store, vector: VectorType) -> Result<Step, StoreError> {
    let mut tx = store.begin().await?;
    let held = tx.fetch(statement("select pg_try_advisory_xact_lock($1) as held").bind(INDEX_LOCK)).await?;
    if !held.first().map_or(Ok(false), |row| row.get("held"))? {
        return Ok(Step::Busy);
    }
    let done = match State::read(&mut tx).await?.next() {
        Next::Rest => Step::Idle,
        Next::Feed => Step::Fed(copy(&mut tx, FEED_ROWS).await?),
        Next::Copy => Step::Copied(copy(&mut tx, COPY_ROWS).await?),
        Next::Drop => drop_index(&mut tx).await.map(|()| Step::Dropped)?,
        Next::Build => build_index(&mut tx, vector).await.map(|()| Step::Built)?,
    };
    tx.commit().await?;
    Ok(done)
}

/// Waits for whoever is at work, then makes this transaction the one that is.
pub(super) async fn begin_alone(store: &Store) -> Result<Tx, StoreError> {
    let mut tx = store.begin().await?;
    tx.without_time_limit().await?;
    tx.execute(statement("select pg_advisory_xact_lock($1)").bind(INDEX_LOCK)).await?;
    Ok(tx)
}

/// How the index stands to the memories.
#[derive(Debug, Clone, Copy)]
struct State {
    has_index: bool,
    n_waiting: i64,
    /// Counted no further than is needed to compare.
    n_copied: i64,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Rest,
    Feed,
    Copy,
    Drop,
    Build,
}

const STATE: &str = "\
select to_regclass('memory_vectors_hnsw') is not null as has_index, n_waiting, \
(select count(*) from (select from memory_vectors limit 4 * n_waiting + 1) as counted) as n_copied \
from (select count(*) as n_waiting from (select from memories_to_index limit $1) as counted) as waiting";

impl State {
    async fn read(tx: &mut Tx) -> Result<Self, StoreError> {
        let rows = tx.fetch(statement(STATE).bind(COUNTED_ROWS)).await?;
        let row = rows.first().expect("a count is one row");
        Ok(Self { has_index: row.get("has_index")?, n_waiting: row.get("n_waiting")?, n_copied: row.get("n_copied")? })
    }

    /// Feeding a row costs some thirty times its share of a build: past a quarter, building anew is the shorter way.
    fn next(self) -> Next {
        let far_behind = self.n_waiting > FEW_ROWS && self.n_waiting > self.n_copied / 4;
        match (self.has_index, self.n_waiting > 0) {
            (true, true) if far_behind => Next::Drop,
            (true, true) => Next::Feed,
            (true, false) => Next::Rest,
            (false, true) if far_behind || self.n_copied == 0 => Next::Copy,
            (false, _) if self.n_copied > 0 => Next::Build,
            (false, _) => Next::Rest,
        }
    }
}

/// Rows that a writer holds at this moment come next time.
const TAKE: &str = "\
with due as materialized (select memory_id from memories_to_index order by memory_id limit $1 for update skip locked) \
delete from memories_to_index using due where memories_to_index.memory_id = due.memory_id returning due.memory_id";

const REMOVE: &str = "delete from memory_vectors where memory_id = any($1)";

const COPY: &str = "\
insert into memory_vectors (memory_id, user_id, embedding) select id, user_id, embedding from memories where id = any($1) order by id";

/// Brings the copies of memories that wait up to date; those of memories that are gone go too. Gives how many were looked at.
/// Statements apart: each has to see what committed while the one before it waited.
pub(super) async fn copy(tx: &mut Tx, limit: i64) -> Result<u64, StoreError> {
    let due = tx.fetch(statement(TAKE).bind(limit)).await?;
    let due: Vec<Uuid> = due.iter().map(|row| row.get("memory_id")).collect::<Result<_, _>>()?;
    tx.execute(statement(REMOVE).bind(due.clone())).await?;
    let n_due = due.len() as u64;
    tx.execute(statement(COPY).bind(due)).await?;
    Ok(n_due)
}

/// Drops the index.
pub(super) async fn drop_index(tx: &mut Tx) -> Result<(), StoreError> {
    tx.execute(statement("drop index if exists memory_vectors_hnsw")).await.map(drop)
}

/// Builds the index over what is copied. It takes as long as it takes; searches and writers of memories go on meanwhile.
pub(super) async fn build_index(tx: &mut Tx, vector: VectorType) -> Result<(), StoreError> {
    tx.without_time_limit().await?;
    let operators = vector.cosine_operators();
    let build = format!(
        "create index if not exists memory_vectors_hnsw on memory_vectors using hnsw (embedding {operators}) with (m = 16, ef_construction = 200)"
    );
    tx.execute(built(build)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(has_index: bool, n_waiting: i64, n_copied: i64) -> Next {
        State { has_index, n_waiting, n_copied }.next()
    }

    #[test]
    fn a_few_are_fed_and_many_are_copied_before_the_index_is_built() {
        assert_eq!(next(true, 0, 1_000), Next::Rest);
        assert_eq!(next(true, 200, 0), Next::Feed);
        assert_eq!(next(true, 1_000, 10_000), Next::Feed);
        assert_eq!(next(true, 201, 700), Next::Drop);
        assert_eq!(next(false, 5_001, 0), Next::Copy);
        assert_eq!(next(false, 10, 0), Next::Copy);
    }

    #[test]
    fn a_trickle_of_new_memories_does_not_put_off_the_build() {
        assert_eq!(next(false, 150, 10), Next::Build);
        assert_eq!(next(false, 1_000, 10_000), Next::Build);
        assert_eq!(next(false, 0, 1), Next::Build);
        assert_eq!(next(false, 0, 0), Next::Rest);
    }
}
