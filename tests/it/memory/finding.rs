//! Searching: what is nearest comes first, and nobody sees what is not theirs.

use serde_json::json;
use workers::memory::{FoundMemory, NewMemory};

use super::{Memories, job, long_ago, texts};

#[tokio::test]
async fn the_nearest_comes_first_and_has_the_highest_score() {
    let memories = Memories::new().await;
    memories.add(vec![texts("u", &["sun", "sea sun", "sea", "sea sea sun"])]).await;
    for query in [json!({"user_id": "u", "query": "sea"}), json!({"query": "sea"})] {
        let found = memories.find(query).await;
        let texts: Vec<&str> = found.iter().map(|memory| memory.text.as_str()).collect();
        assert_eq!(texts, ["sea", "sea sea sun", "sea sun", "sun"]);
        assert!(found.is_sorted_by(|a, b| a.score > b.score));
        assert!((found[0].score - 1.0).abs() < 1e-9 && found[3].score.abs() < 1e-9);
        assert!((found[2].score - 0.5_f64.sqrt()).abs() < 1e-5);
    }
}

#[tokio::test]
async fn the_threshold_keeps_the_near_and_drops_the_far() {
    let mut memories = Memories::new().await;
    memories.add(vec![texts("u", &["sun", "sea sun", "sea"])]).await;
    let of = |threshold: f64| json!({"user_id": "u", "query": "sea", "threshold": threshold});
    assert_eq!(memories.texts(of(1.0)).await, ["sea"]);
    assert_eq!(memories.texts(of(0.7)).await, ["sea", "sea sun"]);
    assert_eq!(memories.texts(of(0.0)).await, ["sea", "sea sun", "sun"]);
    memories.context.memory.similarity_threshold = 0.9;
    assert_eq!(memories.texts(json!({"user_id": "u", "query": "sea"})).await, ["sea"]);
}

#[tokio::test]
async fn as_many_as_asked_for_and_ties_in_the_order_of_ids() {
    let mut memories = Memories::new().await;
    memories.add(vec![texts("u", &["sea 1", "sea 2", "sea 3", "sea 4"])]).await;
    let found = memories.find(json!({"user_id": "u", "query": "sea", "top_k": 3})).await;
    assert!(found.len() == 3 && found.is_sorted_by_key(|memory| memory.id));
    assert_eq!(memories.texts(json!({"query": "sea", "top_k": 3})).await.len(), 3);
    memories.context.memory.max_search_results = 2;
    assert_eq!(memories.texts(json!({"user_id": "u", "query": "sea"})).await.len(), 2);
}

#[tokio::test]
async fn a_filter_keeps_what_equals_it_and_takes_no_place_in_the_answer() {
    let memories = Memories::new().await;
    let items: Vec<_> = (0..30)
        .map(|n| json!({"text": format!("sea {n}"), "metadata": {"kind": "fact", "n": n, "tags": ["a"]}}))
        .chain([json!({"text": "sea sun", "metadata": {"kind": "wish", "open": true}, "run_id": "r"})])
        .collect();
    memories.add(vec![job("u", &items)]).await;
    for user in [json!("u"), json!(null)] {
        let ask = |filter| json!({"user_id": user, "query": "sea", "top_k": 2, "filter": filter});
        assert_eq!(memories.texts(ask(json!({"kind": "wish"}))).await, ["sea sun"]);
        assert_eq!(memories.texts(ask(json!({"kind": "wish", "open": true}))).await, ["sea sun"]);
        assert_eq!(memories.texts(ask(json!({"n": 7}))).await, ["sea 7"]);
        assert!(memories.find(ask(json!({"n": "7"}))).await.is_empty(), "a text is no number");
        assert!(memories.find(ask(json!({"tags": "a"}))).await.is_empty(), "a text is no list");
        assert_eq!(memories.texts(json!({"user_id": user, "query": "sea", "run_id": "r"})).await, ["sea sun"]);
    }
}

#[tokio::test]
async fn a_user_finds_only_their_own() {
    let memories = Memories::new().await;
    memories.add(vec![texts("u", &["sea", "sun"]), texts("v", &["sea 1", "snow"])]).await;
    let users = |found: Vec<FoundMemory>| found.into_iter().map(|memory| memory.user_id).collect::<Vec<_>>();
    assert_eq!(users(memories.find(json!({"user_id": "u", "query": "sea"})).await), ["u", "u"]);
    assert_eq!(users(memories.find(json!({"user_id": "v", "query": "sea"})).await), ["v", "v"]);
    assert!(memories.find(json!({"user_id": "w", "query": "sea"})).await.is_empty());
    assert_eq!(memories.find(json!({"query": "sea"})).await.len(), 4);
}

#[tokio::test]
async fn what_has_expired_is_not_found_until_it_is_said_again() {
    let memories = Memories::new().await;
    let mut expired = texts("u", &["sea"]);
    expired.items[0].expires_at = Some(long_ago());
    expired.items.push(NewMemory { text: "sun".to_owned(), ..NewMemory::default() });
    memories.add(vec![expired]).await;
    for indexed in [false, true] {
        if indexed {
            memories.catch_up().await;
        }
        assert_eq!(memories.texts(json!({"user_id": "u", "query": "sea"})).await, ["sun"]);
        assert_eq!(memories.texts(json!({"query": "sea"})).await, ["sun"]);
    }
    memories.add(vec![texts("u", &["sea"])]).await;
    assert_eq!(memories.texts(json!({"user_id": "u", "query": "sea"})).await, ["sea", "sun"]);
}

#[tokio::test]
async fn a_query_that_makes_no_sense_is_discarded() {
    let memories = Memories::new().await;
    for query in [json!({"query": "sea", "top_k": 51}), json!({"query": "nothing it knows"})] {
        let query = serde_json::from_value(query).unwrap();
        let context = &memories.context;
        let error =
            workers::memory::search(&context.store, &context.embedder, &context.memory, &query).await.unwrap_err();
        assert_eq!(error.action(), engine::outcome::Action::Discard);
    }
}
