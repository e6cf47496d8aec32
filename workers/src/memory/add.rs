//! `memory.add`: remembers texts of a user. Many items a job, many jobs a batch.
//!
//! Promise: each text is stored once a user, whatever is delivered twice; a text that is stored already is not
//! embedded again; a text that cannot be embedded is rejected alone.
//! Never writes here: the rows go in with the job's result, in one transaction.

use std::{sync::Arc, time::Duration};

use engine::{
    handler::{Attempt, BatchJob},
    job::QueueName,
    outcome::JobError,
    retry::RetryPolicy,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    added::MemoriesAdded,
    item::NewMemory,
    known,
    limits::{MAX_ITEMS, check_id},
    plan::{self, Drafts, Plan, Vectors},
};
use crate::{
    context::Context,
    embedders::{EmbedError, Embedder},
    failure::{self, embedder_failed, store_failed},
    queues::MEMORY,
};

/// Remembers texts of a user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddMemories {
    /// Whose memories.
    #[schemars(length(min = 1, max = 255))]
    pub user_id: String,
    /// What to remember, 1 to 1,000 texts.
    #[schemars(length(min = 1, max = 1_000))]
    pub items: Vec<NewMemory>,
}

impl BatchJob for AddMemories {
    const KIND: &'static str = "memory.add";
    const QUEUE: QueueName = MEMORY;
    const TIMEOUT: Duration = Duration::from_secs(120);
    const RETRIES: &'static [(&'static str, RetryPolicy)] = failure::PATIENT;
    const MAX_BATCH: usize = 32;
    const LINGER: Duration = Duration::from_millis(10);
    type Context = Context;
    type Output = MemoriesAdded;

    fn validate(&self) -> Result<(), String> {
        check_id("user_id", &self.user_id)?;
        if !(1..=MAX_ITEMS).contains(&self.items.len()) {
            return Err(format!("items has {} entries: expected 1 to {MAX_ITEMS}", self.items.len()));
        }
        let mut items = self.items.iter().enumerate();
        items.try_for_each(|(place, item)| item.validate().map_err(|problem| format!("items[{place}].{problem}")))
    }

    async fn run_batch(batch: Vec<(Self, Attempt<Context>)>) -> Vec<Result<MemoriesAdded, JobError>> {
        let (jobs, attempts): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        match attempts.first() {
            Some(attempt) => Self::prepare(jobs, attempt.context()).await,
            None => Vec::new(),
        }
    }
}

impl AddMemories {
    /// Everything but the writing: as many outcomes as jobs, in their order.
    pub async fn prepare(jobs: Vec<Self>, context: &Context) -> Vec<Result<MemoriesAdded, JobError>> {
        let jobs: Vec<Drafts> = jobs.into_iter().map(plan::draft).collect();
        let mut vectors = match known::vectors(&context.store, context.embedder.model(), &jobs).await {
            Ok(vectors) => vectors,
            Err(error) => return jobs.iter().map(|_| Err(store_failed(&error))).collect(),
        };
        let failed = embed_missing(&context.embedder, &jobs, &mut vectors).await.err();
        let model: Arc<str> = context.embedder.model().into();
        let outcome = |job: Drafts| match (plan::slots(job.drafts, &vectors), &failed) {
            (Some(slots), _) => Ok(MemoriesAdded::planned(Plan {
                user_id: job.user_id,
                model: Arc::clone(&model),
                dimensions: context.memory.dimensions,
                max_memories: context.memory.max_memories_per_user,
                slots,
            })),
            (None, Some(error)) => Err(embedder_failed(error)),
            (None, None) => Err(JobError::retry("the embedder gave fewer vectors than it got texts").class("embedder")),
        };
        jobs.into_iter().map(outcome).collect()
    }
}

/// Adds the vectors that are missing; on failure those that were known remain.
async fn embed_missing(embedder: &Embedder, jobs: &[Drafts], vectors: &mut Vectors) -> Result<(), EmbedError> {
    let (hashes, texts) = plan::to_embed(jobs, vectors);
    if texts.is_empty() {
        return Ok(());
    }
    let embedded = embedder.embed(&texts).await?;
    let outcomes = embedded.vectors.into_iter().map(|vector| match vector {
        Ok(vector) => Ok(vector.into()),
        Err(error) => Err(format!("failed to {error}")),
    });
    vectors.extend(hashes.into_iter().zip(outcomes));
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn job(user_id: &str, n_items: usize) -> AddMemories {
        let item = NewMemory { text: "likes trains".to_owned(), ..NewMemory::default() };
        AddMemories { user_id: user_id.to_owned(), items: vec![item; n_items] }
    }

    #[test]
    fn a_job_names_a_user_and_brings_one_to_a_thousand_items() {
        assert_eq!(job("u", 1).validate(), Ok(()));
        assert_eq!(job("u", MAX_ITEMS).validate(), Ok(()));
        assert!(job("u", 0).validate().unwrap_err().starts_with("items has 0"));
        assert!(job("u", MAX_ITEMS + 1).validate().unwrap_err().contains("expected 1 to 1000"));
        assert!(job("", 1).validate().unwrap_err().starts_with("user_id"));
        assert!(job("a\u{0}", 1).validate().unwrap_err().starts_with("user_id"));
    }

    #[test]
    fn a_bad_item_is_named_by_its_place() {
        let mut job = job("u", 3);
        job.items[2].importance = Some(f32::NAN);
        assert!(job.validate().unwrap_err().starts_with("items[2].importance"));
    }
}
