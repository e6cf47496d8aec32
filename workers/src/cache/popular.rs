//! Which searches are asked most.

use engine::store::{Store, StoreError, statement};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::warm::WarmSearch;

/// What can be warmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// Searches for places.
    Places,
    /// Searches in memories.
    Memories,
}

/// The searches that were asked most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Popular {
    /// Only searches of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// How many at most.
    #[schemars(range(min = 1, max = 1000))]
    pub limit: u32,
    /// Asked within the last so many hours.
    #[schemars(range(min = 1, max = 720))]
    pub window_hours: u32,
}

impl Namespace {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Places => crate::search::places::NAMESPACE,
            Self::Memories => crate::search::memories::NAMESPACE,
        }
    }
}

/// The most popular searches, the most asked first. One that no longer reads as a search is left out.
pub(super) async fn popular(store: &Store, popular: &Popular) -> Result<Vec<WarmSearch>, StoreError> {
    let select = statement(SELECT)
        .bind(popular.namespace.map(Namespace::as_str))
        .bind(i32::try_from(popular.window_hours).unwrap_or(i32::MAX))
        .bind(i64::from(popular.limit));
    let mut searches = Vec::new();
    for row in store.fetch(select).await? {
        let (namespace, params): (String, serde_json::Value) = (row.get("namespace")?, row.get("params")?);
        let tagged = serde_json::json!({ namespace: params });
        searches.extend(serde_json::from_value::<WarmSearch>(tagged));
    }
    Ok(searches)
}

const SELECT: &str = "\
select namespace, (array_agg(params order by created_at desc))[1] as params from search_results \
where ($1::text is null or namespace = $1) and created_at > now() - make_interval(hours => $2) \
group by namespace, params_hash order by count(*) desc, max(created_at) desc, params_hash limit $3";
