//! One text to remember, as it comes in a job.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::limits::{MAX_METADATA_BYTES, MAX_TEXT_BYTES, check_id, has_nul};

/// One text to remember.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NewMemory {
    /// The submitter's own name for the item; it comes back with the item's result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// What to remember, at most 32 KiB. White space is tidied; case and letters stay.
    #[schemars(length(min = 1, max = 32_768))]
    pub text: String,
    /// What searches can filter by, at most 16 KiB of JSON; added to what the same text already has.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// When it is to be forgotten. The same text twice: the later time counts, and never is the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub expires_at: Option<DateTime<Utc>>,
    /// The conversation or trip that it comes from; the first one's stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The agent that noticed it; the first one's stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// 0 to 1, 0.5 where none is given: over the limit the least important go first. The first one's stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub importance: Option<f32>,
}

impl NewMemory {
    /// Checks what the schema cannot say, or says in other units.
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.text.len() > MAX_TEXT_BYTES {
            return Err(format!("text has {} bytes: expected at most {MAX_TEXT_BYTES}; split it", self.text.len()));
        }
        let ids = [("client_id", &self.client_id), ("run_id", &self.run_id), ("agent_id", &self.agent_id)];
        for (field, id) in ids {
            id.as_deref().map_or(Ok(()), |id| check_id(field, id))?;
        }
        if self.importance.is_some_and(|importance| !(0.0..=1.0).contains(&importance)) {
            return Err("importance is out of range: expected 0 to 1".to_owned());
        }
        check_metadata(&self.metadata)
    }
}

fn check_metadata(metadata: &Map<String, Value>) -> Result<(), String> {
    let size_bytes = serde_json::to_string(metadata).map_or(usize::MAX, |json| json.len());
    if size_bytes > MAX_METADATA_BYTES {
        return Err(format!("metadata has {size_bytes} bytes as JSON: expected at most {MAX_METADATA_BYTES}"));
    }
    if metadata.iter().any(|(key, value)| key.contains('\0') || has_nul(value)) {
        return Err("metadata holds a zero byte, which cannot be stored: remove it".to_owned());
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(value: Value) -> NewMemory {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_text_is_all_that_an_item_needs() {
        assert_eq!(item(json!({"text": "likes trains"})).validate(), Ok(()));
    }

    #[test]
    fn what_cannot_be_stored_is_refused_by_name() {
        let refused = [
            (json!({"text": "x".repeat(MAX_TEXT_BYTES + 1)}), "text"),
            (json!({"text": "x", "client_id": ""}), "client_id"),
            (json!({"text": "x", "run_id": "a\u{0}"}), "run_id"),
            (json!({"text": "x", "importance": 1.5}), "importance"),
            (json!({"text": "x", "metadata": {"a": ["b\u{0}"]}}), "metadata"),
            (json!({"text": "x", "metadata": {"a\u{0}": 1}}), "metadata"),
            (json!({"text": "x", "metadata": {"a": "y".repeat(MAX_METADATA_BYTES)}}), "metadata"),
        ];
        for (value, field) in refused {
            let error = item(value).validate().unwrap_err();
            assert!(error.starts_with(field), "{error}");
        }
    }
}
