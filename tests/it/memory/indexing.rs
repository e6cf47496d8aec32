//! The approximate index: behind the memories, never in their way.

use std::time::Duration;

use engine::{shutdown::Shutdown, store::statement};
use harness::eventually;
use serde_json::{Value, json};
use workers::memory::indexer::{Indexer, build};

use super::{Memories, id, job, texts};

const N_WAITING: &str = "select count(*) from memories_to_index";
const N_INDEXED: &str = "select count(*) from memory_vectors";
const N_INDEXES: &str = "select count(*) from pg_indexes where indexname = 'memory_vectors_hnsw' \
    and indexdef like '%(m=''16'', ef_construction=''200'')'";

/// Many texts along the sun's axis and a few others.
async fn add_many(memories: &Memories, user: &str, n: usize) {
    let items: Vec<Value> = (0..n).map(|n| json!(format!("sun {user} {n}"))).collect();
    for items in items.chunks(1_000) {
        memories.add(vec![job(user, items)]).await;
    }
}

#[tokio::test]
async fn a_search_across_users_finds_what_is_indexed_and_what_is_not_yet() {
    let memories = Memories::new().await;
    memories.add(vec![texts("u", &["sea", "wine"]), texts("v", &["sea sun"])]).await;
    memories.catch_up().await;
    assert_eq!(memories.fixture.number(N_INDEXES).await, 1);
    assert_eq!(memories.fixture.number(N_WAITING).await, 0);
    memories.add(vec![texts("w", &["sea sea sun", "dog"])]).await;
    assert_eq!(memories.fixture.number(N_INDEXED).await, 3);
    let found = memories.texts(json!({"query": "sea", "threshold": 0.5})).await;
    assert_eq!(found, ["sea", "sea sea sun", "sea sun"]);
    memories.catch_up().await;
    assert_eq!(memories.fixture.number(N_INDEXED).await, 5);
    assert_eq!(memories.texts(json!({"query": "sea", "threshold": 0.5})).await, found);
}

#[tokio::test]
async fn the_index_is_used_and_a_rare_filter_still_finds_its_memory() {
    let memories = Memories::with(8, 10_000).await;
    add_many(&memories, "u", 3_000).await;
    memories.add(vec![job("v", &[json!({"text": "sea sun", "metadata": {"rare": true}})])]).await;
    let built = build(memories.store(), 8).await.unwrap();
    assert_eq!(built.n_memories, 3_001);
    memories.run("analyze").await;
    let found = memories.texts(json!({"query": "sun", "filter": {"rare": true}, "top_k": 1})).await;
    assert_eq!(found, ["sea sun"]);
    memories.find(json!({"query": "sun"})).await;
    let scans = "select idx_scan from pg_stat_user_indexes where indexrelname = 'memory_vectors_hnsw'";
    eventually("the index to be counted as used", || async {
        (memories.fixture.number(scans).await > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_deleted_leaves_the_answers_at_once_and_the_index_soon() {
    let memories = Memories::new().await;
    memories.add(vec![texts("u", &["sea", "sun"])]).await;
    memories.catch_up().await;
    memories.run("delete from memories where content = 'sea'").await;
    assert_eq!(memories.texts(json!({"query": "sea"})).await, ["sun"]);
    memories.catch_up().await;
    assert_eq!(memories.fixture.number(N_INDEXED).await, 1);
}

#[tokio::test]
async fn an_index_far_behind_is_loaded_and_built_anew() {
    let memories = Memories::new().await;
    memories.add(vec![texts("u", &["sea"])]).await;
    memories.catch_up().await;
    add_many(&memories, "v", 1_000).await;
    let oid = "select 'memory_vectors_hnsw'::regclass::oid::bigint";
    let before = memories.fixture.number(oid).await;
    memories.catch_up().await;
    assert_ne!(memories.fixture.number(oid).await, before);
    assert_eq!(memories.fixture.number(N_INDEXED).await, 1_001);
    assert_eq!(memories.texts(json!({"query": "sea", "threshold": 0.5})).await, ["sea"]);
}

#[tokio::test]
async fn adding_and_evicting_wait_for_no_build() {
    let memories = Memories::with(8, 2).await;
    memories.add(vec![texts("u", &["sea", "sun"])]).await;
    memories.catch_up().await;
    // What a build holds for as long as it takes.
    let mut building = memories.store().begin().await.unwrap();
    building.execute(statement("lock table memory_vectors in share mode")).await.unwrap();
    let added = memories.add(vec![texts("u", &["wine"])]).await;
    assert_eq!(added[0].evicted.len(), 1);
    building.commit().await.unwrap();
}

#[tokio::test]
async fn indexers_side_by_side_index_everything_once_and_end_when_told() {
    let memories = Memories::new().await;
    let shutdown = Shutdown::new();
    for _ in 0..2 {
        let indexer = Indexer { store: memories.store().clone(), dimensions: 8, interval: Duration::from_millis(20) };
        shutdown.spawn(indexer.run(shutdown.clone()));
    }
    let mut ids = Vec::new();
    for n in 0..10 {
        let texts: Vec<_> = (0..20).map(|m| json!(format!("sea {n} {m}"))).collect();
        let added = memories.add(vec![job("u", &texts)]).await;
        ids.extend(added[0].items.iter().map(id));
    }
    eventually("everything indexed", || async {
        let done = memories.fixture.number(N_WAITING).await == 0 && memories.fixture.number(N_INDEXES).await == 1;
        done.then_some(())
    })
    .await;
    assert_eq!(memories.fixture.number(N_INDEXED).await, 200);
    shutdown.stop();
    shutdown.finished().await;
}
