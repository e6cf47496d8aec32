//! Which queue each kind of job waits in, for those who enqueue in SQL.

use super::{connect::Store, error::StoreError, statement::statement};
use crate::job::{Kind, QueueName};

const UPSERT: &str = "\
insert into job_kinds (kind, queue, max_payload_bytes) select n.kind, n.queue, $3 from unnest($1::text[], $2::text[]) as n (kind, queue) \
on conflict (kind) do update set queue = excluded.queue, max_payload_bytes = excluded.max_payload_bytes, changed_at = now() \
where (job_kinds.queue, job_kinds.max_payload_bytes) is distinct from (excluded.queue, excluded.max_payload_bytes)";

impl Store {
    /// Makes these kinds known; kinds that only other workers have stay known.
    ///
    /// # Errors
    /// What Postgres refused, or that it could not be asked.
    pub async fn know_kinds(&self, kinds: &[(Kind, QueueName)], max_payload_bytes: usize) -> Result<(), StoreError> {
        let upsert = statement(UPSERT)
            .bind(kinds.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>())
            .bind(kinds.iter().map(|(_, queue)| queue.as_str()).collect::<Vec<_>>())
            .bind(i32::try_from(max_payload_bytes).unwrap_or(i32::MAX));
        self.execute(upsert).await.map(drop)
    }
}
