//! What is asked of the memories.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::limits::{MAX_METADATA_BYTES, MAX_TEXT_BYTES, MAX_TOP_K, check_id, has_nul};
use crate::embedders::normalize;

/// What is asked of the memories.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryQuery {
    /// Whose memories; without it, everybody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// What they should be about, in words, at most 32 KiB.
    #[schemars(length(min = 1, max = 32_768))]
    pub query: String,
    /// How many at most; the settings' number where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub top_k: Option<u32>,
    /// The lowest score, 0 to 1; the settings' where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub threshold: Option<f64>,
    /// Metadata that they must have: each of these keys with exactly this text, number or truth value.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub filter: Map<String, Value>,
    /// The conversation or trip that they must come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
}

impl MemoryQuery {
    /// Checks what the schema cannot say, or says in other units.
    pub(super) fn validate(&self) -> Result<(), String> {
        for (field, id) in [("user_id", &self.user_id), ("run_id", &self.run_id)] {
            id.as_deref().map_or(Ok(()), |id| check_id(field, id))?;
        }
        if self.query.len() > MAX_TEXT_BYTES || normalize(&self.query).is_empty() {
            return Err(format!(
                "query has {} bytes: expected 1 to {MAX_TEXT_BYTES}, at least one word",
                self.query.len()
            ));
        }
        if self.top_k.is_some_and(|top_k| !(1..=MAX_TOP_K).contains(&top_k)) {
            return Err(format!("top_k is out of range: expected 1 to {MAX_TOP_K}"));
        }
        if self.threshold.is_some_and(|threshold| !(0.0..=1.0).contains(&threshold)) {
            return Err("threshold is out of range: expected 0 to 1".to_owned());
        }
        check_filter(&self.filter)
    }
}

fn check_filter(filter: &Map<String, Value>) -> Result<(), String> {
    for (key, value) in filter {
        // Inside arrays and objects Postgres compares by containment, which is not equality.
        if value.is_array() || value.is_object() {
            return Err(format!("filter.{key} is a list or an object: expected a text, a number, true, false or null"));
        }
        if key.contains('\0') || has_nul(value) {
            return Err("filter holds a zero byte, which no metadata has: remove it".to_owned());
        }
    }
    let size_bytes = serde_json::to_string(filter).map_or(usize::MAX, |json| json.len());
    if size_bytes > MAX_METADATA_BYTES {
        return Err(format!("filter has {size_bytes} bytes as JSON: expected at most {MAX_METADATA_BYTES}"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    fn query(value: Value) -> Result<(), String> {
        serde_json::from_value::<MemoryQuery>(value).unwrap().validate()
    }

    #[test]
    fn a_query_needs_words_alone() {
        assert_eq!(query(json!({"query": "trains"})), Ok(()));
        assert_eq!(
            query(json!({"query": "trains", "user_id": "u", "top_k": 50, "threshold": 1.0, "filter": {"a": null}})),
            Ok(())
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let refused = [
            (json!({"query": " \n"}), "query"),
            (json!({"query": "x".repeat(MAX_TEXT_BYTES + 1)}), "query"),
            (json!({"query": "x", "user_id": ""}), "user_id"),
            (json!({"query": "x", "run_id": ""}), "run_id"),
            (json!({"query": "x", "top_k": 0}), "top_k"),
            (json!({"query": "x", "top_k": 51}), "top_k"),
            (json!({"query": "x", "threshold": 1.1}), "threshold"),
            (json!({"query": "x", "threshold": -0.1}), "threshold"),
            (json!({"query": "x", "filter": {"tags": ["a"]}}), "filter.tags"),
            (json!({"query": "x", "filter": {"a": "\u{0}"}}), "filter"),
        ];
        for (value, field) in refused {
            let error = query(value).unwrap_err();
            assert!(error.starts_with(field), "{error}");
        }
    }
}
