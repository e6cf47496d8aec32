//! Vectors that are stored already, so that their texts need not be embedded again.
//!
//! Promise: a vector found here was made by the model asked for. The vector itself comes along, not just the news that it
//! exists: by the time the rows are written its memory may be gone, and is then stored anew.

use std::sync::Arc;

use engine::store::{Store, StoreError, statement};

use super::plan::{Drafts, Hash, Vectors};

/// Pairs of user and text asked for in one statement.
const PER_STATEMENT: usize = 4_096;

const KNOWN: &str = "\
select m.content_hash, m.embedding::real[] as vector from unnest($1::text[], $2::bytea[]) as n (user_id, content_hash) \
join memories m using (user_id, content_hash) where m.model = $3";

/// The vectors of those drafts whose user has the same text stored.
pub(super) async fn vectors(store: &Store, model: &str, jobs: &[Drafts]) -> Result<Vectors, StoreError> {
    let pairs =
        jobs.iter().flat_map(|job| job.drafts.iter().map(|draft| (job.user_id.as_str(), draft.hash.as_slice())));
    let pairs: Vec<(&str, &[u8])> = pairs.collect();
    let mut vectors = Vectors::new();
    for chunk in pairs.chunks(PER_STATEMENT) {
        let (users, hashes): (Vec<&str>, Vec<&[u8]>) = chunk.iter().copied().unzip();
        for row in store.fetch(statement(KNOWN).bind(users).bind(hashes).bind(model)).await? {
            let Ok(hash) = Hash::try_from(row.get::<&[u8]>("content_hash")?) else { continue };
            vectors.insert(hash, Ok(Arc::from(row.get::<Vec<f32>>("vector")?)));
        }
    }
    Ok(vectors)
}
