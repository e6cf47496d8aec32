//! Asks Postgres for the memories nearest to a vector.
//!
//! Promise: one user's memories are compared one by one, so none is missed; everybody's go through the HNSW index, and what
//! the indexer has not reached yet (the newest 20,000 of it) is compared one by one beside it. Expired memories, those of another
//! model and those that a filter rules out take no place in the answer.

use engine::store::{Row, Store, StoreError, built, statement};
use serde_json::Value;

use super::query::MemoryQuery;
use crate::vector_type::VectorType;

/// A query, ready to be asked.
pub(super) struct Nearest<'a> {
    pub(super) query: &'a MemoryQuery,
    pub(super) vector: Vec<f32>,
    pub(super) model: &'a str,
    pub(super) top_k: u32,
}

/// The rows of a user's nearest memories, or of everybody's.
pub(super) async fn nearest(store: &Store, nearest: Nearest<'_>) -> Result<Vec<Row>, StoreError> {
    let vector = VectorType::of(nearest.vector.len());
    let ask = |sql: String| {
        built(sql)
            .bind(nearest.vector.clone())
            .bind(nearest.model.to_owned())
            .bind(Value::Object(nearest.query.filter.clone()))
            .bind(nearest.query.run_id.clone())
            .bind(i64::from(nearest.top_k))
    };
    if let Some(user_id) = &nearest.query.user_id {
        return store.fetch(ask(of_user(vector)).bind(user_id.clone())).await;
    }
    let mut tx = store.begin().await?;
    tx.fetch(statement(SCAN_SETTINGS)).await?;
    let rows = tx.fetch(ask(of_everybody(vector))).await?;
    tx.commit().await?;
    Ok(rows)
}

/// For this transaction alone. The cast loads pgvector, which defines the settings.
const SCAN_SETTINGS: &str = "\
select '[1]'::vector, set_config('hnsw.ef_search', '100', true), set_config('hnsw.iterative_scan', 'relaxed_order', true)";

/// Which memories count.
const WANTED: &str = "\
m.model = $2 and (m.expires_at is null or m.expires_at > now()) and m.metadata @> $3 and ($4::text is null or m.run_id = $4)";

const ANSWER: &str = "\
select m.id, m.user_id, m.content, m.metadata, m.importance, m.run_id, m.agent_id, m.created_at, m.updated_at, m.expires_at, best.distance \
from best join memories m using (id) order by best.distance, m.id";

/// Exact: `memories` carries no approximate index, and the materialised step could not use one either.
fn of_user(vector: VectorType) -> String {
    format!(
        "with mine as materialized (select m.id, m.embedding <=> (select $1::real[]::{vector}) as distance from memories m \
         where m.user_id = $6 and {WANTED}), \
         best as (select id, distance from mine order by distance, id limit $5) {ANSWER}"
    )
}

/// Approximate where indexed: the order by the bare operator is what lets the index be used.
fn of_everybody(vector: VectorType) -> String {
    format!(
        "with near as materialized (select m.id, v.embedding <=> (select $1::real[]::{vector}) as distance \
         from memory_vectors v join memories m on m.id = v.memory_id \
         where {WANTED} order by v.embedding <=> (select $1::real[]::{vector}) limit $5), \
         waiting as materialized (select memory_id from memories_to_index order by memory_id desc limit 20000), \
         tail as (select m.id, m.embedding <=> (select $1::real[]::{vector}) as distance from waiting join memories m on m.id = waiting.memory_id \
         where {WANTED} order by distance, id limit $5), \
         best as (select id, distance from near where not exists (select 1 from memories_to_index w where w.memory_id = near.id) \
         union all select id, distance from tail order by distance, id limit $5) {ANSWER}"
    )
}
