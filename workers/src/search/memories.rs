//! `search.memories`: a user's memories found by meaning, answered from the cache for a short time.
//!
//! Promise: as `memory.search`, but an answer may be as old as the cache keeps it: what was added meanwhile is
//! found half a minute later. The user is part of the answer's name: nobody gets another's.

use std::time::{Duration, Instant};

use engine::{
    cache::{CacheName, Content, Outcome},
    handler::{Attempt, Job, Output},
    job::{JobId, QueueName},
    outcome::{JobError, OrElse},
    retry::RetryPolicy,
    store::{StoreError, Tx},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::record::{Reading, SearchRecord, age_ms};
use crate::{
    context::Context,
    failure,
    memory::{self, FoundMemory, MemoryOptions, MemoryQuery, SearchMemories},
    queues::SEARCH,
};

/// The namespace of memory searches in the cache.
pub const NAMESPACE: &str = "memories";

/// Finds memories by meaning; the answer may come from the cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent)]
pub struct RecallMemories(pub MemoryQuery);

/// The memories found, and where the answer came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemoriesRecalled {
    /// The memories, the best first.
    pub memories: Vec<FoundMemory>,
    /// Whether the cache gave the answer.
    pub cache: Outcome,
    /// How old the answer is.
    pub age_ms: u64,
    /// What is kept of the search.
    #[serde(skip)]
    pub record: SearchRecord,
}

impl Output for MemoriesRecalled {
    const HAS_ROWS: bool = true;

    async fn write_rows(outputs: Vec<(JobId, &mut Self)>, tx: &mut Tx) -> Result<(), StoreError> {
        let records: Vec<_> = outputs.iter().map(|(id, output)| (*id, &output.record)).collect();
        SearchRecord::write(&records, tx).await
    }
}

impl Job for RecallMemories {
    const KIND: &'static str = "search.memories";
    const QUEUE: QueueName = SEARCH;
    const TIMEOUT: Duration = Duration::from_secs(30);
    const RETRIES: &'static [(&'static str, RetryPolicy)] = failure::SOON;
    type Context = Context;
    type Output = MemoriesRecalled;

    fn validate(&self) -> Result<(), String> {
        SearchMemories(self.0.clone()).validate()
    }

    async fn run(self, attempt: &Attempt<Context>) -> Result<MemoriesRecalled, JobError> {
        let mut recalled = self.answer(attempt.context(), Reading::Serve).await?;
        recalled.record.user_id = self.0.user_id.clone().or_else(|| attempt.user_id.clone());
        Ok(recalled)
    }
}

impl RecallMemories {
    /// The answer, from the cache or from Postgres.
    pub(crate) async fn answer(&self, context: &Context, reading: Reading) -> Result<MemoriesRecalled, JobError> {
        let began = Instant::now();
        let Context { store, embedder, memory: options, cache, .. } = context;
        let name = self.name(options, embedder.model()).discard()?;
        let policy = Content::MemorySearches.policy();
        let (store, embedder, options, query) = (store.clone(), embedder.clone(), options.clone(), self.0.clone());
        let load = || async move { memory::search(&store, &embedder, &options, &query).await };
        let cached = match reading {
            Reading::Serve => Box::pin(cache.get_or_load(&name, policy, load)).await?,
            Reading::Warm => Box::pin(cache.get_or_reload(&name, policy, load)).await?,
        };
        let record = SearchRecord::new(&name, &cached, cached.value.memories.len(), began);
        let record = SearchRecord { params: serde_json::to_value(self).discard()?, ..record };
        Ok(MemoriesRecalled { cache: cached.outcome, age_ms: age_ms(&cached), memories: cached.value.memories, record })
    }

    /// The name of the answer: the query with the settings' defaults filled in, and the model.
    pub(crate) fn name(&self, options: &MemoryOptions, model: &str) -> Result<CacheName, engine::cache::NameError> {
        let mut query = self.0.clone();
        query.top_k.get_or_insert(options.max_search_results);
        query.threshold.get_or_insert(options.similarity_threshold);
        CacheName::new(NAMESPACE, "memory", "search", &json!({"query": query, "model": model}))
    }
}
