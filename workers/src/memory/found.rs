//! What a search found.
//!
//! Promise: the score is the cosine similarity, 0 to 1, and higher is nearer; the best comes first; equal scores are in
//! the order of their ids, so that the same search gives the same answer.

use chrono::{DateTime, Utc};
use engine::{
    handler::Output,
    store::{Row, StoreError},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// What a search found, the best first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemoriesFound {
    /// The memories, the best first.
    pub memories: Vec<FoundMemory>,
}

impl Output for MemoriesFound {}

/// A memory and how near it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FoundMemory {
    /// Which memory.
    pub id: Uuid,
    /// Whose.
    pub user_id: String,
    /// What is remembered.
    pub text: String,
    /// Cosine similarity of the text and the query, 0 (nothing in common, or opposed) to 1 (the same), to six decimals.
    pub score: f64,
    /// What was stored beside it.
    pub metadata: Value,
    /// 0 to 1.
    pub importance: f32,
    /// The conversation or trip that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The agent that noticed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// When it was first stored.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: DateTime<Utc>,
    /// When the same text was last stored.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub updated_at: DateTime<Utc>,
    /// When it will be forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub expires_at: Option<DateTime<Utc>>,
}

/// pgvector's cosine distance (0 the same, 1 nothing in common, 2 opposed) as a score. Rounded, because the same text
/// has a distance of about 1e-8 and must reach a threshold of 1.
pub(super) fn score(distance: f64) -> f64 {
    ((1.0 - distance).clamp(0.0, 1.0) * 1e6).round() / 1e6
}

impl FoundMemory {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            user_id: row.get("user_id")?,
            text: row.get("content")?,
            score: score(row.get("distance")?),
            metadata: row.get("metadata")?,
            importance: row.get("importance")?,
            run_id: row.get("run_id")?,
            agent_id: row.get("agent_id")?,
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
            expires_at: row.get("expires_at")?,
        })
    }
}

impl MemoriesFound {
    /// Those that score at least `threshold`, in their order.
    pub(super) fn ranked(mut memories: Vec<FoundMemory>, threshold: f64) -> Self {
        memories.retain(|memory| memory.score >= threshold);
        memories.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
        Self { memories }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(id: u128, score: f64) -> FoundMemory {
        FoundMemory {
            id: Uuid::from_u128(id),
            user_id: "u".into(),
            text: "t".into(),
            score,
            metadata: Value::Null,
            importance: 0.5,
            run_id: None,
            agent_id: None,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
            expires_at: None,
        }
    }

    #[test]
    fn nearer_scores_higher() {
        assert!((score(0.0) - 1.0).abs() < f64::EPSILON && (score(1.2e-8) - 1.0).abs() < f64::EPSILON);
        assert!((score(0.32) - 0.68).abs() < 1e-9);
        assert!(score(1.0).abs() < f64::EPSILON && score(1.7).abs() < f64::EPSILON);
    }

    #[test]
    fn the_threshold_keeps_the_near_and_ties_are_in_the_order_of_ids() {
        let ranked =
            MemoriesFound::ranked(vec![found(3, 0.9), found(1, 0.2), found(2, 0.9), found(4, 1.0), found(5, 0.3)], 0.3);
        let ids: Vec<u128> = ranked.memories.iter().map(|memory| memory.id.as_u128()).collect();
        assert_eq!(ids, [4, 2, 3, 5]);
    }

    proptest! {
        #[test]
        fn a_score_is_between_nought_and_one_and_falls_with_the_distance(a in 0.0_f64..2.0, b in 0.0_f64..2.0) {
            prop_assert!((0.0..=1.0).contains(&score(a)));
            prop_assert!(a > b || score(a) >= score(b));
        }
    }
}
