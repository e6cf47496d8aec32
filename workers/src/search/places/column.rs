//! The column of `places` that holds vectors, and the index over it.
//!
//! Promise: the index is there only while every place of the table has its vector of one model, so that its
//! presence says that the table can be searched. The table is a copy: it may be emptied and filled anew.

use engine::store::{Store, StoreError, Tx, built, statement};

use crate::vector_type::VectorType;

/// The index's name.
pub(super) const INDEX: &str = "places_by_meaning";

/// Whether the table can be searched with vectors of this type made by `model`.
pub(super) async fn is_loaded(store: &Store, vector: VectorType, model: &str) -> Result<bool, StoreError> {
    let rows = store.fetch(statement(LOADED).bind(vector.to_string()).bind(model.to_owned()).bind(INDEX)).await?;
    rows.first().map_or(Ok(false), |row| row.get("loaded"))
}

const LOADED: &str = "\
select to_regclass($3) is not null \
and exists (select 1 from pg_attribute where attrelid = to_regclass('places') and attname = 'embedding' \
and not attisdropped and format_type(atttypid, atttypmod) = $1) \
and coalesce((select model from places limit 1), '') = $2 as loaded";

/// Makes the column of this type: one of another type goes, and with it its vectors.
pub(super) async fn ensure(store: &Store, vector: VectorType) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    let rows = tx.fetch(statement(COLUMN)).await?;
    let found: Option<String> = rows.first().map(|row| row.get("type")).transpose()?;
    if found.as_deref() != Some(vector.to_string().as_str()) {
        drop_index(&mut tx).await?;
        tx.execute(statement("delete from places")).await?;
        tx.execute(statement("alter table places drop column if exists embedding")).await?;
        tx.execute(built(format!("alter table places add column embedding {vector}"))).await?;
    }
    tx.commit().await
}

const COLUMN: &str = "\
select format_type(atttypid, atttypmod) as type from pg_attribute \
where attrelid = to_regclass('places') and attname = 'embedding' and not attisdropped";

/// The table is about to change: it cannot be searched until the index is built again.
pub(super) async fn drop_index(tx: &mut Tx) -> Result<(), StoreError> {
    tx.execute(built(format!("drop index if exists {INDEX}"))).await.map(drop)
}

/// Builds the index over a whole table. Takes seconds to minutes: without the usual time limit.
pub(super) async fn build_index(store: &Store, vector: VectorType) -> Result<(), StoreError> {
    let operators = vector.cosine_operators();
    let mut tx = store.begin().await?;
    tx.without_time_limit().await?;
    tx.execute(statement("set local maintenance_work_mem = '512MB'")).await?;
    tx.execute(built(format!(
        "create index if not exists {INDEX} on places using hnsw (embedding {operators}) with (m = 16, ef_construction = 200)"
    )))
    .await?;
    tx.execute(statement("analyze places")).await?;
    tx.commit().await
}
