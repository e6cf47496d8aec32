//! What Postgres and Dragonfly say of the run when it is over: counted, never assumed.
//!
//! *Lost* is an accepted job with neither a committed result nor a dead letter. *Duplicated* is every effect
//! beyond the one that a job may have: a second result row of an id, a second and different completion as
//! done, a memory stored twice, written again or noted as created again. A completion that is published
//! again, saying the same, is no effect; it is counted apart.

use engine::{
    broker::sampling,
    job::JobId,
    store::{StoreError, statement},
};

use super::stage::Stage;

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Audit {
    /// Rows of results of this run's jobs.
    pub(super) n_results: u64,
    /// Different jobs among them.
    pub(super) n_result_ids: u64,
    /// Jobs whose result came of a later attempt than the first.
    pub(super) n_retried_results: u64,
    /// Dead letters that nobody has put back.
    pub(super) n_dead: u64,
    /// Jobs with neither.
    pub(super) n_lost: u64,
    /// Rows of memories of this run's users.
    pub(super) n_memories: u64,
    /// Of those, written more than once.
    pub(super) n_rewritten: u64,
    /// Memories that the results of jobs say were created.
    pub(super) n_reported: u64,
    /// Creations that the history notes.
    pub(super) n_created: u64,
    /// Jobs that still stand in a stream, waiting or in somebody's hands.
    pub(super) n_unsettled: u64,
}

const RESULTS: &str = "\
select count(*) as n_rows, count(distinct id) as n_ids, count(*) filter (where attempt > 1) as n_retried, \
coalesce(sum((select count(*) from jsonb_array_elements(case when kind = 'memory.add' then result->'items' else '[]' end) as item \
where item->>'outcome' = 'created')), 0)::bigint as n_reported \
from job_results where id = any($1)";

const DEAD: &str = "select count(*) as n from dead_jobs where id = any($1) and redriven_at is null";

const LOST: &str = "\
select count(*) as n from unnest($1::uuid[]) as accepted (id) \
where not exists (select 1 from job_results where job_results.id = accepted.id) \
and not exists (select 1 from dead_jobs where dead_jobs.id = accepted.id and redriven_at is null)";

const MEMORIES: &str = "\
select count(*) as n_rows, count(*) filter (where updated_at > created_at) as n_rewritten \
from memories where user_id = any($1)";

const CREATED: &str = "select count(*) as n from memory_history where user_id = any($1) and event = 'created'";

impl Audit {
    /// Counts what became of these jobs.
    ///
    /// # Errors
    /// When a server cannot be asked.
    pub(super) async fn take(stage: &Stage<'_>, ids: &[JobId]) -> anyhow::Result<Self> {
        let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
        let users = stage.cast.users();
        let results = stage.store.fetch(statement(RESULTS).bind(ids.clone())).await?;
        let memories = stage.store.fetch(statement(MEMORIES).bind(users.clone())).await?;
        let dead = stage.store.fetch(statement(DEAD).bind(ids.clone())).await?;
        let lost = stage.store.fetch(statement(LOST).bind(ids)).await?;
        let created = stage.store.fetch(statement(CREATED).bind(users)).await?;
        Ok(Self {
            n_results: number(&results, "n_rows")?,
            n_result_ids: number(&results, "n_ids")?,
            n_retried_results: number(&results, "n_retried")?,
            n_reported: number(&results, "n_reported")?,
            n_dead: number(&dead, "n")?,
            n_lost: number(&lost, "n")?,
            n_memories: number(&memories, "n_rows")?,
            n_rewritten: number(&memories, "n_rewritten")?,
            n_created: number(&created, "n")?,
            n_unsettled: unsettled(stage).await?,
        })
    }

    /// Effects beyond one a job, where `n_expected` memories are expected and so many jobs contradicted themselves.
    pub(super) fn n_duplicated(&self, n_expected: u64, n_contradicting: u64) -> u64 {
        let results = self.n_results - self.n_result_ids;
        let memories = self.n_memories.saturating_sub(n_expected) + self.n_rewritten;
        results + memories + self.n_created.saturating_sub(self.n_memories) + n_contradicting
    }
}

fn number(rows: &[engine::store::Row], column: &'static str) -> Result<u64, StoreError> {
    let number = rows.first().map(|row| row.get::<i64>(column)).transpose()?;
    Ok(number.and_then(|number| u64::try_from(number).ok()).unwrap_or_default())
}

async fn unsettled(stage: &Stage<'_>) -> anyhow::Result<u64> {
    let mut n_jobs = 0;
    for tag in stage.queues().await?.values().flatten() {
        let keys = stage.client.options().keys.partition(tag);
        n_jobs += sampling::depths(stage.client.connection(), &keys).await?.unsettled();
    }
    Ok(n_jobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_effect_beyond_the_first_counts_and_a_missing_memory_does_not_hide_one() {
        let good = Audit { n_results: 9, n_result_ids: 9, n_memories: 5, n_created: 5, ..Audit::default() };
        assert_eq!(good.n_duplicated(5, 0), 0);
        assert_eq!(Audit { n_results: 10, ..good }.n_duplicated(5, 0), 1);
        assert_eq!(Audit { n_memories: 6, n_created: 6, ..good }.n_duplicated(5, 0), 1);
        assert_eq!(Audit { n_rewritten: 2, ..good }.n_duplicated(5, 0), 2);
        assert_eq!(Audit { n_created: 6, ..good }.n_duplicated(5, 1), 2);
        assert_eq!(Audit { n_memories: 4, n_created: 5, ..good }.n_duplicated(5, 0), 1);
    }
}
