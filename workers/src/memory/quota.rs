//! How many memories a user may have, and which go when there are more.
//!
//! Promise: first what has expired, then the least important, then the oldest; what goes is noted in the history and
//! reported. Writers of the same user take turns, so that two of them cannot both see room for one more.

use std::collections::HashMap;

use engine::store::{StoreError, Tx, statement};
use uuid::Uuid;

/// Sorted by key: two transactions that lock the same users lock them in the same order.
const LOCK: &str = "\
select pg_advisory_xact_lock(key) from \
(select distinct hashtextextended(user_id, 7310) as key from unnest($1::text[]) as user_id order by key) as keys";

const OVER: &str = "\
select user_id, count(*) - $2 as surplus from memories where user_id = any($1) group by user_id having count(*) > $2";

/// User by user, so that only the surplus is sorted out and not every memory ranked.
const EVICT: &str = "\
with least as materialized (select least.id, least.place from unnest($1::text[], $2::bigint[]) as over (user_id, surplus) \
cross join lateral (select id, row_number() over (order by coalesce(expires_at <= now(), false) desc, importance, created_at, id) as place \
from memories where memories.user_id = over.user_id \
order by coalesce(expires_at <= now(), false) desc, importance, created_at, id limit over.surplus) as least), \
evicted as (delete from memories using least where memories.id = least.id \
returning memories.id, memories.user_id, memories.content, least.place), \
noted as (insert into memory_history (memory_id, user_id, event, old_content) select id, user_id, 'evicted', content from evicted) \
select id, user_id from evicted order by user_id, place";

/// Makes this transaction the only one that adds to these users' memories.
pub(super) async fn lock(tx: &mut Tx, users: &[&str]) -> Result<(), StoreError> {
    tx.execute(statement(LOCK).bind(users.to_vec())).await.map(drop)
}

/// Removes what is too much; gives the ids that went, by user, in the order of their removal.
pub(super) async fn enforce(
    tx: &mut Tx,
    users: &[&str],
    max_memories: u32,
) -> Result<HashMap<String, Vec<Uuid>>, StoreError> {
    let max_memories = i64::from(max_memories);
    let over = tx.fetch(statement(OVER).bind(users.to_vec()).bind(max_memories)).await?;
    let users: Vec<String> = over.iter().map(|row| row.get("user_id")).collect::<Result<_, _>>()?;
    let surplus: Vec<i64> = over.iter().map(|row| row.get("surplus")).collect::<Result<_, _>>()?;
    let mut evicted: HashMap<String, Vec<Uuid>> = HashMap::new();
    if users.is_empty() {
        return Ok(evicted);
    }
    for row in tx.fetch(statement(EVICT).bind(users).bind(surplus)).await? {
        evicted.entry(row.get("user_id")?).or_default().push(row.get("id")?);
    }
    Ok(evicted)
}
