//! Writes many users' memories at once.
//!
//! Promise: one row a user and text; history and the indexer's work list in the same statement; written twice is
//! written once. Vectors travel as one flat binary array that Postgres cuts into rows: as text they cost four times as much.
//! Never touches the approximate index.

use std::collections::{BTreeMap, HashMap};

use engine::store::{Statement, StoreError, Tx, built};
use uuid::Uuid;

use super::plan::{Hash, MergedRow, Plan};
use crate::vector_type::VectorType;

/// The ids under which texts are stored, by user.
pub(super) type Written = HashMap<String, HashMap<Hash, Uuid>>;

/// The most vector values in one statement: four megabytes of them.
const VALUES_PER_STATEMENT: usize = 1 << 20;

/// Inserts the rows, or touches those that are there; gives the id of each.
pub(super) async fn upsert(
    tx: &mut Tx,
    plan: &Plan,
    rows: &BTreeMap<(&str, Hash), MergedRow<'_>>,
) -> Result<Written, StoreError> {
    let mut written = Written::new();
    let rows: Vec<_> = rows.iter().map(|((user, _), row)| (*user, row)).collect();
    for chunk in rows.chunks((VALUES_PER_STATEMENT / plan.dimensions.max(1)).max(1)) {
        for row in tx.fetch(statement(plan, chunk)).await? {
            let Ok(hash) = Hash::try_from(row.get::<&[u8]>("content_hash")?) else { continue };
            written.entry(row.get("user_id")?).or_default().insert(hash, row.get("id")?);
        }
    }
    Ok(written)
}

fn statement(plan: &Plan, rows: &[(&str, &MergedRow<'_>)]) -> Statement {
    let items = || rows.iter().map(|(_, row)| &row.draft.item);
    let vectors: Vec<f32> = rows.iter().flat_map(|(_, row)| row.vector.iter().copied()).collect();
    built(sql(VectorType::of(plan.dimensions)))
        .bind(rows.iter().map(|(_, row)| row.draft.id).collect::<Vec<_>>())
        .bind(rows.iter().map(|(user, _)| *user).collect::<Vec<_>>())
        .bind(items().map(|item| item.text.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.draft.hash.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| serde_json::Value::Object(row.metadata.clone())).collect::<Vec<_>>())
        .bind(items().map(|item| item.importance).collect::<Vec<_>>())
        .bind(items().map(|item| item.run_id.as_deref()).collect::<Vec<_>>())
        .bind(items().map(|item| item.agent_id.as_deref()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.expires_at).collect::<Vec<_>>())
        .bind(vectors)
        .bind(&*plan.model)
}

/// A row that was made by another model gets the new model's vector, and the indexer is told. `xmax = 0` is true of rows
/// that this statement inserted and false of those that it updated.
fn sql(vector: VectorType) -> String {
    let dimensions = vector.dimensions();
    format!(
        "with written as (\
         insert into memories (id, user_id, content, content_hash, metadata, importance, run_id, agent_id, expires_at, model, embedding) \
         select n.id, n.user_id, n.content, n.content_hash, n.metadata, coalesce(n.importance, 0.5), n.run_id, n.agent_id, n.expires_at, $11, \
         ($10::real[])[(n.place::int - 1) * {dimensions} + 1 : n.place::int * {dimensions}]::{vector} \
         from unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::jsonb[], $6::real[], $7::text[], $8::text[], $9::timestamptz[]) with ordinality \
         as n (id, user_id, content, content_hash, metadata, importance, run_id, agent_id, expires_at, place) \
         on conflict (user_id, content_hash) do update set updated_at = now(), metadata = memories.metadata || excluded.metadata, \
         expires_at = case when memories.expires_at is not null and excluded.expires_at is not null then greatest(memories.expires_at, excluded.expires_at) end, \
         embedding = case when memories.model = excluded.model then memories.embedding else excluded.embedding end, model = excluded.model \
         returning id, user_id, content_hash, xmax = 0 as is_new), \
         noted as (insert into memory_history (memory_id, user_id, event) select id, user_id, 'created' from written where is_new), \
         to_index as (insert into memories_to_index (memory_id) select id from written \
         where is_new or exists (select 1 from memories before where before.id = written.id and before.model <> $11) \
         on conflict (memory_id) do update set memory_id = excluded.memory_id) \
         select id, user_id, content_hash from written"
    )
}
