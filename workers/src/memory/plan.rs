//! What a job's items become before anything is asked or written: tidied, hashed, told apart.
//!
//! Promise: pure; one row for each (user, text) however often it comes, and each distinct text is embedded once.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{add::AddMemories, item::NewMemory};
use crate::embedders::{content_hash, normalize};

/// SHA-256 of a text in its one form.
pub(super) type Hash = [u8; 32];
/// A vector, shared by everybody who remembers the same text.
pub(super) type Vector = Arc<[f32]>;
/// What each text became: its vector, or why it has none.
pub(super) type Vectors = HashMap<Hash, Result<Vector, String>>;

/// One item, its text in the one form, under the id that it gets if it is new.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draft {
    pub(super) id: Uuid,
    pub(super) hash: Hash,
    pub(super) item: NewMemory,
}

/// The items of one job.
pub(super) struct Drafts {
    pub(super) user_id: String,
    pub(super) drafts: Vec<Draft>,
}

/// The items of `job` as they will be hashed, embedded and stored.
pub(super) fn draft(job: AddMemories) -> Drafts {
    let drafts = job.items.into_iter().map(|item| {
        let text = normalize(&item.text);
        Draft { id: Uuid::now_v7(), hash: content_hash(&text), item: NewMemory { text, ..item } }
    });
    Drafts { user_id: job.user_id, drafts: drafts.collect() }
}

/// The distinct texts that have no vector yet, and their hashes in the same order.
pub(super) fn to_embed(jobs: &[Drafts], vectors: &Vectors) -> (Vec<Hash>, Vec<String>) {
    let mut seen = HashSet::new();
    let drafts = jobs.iter().flat_map(|job| &job.drafts);
    let new = drafts.filter(|draft| !vectors.contains_key(&draft.hash) && seen.insert(draft.hash));
    new.map(|draft| (draft.hash, draft.item.text.clone())).unzip()
}

/// An item on its way into the database, or why it does not get there.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Slot {
    Row(Draft, Vector),
    Rejected { client_id: Option<String>, reason: String },
}

/// The items of one job, each with its vector or its rejection.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) user_id: String,
    pub(super) model: Arc<str>,
    pub(super) dimensions: usize,
    pub(super) max_memories: u32,
    pub(super) slots: Vec<Slot>,
}

/// Gives each draft its vector or its rejection; none when a text is missing from `vectors`.
pub(super) fn slots(drafts: Vec<Draft>, vectors: &Vectors) -> Option<Vec<Slot>> {
    let slot = |draft: Draft| match vectors.get(&draft.hash)? {
        Ok(vector) => Some(Slot::Row(draft, Arc::clone(vector))),
        Err(reason) => Some(Slot::Rejected { client_id: draft.item.client_id, reason: reason.clone() }),
    };
    drafts.into_iter().map(slot).collect()
}

/// One row to write: everything that a batch says of one user's one text.
#[derive(Debug, PartialEq)]
pub(super) struct MergedRow<'a> {
    pub(super) draft: &'a Draft,
    pub(super) vector: &'a Vector,
    pub(super) metadata: Map<String, Value>,
    pub(super) expires_at: Option<DateTime<Utc>>,
}

/// The rows of many jobs, one for each (user, text), in the order in which they are locked and written.
pub(super) fn merge(plans: &[Arc<Plan>]) -> BTreeMap<(&str, Hash), MergedRow<'_>> {
    let mut rows = BTreeMap::new();
    for plan in plans {
        for slot in &plan.slots {
            let Slot::Row(draft, vector) = slot else { continue };
            let (metadata, expires_at) = (&draft.item.metadata, draft.item.expires_at);
            rows.entry((plan.user_id.as_str(), draft.hash))
                .and_modify(|row: &mut MergedRow<'_>| {
                    row.metadata.extend(metadata.clone());
                    row.expires_at = later(row.expires_at, expires_at);
                })
                .or_insert_with(|| MergedRow { draft, vector, metadata: metadata.clone(), expires_at });
        }
    }
    rows
}

/// The later of two expiries; never is the latest.
fn later(a: Option<DateTime<Utc>>, b: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    Some(a?.max(b?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(user: &str, texts: &[&str]) -> Drafts {
        let item = |text: &&str| NewMemory { text: (*text).to_owned(), ..NewMemory::default() };
        draft(AddMemories { user_id: user.to_owned(), items: texts.iter().map(item).collect() })
    }

    fn plan(user: &str, items: Vec<NewMemory>) -> Arc<Plan> {
        let drafts = draft(AddMemories { user_id: user.to_owned(), items }).drafts;
        let vectors = drafts.iter().map(|draft| (draft.hash, Ok(Arc::from([1.0_f32])))).collect();
        let slots = slots(drafts, &vectors).unwrap();
        Arc::new(Plan { user_id: user.to_owned(), slots, ..Plan::default() })
    }

    fn item(text: &str, metadata: Value, expires_at: Option<&str>) -> NewMemory {
        let expires_at = expires_at.map(|time| time.parse().unwrap());
        NewMemory {
            text: text.to_owned(),
            metadata: metadata.as_object().cloned().unwrap(),
            expires_at,
            ..NewMemory::default()
        }
    }

    #[test]
    fn a_text_is_embedded_once_whoever_says_it_and_not_at_all_when_its_vector_is_known() {
        let jobs = [job("a", &["sea", " sea ", "sun"]), job("b", &["sun", "rain"])];
        let known = HashMap::from([(jobs[1].drafts[1].hash, Ok(Arc::from([0.5_f32])))]);
        let (hashes, texts) = to_embed(&jobs, &known);
        assert_eq!(texts, ["sea", "sun"]);
        assert_eq!(hashes, [jobs[0].drafts[0].hash, jobs[0].drafts[2].hash]);
    }

    #[test]
    fn one_user_and_text_is_one_row_that_keeps_the_first_id_and_all_metadata() {
        let first = plan("u", vec![item("sea", json!({"a": 1, "b": 1}), None), item("sea ", json!({"b": 2}), None)]);
        let second = plan("u", vec![item("sea", json!({"c": 3}), None)]);
        let plans = [Arc::clone(&first), second, plan("v", vec![item("sea", json!({}), None)])];
        let rows = merge(&plans);
        assert_eq!(rows.len(), 2);
        let row = rows.values().next().unwrap();
        assert_eq!(Value::Object(row.metadata.clone()), json!({"a": 1, "b": 2, "c": 3}));
        assert!(matches!(&first.slots[0], Slot::Row(draft, _) if draft.id == row.draft.id));
    }

    #[test]
    fn the_later_expiry_counts_and_never_is_the_latest() {
        let (soon, late) = (Some("2030-01-01T00:00:00Z"), Some("2031-01-01T00:00:00Z"));
        let expiry = |a, b| {
            let plans = [plan("u", vec![item("x", json!({}), a), item("x", json!({}), b)])];
            merge(&plans).values().next().unwrap().expires_at
        };
        assert_eq!(expiry(soon, late), late.map(|time| time.parse().unwrap()));
        assert_eq!(expiry(late, soon), late.map(|time| time.parse().unwrap()));
        assert_eq!(expiry(soon, None), None);
        assert_eq!(expiry(None, soon), None);
    }

    #[test]
    fn rows_are_ordered_by_user_and_text_whatever_order_the_jobs_came_in() {
        let (a, b) = (
            plan("a", vec![item("x", json!({}), None), item("y", json!({}), None)]),
            plan("b", vec![item("x", json!({}), None)]),
        );
        let forth = [Arc::clone(&a), Arc::clone(&b)];
        let back = [b, a];
        assert!(merge(&forth).into_keys().eq(merge(&back).into_keys()));
    }

    #[test]
    fn a_text_without_a_vector_is_rejected_alone() {
        let drafts = job("u", &["sea", "???"]).drafts;
        let vectors =
            HashMap::from([(drafts[0].hash, Ok(Arc::from([1.0_f32]))), (drafts[1].hash, Err("no".to_owned()))]);
        let slots = slots(drafts, &vectors).unwrap();
        assert!(matches!(slots[..], [Slot::Row(..), Slot::Rejected { .. }]));
    }
}
