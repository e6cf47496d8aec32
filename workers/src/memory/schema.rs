//! The vector columns, whose type and dimension are settings and therefore no migration's.
//!
//! Promise: calling it again, or from many workers at once, changes nothing more; columns of another size are altered
//! where there is no memory, otherwise the database is left as it is and the error says what to do.
//! Never drops a column and never touches a memory.

use engine::store::{OLDEST_VECTOR, Store, StoreError, Tx, built, statement};

use super::limits::SCHEMA_LOCK;
use crate::vector_type::{MAX_HALFVEC, VectorType};

/// Why the database cannot hold the configured vectors. Display reads after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Postgres could not be asked, or refused.
    #[error("prepare the database for vectors: {0}")]
    Store(#[from] StoreError),
    /// pgvector is missing or too old.
    #[error(
        "use pgvector {found}: at least {}.{}.{} is needed (older ones can corrupt an index); install it on the database \
         server and run `alter extension vector update` in this database", OLDEST_VECTOR.0, OLDEST_VECTOR.1, OLDEST_VECTOR.2
    )]
    TooOld {
        /// The version found, or that there is none.
        found: String,
    },
    /// No index can hold such vectors.
    #[error(
        "store vectors of {dimensions} dimensions: expected 1 to {MAX_HALFVEC}; choose a smaller embedding dimension"
    )]
    Dimensions {
        /// The dimension asked for.
        dimensions: usize,
    },
    /// The columns do not fit, and this process may not change the schema.
    #[error(
        "store vectors as {expected}: this database has {found}. All processes need the same embedder settings \
         (TRIPSAGE_MEM0_EMBEDDER, TRIPSAGE_MEM0_EMBEDDING_MODEL); where these are the right ones, run `tripsage migrate`"
    )]
    Outdated {
        /// The column's type, or that there is none.
        found: String,
        /// The type of the embedding model's vectors.
        expected: String,
    },
    /// The database was made for other vectors.
    #[error(
        "store vectors as {expected}: the memories of this database have {found}. Use the embedding model that they were made \
         with, or another database; or give them up by `delete from memories` and run `tripsage migrate`, which alters empty tables"
    )]
    Mismatch {
        /// The column's type.
        found: String,
        /// The type of the embedding model's vectors.
        expected: String,
    },
}

const TABLES: [&str; 2] = ["memories", "memory_vectors"];

/// Adds the vector columns where they are missing, for vectors of `dimensions` values, and alters those of another type
/// where there is no memory. Call it after the migrations.
///
/// For `tripsage migrate` alone: workers with other settings may be at work.
///
/// # Errors
/// When pgvector is missing or too old, or the database has memories whose vectors are of another type or dimension.
pub async fn ensure_vectors(store: &Store, dimensions: usize) -> Result<(), SchemaError> {
    prepare(store, dimensions, OtherType::IsAltered).await
}

/// Makes the columns where there are none, for a worker that starts on a fresh database; alters none.
///
/// # Errors
/// As [`ensure_vectors`], and when a column is of another type or dimension.
pub async fn create_vectors(store: &Store, dimensions: usize) -> Result<(), SchemaError> {
    prepare(store, dimensions, OtherType::IsAnError).await
}

/// What follows where a column is of another type than the model's vectors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OtherType {
    IsAltered,
    IsAnError,
}

async fn prepare(store: &Store, dimensions: usize, other: OtherType) -> Result<(), SchemaError> {
    if !(1..=MAX_HALFVEC).contains(&dimensions) {
        return Err(SchemaError::Dimensions { dimensions });
    }
    let versions = store.versions().await?;
    if !versions.vector_is_new_enough() {
        return Err(SchemaError::TooOld {
            found: versions.vector.unwrap_or_else(|| "that is not installed".to_owned()),
        });
    }
    let mut tx = store.begin().await?;
    tx.execute(statement("select pg_advisory_xact_lock($1)").bind(SCHEMA_LOCK)).await?;
    for table in TABLES {
        ensure_column(&mut tx, table, (VectorType::of(dimensions), other)).await?;
    }
    Ok(tx.commit().await?)
}

/// Says whether the database can store vectors of `dimensions` values as it is; changes nothing.
///
/// # Errors
/// When the columns are missing, or of another type or dimension.
pub async fn check_vectors(store: &Store, dimensions: usize) -> Result<(), SchemaError> {
    let expected = VectorType::of(dimensions).to_string();
    let mut tx = store.begin().await?;
    let found = column_type(&mut tx, "memories").await?;
    tx.commit().await?;
    match found {
        Some(found) if found == expected => Ok(()),
        found => Err(SchemaError::Outdated { found: found.unwrap_or_else(|| "no such column".to_owned()), expected }),
    }
}

const COLUMN: &str = "\
select format_type(atttypid, atttypmod) as type from pg_attribute \
where attrelid = to_regclass($1) and attname = 'embedding' and not attisdropped";

async fn column_type(tx: &mut Tx, table: &'static str) -> Result<Option<String>, StoreError> {
    let found = tx.fetch(statement(COLUMN).bind(table)).await?;
    found.first().map(|row| row.get("type")).transpose()
}

async fn ensure_column(
    tx: &mut Tx,
    table: &'static str,
    (wanted, other): (VectorType, OtherType),
) -> Result<(), SchemaError> {
    match column_type(tx, table).await? {
        None => tx.execute(built(format!("alter table {table} add column embedding {wanted} not null"))).await?,
        Some(found) if found == wanted.to_string() => return Ok(()),
        Some(found) if other == OtherType::IsAnError => {
            return Err(SchemaError::Outdated { found, expected: wanted.to_string() });
        }
        Some(found) => return alter_column(tx, table, found, wanted).await,
    };
    Ok(())
}

async fn has_memories(tx: &mut Tx) -> Result<bool, StoreError> {
    let memories = tx.fetch(statement("select exists (select from memories) as has_rows")).await?;
    memories.first().map_or(Ok(false), |row| row.get("has_rows"))
}

/// `memory_vectors` is a copy: where there is no memory, what is in it is of memories that are gone. Its index goes, since
/// its operators belong to the type; the indexer builds it again.
async fn alter_column(tx: &mut Tx, table: &str, found: String, wanted: VectorType) -> Result<(), SchemaError> {
    let mismatch = || SchemaError::Mismatch { found: found.clone(), expected: wanted.to_string() };
    // Before any lock: a start with a wrong setting holds nobody up.
    if has_memories(tx).await? {
        return Err(mismatch());
    }
    // No writer may add a memory between the look and the change; everybody else waits behind a lock that is waited for.
    tx.execute(statement("set local lock_timeout = '2s'")).await?;
    tx.execute(statement("lock table memories, memory_vectors in access exclusive mode")).await?;
    if has_memories(tx).await? {
        return Err(mismatch());
    }
    tx.execute(statement("drop index if exists memory_vectors_hnsw")).await?;
    tx.execute(statement("delete from memory_vectors")).await?;
    let alter = format!("alter table {table} alter column embedding type {wanted} using embedding::{wanted}");
    tx.execute(built(alter)).await?;
    tracing::info!(table, %found, expected = %wanted, "the table has no memory: its vector column is altered");
    Ok(())
}
