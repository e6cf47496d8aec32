//! Deciding about a queue: paused, closed, limits.

use std::collections::BTreeMap;

use super::{Operator, OperatorError};
use crate::{broker::govern, job::QueueName, listener::Word, policy::Policy};

impl Operator {
    /// Every queue's policy, those that have one.
    ///
    /// # Errors
    /// When Postgres cannot be asked.
    pub async fn policies(&self) -> Result<BTreeMap<QueueName, Policy>, OperatorError> {
        Ok(self.store.policies().await?)
    }

    /// Stops the queue: nothing new starts, what runs goes on. At once where the word is heard, within two seconds
    /// where it is lost.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn pause(&self, queue: &QueueName) -> Result<Policy, OperatorError> {
        let now_ms = self.connection.now_ms().await?;
        let pause = |policy: &mut Policy| {
            policy.paused_since_ms = policy.paused_since_ms.filter(|_| policy.paused).or(Some(now_ms));
            policy.paused = true;
        };
        self.decide(queue, pause).await
    }

    /// Lets a queue that was paused or closed work again.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn resume(&self, queue: &QueueName) -> Result<Policy, OperatorError> {
        let resume = |policy: &mut Policy| {
            (policy.paused, policy.paused_since_ms, policy.closed) = (false, None, false);
        };
        self.decide(queue, resume).await
    }

    /// Changes what is decided about a queue and puts it in force; gives what is decided now.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn decide(
        &self,
        queue: &QueueName,
        change: impl FnOnce(&mut Policy) + Send,
    ) -> Result<Policy, OperatorError> {
        let policy = self.store.change_policy(queue, change).await?;
        let not_yet = |source| OperatorError::NotYet { queue: queue.clone(), source };
        govern(&self.connection, &self.keys, (queue, self.tags(queue)), &policy).await.map_err(not_yet)?;
        self.say(&Word::Policies).await.map_err(not_yet)?;
        Ok(policy)
    }
}
