//! What a warming run did: its result, and its row in `cache_warm_runs`.

use std::time::Duration;

use engine::{
    handler::Output,
    job::JobId,
    store::{StoreError, Tx, statement},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of one search of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WarmOutcome {
    /// Its answer was made anew.
    Warmed,
    /// Its answer was there, before its soft expiry.
    AlreadyFresh,
    /// It could not be answered.
    Failed,
}

/// One search of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WarmedSearch {
    /// The name of its answer in the cache.
    pub name: String,
    /// What became of it.
    pub outcome: WarmOutcome,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a warming run did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Warmed {
    /// Searches named in the job.
    pub requested: u32,
    /// Searches taken because they are popular.
    pub popular: u32,
    /// Answers made anew.
    pub warmed: u32,
    /// Answers that were fresh already.
    pub already_fresh: u32,
    /// Searches that could not be answered.
    pub failed: u32,
    /// From the start of the run to its end, milliseconds.
    pub took_ms: f32,
    /// Each search, named and popular ones together; equal ones once.
    pub details: Vec<WarmedSearch>,
}

impl Warmed {
    /// The report of a run over these searches.
    pub(super) fn of(requested: usize, popular: usize, details: Vec<WarmedSearch>, took: Duration) -> Self {
        let n = |outcome: WarmOutcome| count(details.iter().filter(|search| search.outcome == outcome).count());
        Self {
            requested: count(requested),
            popular: count(popular),
            warmed: n(WarmOutcome::Warmed),
            already_fresh: n(WarmOutcome::AlreadyFresh),
            failed: n(WarmOutcome::Failed),
            took_ms: crate::search::milliseconds(took),
            details,
        }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Output for Warmed {
    const HAS_ROWS: bool = true;

    async fn write_rows(outputs: Vec<(JobId, &mut Self)>, tx: &mut Tx) -> Result<(), StoreError> {
        let each = |of: fn(&Self) -> u32| {
            outputs.iter().map(|(_, run)| i32::try_from(of(run)).unwrap_or(i32::MAX)).collect::<Vec<_>>()
        };
        let details = outputs.iter().map(|(_, run)| serde_json::to_value(&run.details).unwrap_or_default());
        let insert = statement(INSERT)
            .bind(outputs.iter().map(|(id, _)| id.0).collect::<Vec<_>>())
            .bind(each(|run| run.requested))
            .bind(each(|run| run.popular))
            .bind(each(|run| run.warmed))
            .bind(each(|run| run.already_fresh))
            .bind(each(|run| run.failed))
            .bind(outputs.iter().map(|(_, run)| run.took_ms).collect::<Vec<_>>())
            .bind(details.collect::<Vec<_>>());
        tx.execute(insert).await.map(drop)
    }
}

const INSERT: &str = "\
insert into cache_warm_runs (id, requested, popular, warmed, already_fresh, failed, took_ms, details) \
select * from unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::int[], $6::int[], $7::real[], $8::jsonb[])";
