//! `search.places`: real places found by code, by name and by meaning.
//!
//! Promise: a code or a whole name always wins over everything else. Searching by meaning needs the table
//! `places`, loaded for the model in use: without it `auto` goes on with names alone, and `meaning` says so, or comes
//! again while this worker is loading it.

mod column;
mod find;
mod load;
mod loader;
mod nearest;
mod state;

use std::time::{Duration, Instant};

use engine::{
    cache::{CacheName, Content, NameError, Outcome},
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
    places::{FoundPlace, PlaceKind},
    queues::SEARCH,
};

pub use self::{
    load::{LoadError, Loaded, load, load_some},
    loader::PlacesLoader,
    state::{PlacesState, Progress},
};

/// The namespace of place searches in the cache.
pub const NAMESPACE: &str = "places";

const MAX_QUERY_BYTES: usize = 512;
const MAX_LIMIT: u32 = 50;

/// Finds places by code, name or meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchPlaces {
    /// A code, a name, or what the place is like: "CDG", "paris texas", "capital with fjords"; at most 512 bytes.
    #[schemars(length(min = 1, max = 512))]
    pub query: String,
    /// Only places of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<PlaceKind>,
    /// Only places in the country with this ISO 3166-1 code, two letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[A-Za-z]{2}$"))]
    pub country: Option<String>,
    /// How many at most.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 50))]
    pub limit: u32,
    /// How to search.
    #[serde(default)]
    pub by: FindBy,
}

/// How places are searched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FindBy {
    /// By code and name; by meaning too where neither fits wholly.
    #[default]
    Auto,
    /// By code and name alone.
    Name,
    /// By meaning alone.
    Meaning,
}

/// The places found, and where the answer came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlacesFound {
    /// The places, the best first.
    pub places: Vec<FoundPlace>,
    /// Whether the cache gave the answer.
    pub cache: Outcome,
    /// How old the answer is.
    pub age_ms: u64,
    /// What is kept of the search.
    #[serde(skip)]
    pub record: SearchRecord,
}

impl Output for PlacesFound {
    const HAS_ROWS: bool = true;

    async fn write_rows(outputs: Vec<(JobId, &mut Self)>, tx: &mut Tx) -> Result<(), StoreError> {
        let records: Vec<_> = outputs.iter().map(|(id, output)| (*id, &output.record)).collect();
        SearchRecord::write(&records, tx).await
    }
}

/// A kind as the table says it.
fn word(kind: PlaceKind) -> &'static str {
    match kind {
        PlaceKind::City => "city",
        PlaceKind::Airport => "airport",
    }
}

fn default_limit() -> u32 {
    10
}

impl Job for SearchPlaces {
    const KIND: &'static str = "search.places";
    const QUEUE: QueueName = SEARCH;
    const TIMEOUT: Duration = Duration::from_secs(30);
    const RETRIES: &'static [(&'static str, RetryPolicy)] = failure::SOON;
    type Context = Context;
    type Output = PlacesFound;

    fn validate(&self) -> Result<(), String> {
        let size_bytes = self.query.len();
        if size_bytes > MAX_QUERY_BYTES || !self.query.chars().any(char::is_alphanumeric) || self.query.contains('\0') {
            return Err(format!(
                "query has {size_bytes} bytes: expected 1 to {MAX_QUERY_BYTES}, at least one letter or digit, no zero byte"
            ));
        }
        if !(1..=MAX_LIMIT).contains(&self.limit) {
            return Err(format!("limit is {}: expected 1 to {MAX_LIMIT}", self.limit));
        }
        let two_letters = |code: &String| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic());
        match self.country.as_ref().filter(|code| !two_letters(code)) {
            Some(_) => Err("country is no ISO 3166-1 code: expected two letters such as FR".to_owned()),
            None => Ok(()),
        }
    }

    async fn run(self, attempt: &Attempt<Context>) -> Result<PlacesFound, JobError> {
        let mut found = self.answer(attempt.context(), Reading::Serve).await?;
        found.record.user_id = attempt.user_id.clone();
        Ok(found)
    }
}

impl SearchPlaces {
    /// A search for `query` with no more said.
    pub fn new(query: impl Into<String>) -> Self {
        Self { query: query.into(), kind: None, country: None, limit: default_limit(), by: FindBy::Auto }
    }

    /// The answer, from the cache or searched for.
    pub(crate) async fn answer(&self, context: &Context, reading: Reading) -> Result<PlacesFound, JobError> {
        let began = Instant::now();
        let Context { store, embedder, cache, places, .. } = context;
        let name = self.name(embedder.model()).discard()?;
        let policy = Content::SearchResults.policy();
        let (store, embedder, places, search) = (store.clone(), embedder.clone(), places.clone(), self.clone());
        let load = || async move { find::find(&store, &embedder, &places, &search).await };
        let cached = match reading {
            Reading::Serve => Box::pin(cache.get_or_load(&name, policy, load)).await?,
            Reading::Warm => Box::pin(cache.get_or_reload(&name, policy, load)).await?,
        };
        let record = SearchRecord::new(&name, &cached, cached.value.len(), began);
        let record = SearchRecord { params: serde_json::to_value(self).discard()?, ..record };
        Ok(PlacesFound { cache: cached.outcome, age_ms: age_ms(&cached), places: cached.value, record })
    }

    /// The name of the answer. The model counts only where it has a say. Capitals count: "UFA" is a code first.
    pub(crate) fn name(&self, model: &str) -> Result<CacheName, NameError> {
        let Self { query, kind, country, limit, by } = self;
        let query = query.split_whitespace().collect::<Vec<_>>().join(" ");
        let country = country.as_ref().map(|code| code.to_ascii_uppercase());
        let model = (*by != FindBy::Name).then_some(model);
        let params =
            json!({"query": query, "kind": kind, "country": country, "limit": limit, "by": by, "model": model});
        CacheName::new(NAMESPACE, "place", "search", &params)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn read(json: serde_json::Value) -> SearchPlaces {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn equal_searches_share_a_name() {
        let name = |json| read(json).name("m").unwrap();
        let one = name(json!({"query": " new  york", "country": "us"}));
        assert_eq!(one, name(json!({"query": "new york", "country": "US", "limit": 10, "by": "auto"})));
        for other in [
            json!({"query": "New York", "country": "US"}),
            json!({"query": "new york"}),
            json!({"query": "new york", "country": "US", "limit": 9}),
            json!({"query": "new york", "country": "US", "by": "name"}),
            json!({"query": "new york", "country": "US", "kind": "city"}),
        ] {
            assert_ne!(one, name(other));
        }
    }

    #[test]
    fn the_model_counts_where_meaning_does() {
        let differ = |search: &SearchPlaces| search.name("a").unwrap() != search.name("b").unwrap();
        assert!(differ(&read(json!({"query": "x"}))) && differ(&read(json!({"query": "x", "by": "meaning"}))));
        assert!(!differ(&read(json!({"query": "x", "by": "name"}))));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        assert_eq!(SearchPlaces::new("Åre").validate(), Ok(()));
        for (json, field) in [
            (json!({"query": " ?"}), "query"),
            (json!({"query": "x".repeat(513)}), "query"),
            (json!({"query": "a\u{0}"}), "query"),
            (json!({"query": "a", "limit": 0}), "limit"),
            (json!({"query": "a", "limit": 51}), "limit"),
            (json!({"query": "a", "country": "FRA"}), "country"),
            (json!({"query": "a", "country": "É"}), "country"),
        ] {
            let problem = read(json).validate().unwrap_err();
            assert!(problem.starts_with(field), "{problem}");
        }
    }
}
