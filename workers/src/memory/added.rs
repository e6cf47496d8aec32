//! What `memory.add` gives, and how its rows are written.
//!
//! Promise: the result says what the database did, not what was hoped; writing the same output again changes no more.

use std::{collections::HashMap, sync::Arc};

use engine::{
    handler::Output,
    job::JobId,
    store::{StoreError, Tx},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    plan::{Plan, Slot, merge},
    quota,
    write::{self, Written},
};

/// What became of each item, in the order of the items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemoriesAdded {
    /// One for each item of the job.
    pub items: Vec<ItemAdded>,
    /// The user's memories that had to go because there were too many, the least valuable first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evicted: Vec<Uuid>,
    /// What is to be written; kept until the transaction that writes it has committed.
    #[serde(skip)]
    plan: Arc<Plan>,
}

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ItemAdded {
    /// It is a new memory.
    Created {
        /// The memory.
        id: Uuid,
        /// The submitter's name for the item.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
    },
    /// The user has this text already; its metadata was added to that memory.
    Duplicate {
        /// The memory that was there.
        id: Uuid,
        /// The submitter's name for the item.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
    },
    /// It cannot be remembered.
    Rejected {
        /// Why, and what would do.
        reason: String,
        /// The submitter's name for the item.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
    },
}

impl MemoriesAdded {
    pub(super) fn planned(plan: Plan) -> Self {
        Self { items: Vec::new(), evicted: Vec::new(), plan: Arc::new(plan) }
    }

    /// Says what became of each item, now that it is written.
    fn complete(&mut self, written: &Written) {
        let user = self.plan.user_id.as_str();
        self.items = self.plan.slots.iter().filter_map(|slot| outcome(slot, user, written)).collect();
        self.evicted = Vec::new();
    }
}

/// An item is new if the row bears the id that the item brought: true again when the same is written twice.
fn outcome(slot: &Slot, user: &str, written: &Written) -> Option<ItemAdded> {
    Some(match slot {
        Slot::Rejected { client_id, reason } => {
            ItemAdded::Rejected { reason: reason.clone(), client_id: client_id.clone() }
        }
        Slot::Row(draft, _) => {
            let (id, client_id) = (*written.get(user)?.get(&draft.hash)?, draft.item.client_id.clone());
            if id == draft.id { ItemAdded::Created { id, client_id } } else { ItemAdded::Duplicate { id, client_id } }
        }
    })
}

impl Output for MemoriesAdded {
    const HAS_ROWS: bool = true;

    async fn write_rows(mut outputs: Vec<(JobId, &mut Self)>, tx: &mut Tx) -> Result<(), StoreError> {
        // The plans stay in the outputs: after an outage the same outputs are written again.
        let plans: Vec<Arc<Plan>> = outputs.iter().map(|(_, output)| Arc::clone(&output.plan)).collect();
        let Some(plan) = plans.first() else { return Ok(()) };
        let rows = merge(&plans);
        let mut users: Vec<&str> = rows.keys().map(|(user, _)| *user).collect();
        users.dedup();
        quota::lock(tx, &users).await?;
        let written = write::upsert(tx, plan, &rows).await?;
        let evicted = quota::enforce(tx, &users, plan.max_memories).await?;
        for (_, output) in &mut outputs {
            output.complete(&written);
        }
        report_evicted(&mut outputs, evicted);
        Ok(())
    }
}

/// Each eviction is reported once: by the last of its user's jobs, which tipped the scale.
fn report_evicted(outputs: &mut [(JobId, &mut MemoriesAdded)], mut evicted: HashMap<String, Vec<Uuid>>) {
    for (_, output) in outputs.iter_mut().rev() {
        output.evicted = evicted.remove(&output.plan.user_id).unwrap_or_default();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_item_says_what_became_of_it() {
        let id = Uuid::nil();
        let created = ItemAdded::Created { id, client_id: Some("c".into()) };
        assert_eq!(serde_json::to_value(created).unwrap(), json!({"outcome": "created", "id": id, "client_id": "c"}));
        let rejected = ItemAdded::Rejected { reason: "r".into(), client_id: None };
        assert_eq!(serde_json::to_value(rejected).unwrap(), json!({"outcome": "rejected", "reason": "r"}));
    }

    #[test]
    fn an_eviction_is_reported_once_by_the_users_last_job() {
        let planned = |user: &str| MemoriesAdded::planned(Plan { user_id: user.to_owned(), ..Plan::default() });
        let mut jobs = [planned("a"), planned("b"), planned("a")];
        let mut outputs: Vec<_> = jobs.iter_mut().map(|job| (JobId(Uuid::nil()), job)).collect();
        report_evicted(&mut outputs, HashMap::from([("a".to_owned(), vec![Uuid::max()])]));
        let n_evicted: Vec<usize> = jobs.iter().map(|job| job.evicted.len()).collect();
        assert_eq!(n_evicted, [0, 0, 1]);
    }
}
