//! The vector columns, whose type and dimension are settings and therefore no migration's.
//!
//! Promise: calling it again, or from many workers at once, changes nothing more; a database whose vectors have
//! another size is left as it is and the error says what to do.
//! Never drops a column and never touches a row.

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
    /// The database was made for other vectors.
    #[error(
        "store vectors as {expected}: this database's table {table} has {found}. Set the embedding dimensions to those of \
         the database, use another database, or empty `memories` and `memory_vectors` and drop the column `embedding` of both"
    )]
    Mismatch {
        /// The table looked at.
        table: &'static str,
        /// The column's type.
        found: String,
        /// The type that the settings ask for.
        expected: String,
    },
}

const TABLES: [&str; 2] = ["memories", "memory_vectors"];

/// Adds the vector columns where they are missing, for vectors of `dimensions` values. Call it after the migrations.
///
/// # Errors
/// When pgvector is missing or too old, or the database holds vectors of another type or dimension.
pub async fn ensure_vectors(store: &Store, dimensions: usize) -> Result<(), SchemaError> {
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
        ensure_column(&mut tx, table, VectorType::of(dimensions)).await?;
    }
    Ok(tx.commit().await?)
}

const COLUMN: &str = "\
select format_type(atttypid, atttypmod) as type from pg_attribute \
where attrelid = to_regclass($1) and attname = 'embedding' and not attisdropped";

async fn ensure_column(tx: &mut Tx, table: &'static str, wanted: VectorType) -> Result<(), SchemaError> {
    let found = tx.fetch(statement(COLUMN).bind(table)).await?;
    let Some(found) = found.first() else {
        tx.execute(built(format!("alter table {table} add column embedding {wanted} not null"))).await?;
        return Ok(());
    };
    let (found, expected) = (found.get::<String>("type")?, wanted.to_string());
    if found == expected { Ok(()) } else { Err(SchemaError::Mismatch { table, found, expected }) }
}
