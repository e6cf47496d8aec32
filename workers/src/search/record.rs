//! What is kept of every answered search: one row of `search_results`.
//!
//! Promise: the rows of many searches go in one statement, in their jobs' own transaction.

use std::time::{Duration, Instant};

use engine::{
    cache::{CacheName, Cached},
    job::JobId,
    store::{StoreError, Tx, statement},
};
use uuid::Uuid;

/// How a search reads the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// For a user: a stale answer is served and refreshed behind.
    Serve,
    /// For warming: a stale answer is replaced before it is given.
    Warm,
}

/// What is kept of an answered search.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchRecord {
    /// What was searched: `places`, `memories`.
    pub namespace: &'static str,
    /// The job's payload: enough to search the same again.
    pub params: serde_json::Value,
    /// The last part of the cached answer's name.
    pub params_hash: String,
    /// Whose search.
    pub user_id: Option<String>,
    /// How many were found.
    pub n_results: usize,
    /// `hit`, `stale`, `miss` or `off`.
    pub cache: &'static str,
    /// From the start of the search to its answer.
    pub took: Duration,
}

impl SearchRecord {
    /// The record of a search that began at `began` and found so many.
    pub(super) fn new<T>(name: &CacheName, cached: &Cached<T>, n_results: usize, began: Instant) -> Self {
        let params_hash = name.as_str().rsplit(':').next().unwrap_or_default().to_owned();
        let (namespace, cache) = (name.namespace(), cached.outcome.as_str());
        Self { namespace, params_hash, n_results, cache, took: began.elapsed(), ..Self::default() }
    }

    /// Writes the rows of many searches.
    pub(super) async fn write(records: &[(JobId, &Self)], tx: &mut Tx) -> Result<(), StoreError> {
        let each = || records.iter().map(|(_, record)| *record);
        let insert = statement(INSERT)
            .bind(records.iter().map(|(id, _)| id.0).collect::<Vec<Uuid>>())
            .bind(each().map(|record| record.namespace).collect::<Vec<_>>())
            .bind(each().map(|record| record.params.clone()).collect::<Vec<_>>())
            .bind(each().map(|record| record.params_hash.clone()).collect::<Vec<_>>())
            .bind(each().map(|record| record.user_id.clone()).collect::<Vec<_>>())
            .bind(each().map(|record| i32::try_from(record.n_results).unwrap_or(i32::MAX)).collect::<Vec<_>>())
            .bind(each().map(|record| record.cache).collect::<Vec<_>>())
            .bind(each().map(|record| milliseconds(record.took)).collect::<Vec<_>>());
        tx.execute(insert).await.map(drop)
    }
}

const INSERT: &str = "\
insert into search_results (job_id, namespace, params, params_hash, user_id, n_results, cache, took_ms) \
select * from unnest($1::uuid[], $2::text[], $3::jsonb[], $4::text[], $5::text[], $6::int[], $7::text[], $8::real[])";

/// Milliseconds with a fraction, as tables keep them.
pub(crate) fn milliseconds(took: Duration) -> f32 {
    took.as_secs_f32() * 1_000.0
}

/// How old a cached answer is, whole milliseconds.
pub(super) fn age_ms<T>(cached: &Cached<T>) -> u64 {
    u64::try_from(cached.age.as_millis()).unwrap_or(u64::MAX)
}
