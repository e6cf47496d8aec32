//! How full queues with a budget are, for those who enqueue in SQL: Postgres cannot ask Dragonfly.

use super::{connect::Store, error::StoreError, statement::statement};
use crate::job::QueueName;

impl Store {
    /// Tells how many jobs a queue holds, and how many bytes they take.
    ///
    /// # Errors
    /// When Postgres cannot be asked.
    pub async fn set_level(&self, queue: &QueueName, n_jobs: u64, n_bytes: u64) -> Result<(), StoreError> {
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let set = statement(
            "insert into queue_levels (queue, n_jobs, n_bytes) values ($1, $2, $3) \
             on conflict (queue) do update set n_jobs = excluded.n_jobs, n_bytes = excluded.n_bytes, measured_at = now()",
        );
        self.execute(set.bind(queue.to_string()).bind(count(n_jobs)).bind(count(n_bytes))).await.map(drop)
    }
}
