//! `cache.warm`: makes the answers of named and of popular searches before anybody asks.
//!
//! Promise: goes the same way as a user's search, so that the user finds what was warmed; an answer past its
//! soft expiry is made anew; equal searches are made once. A search that fails is reported and stops no other.
//! Never runs more than a few searches at once: users come first.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use engine::{
    cache::Outcome,
    handler::{Attempt, Job},
    job::QueueName,
    outcome::{JobError, OrElse},
    retry::RetryPolicy,
};
use futures::{StreamExt, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    popular::{Popular, popular},
    report::{WarmOutcome, Warmed, WarmedSearch},
};
use crate::{
    context::Context,
    failure::{self, store_failed},
    queues::CACHE,
    search::{Reading, RecallMemories, SearchPlaces},
};

/// Searches at once.
const CONCURRENCY: usize = 4;

/// The most searches that one job may name.
const MAX_SEARCHES: usize = 1_000;

/// The most that popularity may be asked for.
const MAX_POPULAR: u32 = 1_000;

/// Longer ago is not popular.
const MAX_WINDOW_HOURS: u32 = 720;

/// Warms the cache.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WarmCache {
    /// These searches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub searches: Vec<WarmSearch>,
    /// And those that were asked most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub popular: Option<Popular>,
}

/// A search to warm: the payload of its own job under its namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WarmSearch {
    /// As in `search.places`.
    Places(SearchPlaces),
    /// As in `search.memories`.
    Memories(RecallMemories),
}

impl Job for WarmCache {
    const KIND: &'static str = "cache.warm";
    const QUEUE: QueueName = CACHE;
    const TIMEOUT: Duration = Duration::from_secs(600);
    const RETRIES: &'static [(&'static str, RetryPolicy)] = failure::PATIENT;
    type Context = Context;
    type Output = Warmed;

    fn validate(&self) -> Result<(), String> {
        if self.searches.is_empty() && self.popular.is_none() {
            return Err("neither searches nor popular is given: expected at least one of them".to_owned());
        }
        if self.searches.len() > MAX_SEARCHES {
            return Err(format!("searches has {} entries: expected at most {MAX_SEARCHES}", self.searches.len()));
        }
        for (at, search) in self.searches.iter().enumerate() {
            search.validate().map_err(|problem| format!("searches[{at}]: {problem}"))?;
        }
        self.popular.as_ref().map_or(Ok(()), check_popular)
    }

    async fn run(self, attempt: &Attempt<Context>) -> Result<Warmed, JobError> {
        let (began, context) = (Instant::now(), attempt.context());
        if !context.cache.is_on() {
            return Err(JobError::discard("the cache is switched off: there is nothing to warm").class("cache_off"));
        }
        let requested = self.searches.len();
        let mut searches = self.searches;
        if let Some(asked) = &self.popular {
            searches.extend(popular(&context.store, asked).await.map_err(|error| store_failed(&error))?);
        }
        let n_popular = searches.len() - requested;
        let searches = named(searches, context)?;
        let warmed = stream::iter(searches).map(|(name, search)| warm(name, search, context));
        let details = warmed.buffered(CONCURRENCY).collect().await;
        Ok(Warmed::of(requested, n_popular, details, began.elapsed()))
    }
}

fn check_popular(popular: &Popular) -> Result<(), String> {
    if !(1..=MAX_POPULAR).contains(&popular.limit) {
        return Err(format!("popular.limit is {}: expected 1 to {MAX_POPULAR}", popular.limit));
    }
    if !(1..=MAX_WINDOW_HOURS).contains(&popular.window_hours) {
        return Err(format!("popular.window_hours is {}: expected 1 to {MAX_WINDOW_HOURS}", popular.window_hours));
    }
    Ok(())
}

/// Every search with the name of its answer, equal ones once.
fn named(searches: Vec<WarmSearch>, context: &Context) -> Result<Vec<(String, WarmSearch)>, JobError> {
    let mut seen = HashSet::new();
    let mut named = Vec::with_capacity(searches.len());
    for search in searches {
        let name = search.name(context)?;
        if seen.insert(name.clone()) {
            named.push((name, search));
        }
    }
    Ok(named)
}

async fn warm(name: String, search: WarmSearch, context: &Context) -> WarmedSearch {
    let answered = search.answer(context).await;
    let outcome = match &answered {
        Ok(Outcome::Hit) => WarmOutcome::AlreadyFresh,
        Ok(_) => WarmOutcome::Warmed,
        Err(_) => WarmOutcome::Failed,
    };
    WarmedSearch { name, outcome, error: answered.err().map(|error| format!("{error:?}")) }
}

impl WarmSearch {
    fn validate(&self) -> Result<(), String> {
        match self {
            Self::Places(search) => search.validate(),
            Self::Memories(search) => search.validate(),
        }
    }

    fn name(&self, context: &Context) -> Result<String, JobError> {
        let model = context.embedder.model();
        let name = match self {
            Self::Places(search) => search.name(model),
            Self::Memories(search) => search.name(&context.memory, model),
        };
        Ok(name.discard()?.to_string())
    }

    async fn answer(&self, context: &Context) -> Result<Outcome, JobError> {
        match self {
            Self::Places(search) => search.answer(context, Reading::Warm).await.map(|found| found.cache),
            Self::Memories(search) => search.answer(context, Reading::Warm).await.map(|found| found.cache),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem(json: serde_json::Value) -> Option<String> {
        serde_json::from_value::<WarmCache>(json).unwrap().validate().err()
    }

    #[test]
    fn a_run_names_searches_or_asks_for_popular_ones() {
        assert_eq!(problem(json!({"searches": [{"places": {"query": "lisbon"}}]})), None);
        assert_eq!(problem(json!({"searches": [{"memories": {"query": "tea", "user_id": "ann"}}]})), None);
        assert_eq!(problem(json!({"popular": {"limit": 10, "window_hours": 24}})), None);
        assert!(problem(json!({})).unwrap().contains("at least one"));
        assert!(problem(json!({"popular": {"limit": 0, "window_hours": 24}})).unwrap().starts_with("popular.limit"));
        assert!(problem(json!({"popular": {"limit": 1, "window_hours": 0}})).unwrap().starts_with("popular.window"));
    }

    #[test]
    fn a_search_that_makes_no_sense_is_named() {
        let searches = json!({"searches": [{"places": {"query": "a"}}, {"places": {"query": "?"}}]});
        assert!(problem(searches).unwrap().starts_with("searches[1]: query"));
    }
}
