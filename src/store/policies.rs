//! What operators decided about queues: the truth, which workers copy to Dragonfly.

use std::collections::BTreeMap;

use super::{connect::Store, error::StoreError, statement::statement};
use crate::{job::QueueName, policy::Policy};

impl Store {
    /// Every queue's policy, those that have one.
    ///
    /// # Errors
    /// When Postgres cannot be asked.
    pub async fn policies(&self) -> Result<BTreeMap<QueueName, Policy>, StoreError> {
        let rows = self.fetch(statement("select queue, policy from queue_policies")).await?;
        let mut policies = BTreeMap::new();
        for row in &rows {
            let (queue, policy) = (row.get::<&str>("queue")?, row.get::<serde_json::Value>("policy")?);
            match (queue.parse::<QueueName>(), serde_json::from_value(policy)) {
                (Ok(queue), Ok(policy)) => drop(policies.insert(queue, policy)),
                (_, Err(error)) => {
                    tracing::error!(%error, queue, "the queue's policy in queue_policies cannot be read; it is passed over")
                }
                (Err(error), _) => tracing::error!(%error, queue, "queue_policies names no queue; it is passed over"),
            }
        }
        Ok(policies)
    }

    /// Changes what is decided about a queue; gives what is decided now. Two who change it at once do so one after the other.
    ///
    /// # Errors
    /// When Postgres cannot be asked, or the row cannot be read.
    pub async fn change_policy(
        &self,
        queue: &QueueName,
        change: impl FnOnce(&mut Policy) + Send,
    ) -> Result<Policy, StoreError> {
        let mut tx = self.begin().await?;
        let make = statement("insert into queue_policies (queue, policy) values ($1, '{}') on conflict do nothing");
        tx.execute(make.bind(queue.to_string())).await?;
        let ask = statement("select policy from queue_policies where queue = $1 for update");
        let rows = tx.fetch(ask.bind(queue.to_string())).await?;
        let before = rows.first().map(|row| row.get::<serde_json::Value>("policy")).transpose()?;
        // What cannot be read was passed over until now: it is replaced.
        let mut policy = before.and_then(|json| serde_json::from_value(json).ok()).unwrap_or_default();
        change(&mut policy);
        let json = serde_json::to_value(&policy).expect("flags and numbers encode");
        let set = statement("update queue_policies set policy = $2, changed_at = now() where queue = $1");
        tx.execute(set.bind(queue.to_string()).bind(json)).await?;
        tx.commit().await?;
        Ok(policy)
    }

    /// Decides about a queue; what was decided before is replaced.
    ///
    /// # Errors
    /// When Postgres cannot be asked.
    pub async fn set_policy(&self, queue: &QueueName, policy: &Policy) -> Result<(), StoreError> {
        let json = serde_json::to_value(policy).expect("flags and numbers encode");
        let set = statement(
            "insert into queue_policies (queue, policy) values ($1, $2) \
             on conflict (queue) do update set policy = excluded.policy, changed_at = now()",
        );
        self.execute(set.bind(queue.to_string()).bind(json)).await.map(drop)
    }
}
