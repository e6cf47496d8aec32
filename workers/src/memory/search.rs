//! `memory.search`: finds memories by meaning.
//!
//! Promise: see [`MemoriesFound`]; an unknown filter finds nothing rather than everything.

use std::time::Duration;

use engine::{
    handler::{Attempt, Job},
    job::QueueName,
    outcome::JobError,
    retry::RetryPolicy,
    store::{Store, StoreError},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    found::{FoundMemory, MemoriesFound},
    nearest::{Nearest, nearest},
    options::MemoryOptions,
    query::MemoryQuery,
};
use crate::{
    context::Context,
    embedders::{Embedder, normalize},
    failure::{self, embedder_failed, store_failed},
    queues::MEMORY,
};

/// Finds memories by meaning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent)]
pub struct SearchMemories(pub MemoryQuery);

impl Job for SearchMemories {
    const KIND: &'static str = "memory.search";
    const QUEUE: QueueName = MEMORY;
    const TIMEOUT: Duration = Duration::from_secs(30);
    const RETRIES: &'static [(&'static str, RetryPolicy)] = failure::SOON;
    type Context = Context;
    type Output = MemoriesFound;

    fn validate(&self) -> Result<(), String> {
        self.0.validate()
    }

    async fn run(self, attempt: &Attempt<Context>) -> Result<MemoriesFound, JobError> {
        let Context { store, embedder, memory, .. } = attempt.context();
        search(store, embedder, memory, &self.0).await
    }
}

/// Finds the memories nearest to a query's words.
///
/// # Errors
/// Discards a query that makes no sense or that the model cannot embed; the rest may work later.
pub async fn search(
    store: &Store,
    embedder: &Embedder,
    options: &MemoryOptions,
    query: &MemoryQuery,
) -> Result<MemoriesFound, JobError> {
    query.validate().map_err(|problem| JobError::discard(problem).class("invalid"))?;
    let vector = embed(embedder, &query.query).await?;
    let top_k = query.top_k.unwrap_or(options.max_search_results);
    let rows = nearest(store, Nearest { query, vector, model: embedder.model(), top_k }).await;
    let rows = rows.map_err(|error| store_failed(&error))?;
    let memories: Result<Vec<FoundMemory>, StoreError> = rows.iter().map(FoundMemory::read).collect();
    Ok(MemoriesFound::ranked(memories?, query.threshold.unwrap_or(options.similarity_threshold)))
}

async fn embed(embedder: &Embedder, text: &str) -> Result<Vec<f32>, JobError> {
    let embedded = embedder.embed(&[normalize(text)]).await.map_err(|error| embedder_failed(&error))?;
    match embedded.vectors.into_iter().next() {
        Some(vector) => vector.map_err(|error| JobError::discard(error).class("input")),
        None => Err(JobError::retry("the embedder gave no vector").class("embedder")),
    }
}
