//! The vector columns and the migrations.

use harness::Fixture;
use serde_json::json;
use workers::memory::{
    indexer::build,
    schema::{check_vectors, ensure_vectors},
};

use super::{Memories, texts};

#[tokio::test]
async fn dimensions_beyond_single_precision_are_stored_indexed_and_found() {
    let memories = Memories::with(2_050, 100).await;
    memories.add(vec![texts("u", &["sea", "sea sun"]), texts("u", &["sea"])]).await;
    build(memories.store(), 2_050).await.unwrap();
    for query in [json!({"user_id": "u", "query": "sea"}), json!({"query": "sea"})] {
        let found = memories.find(query).await;
        assert_eq!(found.iter().map(|memory| memory.text.as_str()).collect::<Vec<_>>(), ["sea", "sea sun"]);
        assert!((found[0].score - 1.0).abs() < 1e-9);
    }
    // A duplicate's vector comes back from half precision and goes in again.
    memories.run("delete from memories where content = 'sea sun'").await;
    assert_eq!(memories.add(vec![texts("u", &["sea", "sun"])]).await[0].items.len(), 2);
}

const TYPES: &str = "select string_agg(format_type(atttypid, atttypmod), ' ' order by attrelid::regclass::text) from pg_attribute \
    where attrelid in ('memories'::regclass, 'memory_vectors'::regclass) and attname = 'embedding' and not attisdropped";

async fn types(fixture: &Fixture) -> String {
    sqlx::query_scalar(TYPES).fetch_one(&fixture.pool).await.unwrap()
}

#[tokio::test]
async fn memories_of_other_dimensions_are_left_alone_and_the_error_says_both() {
    let memories = Memories::new().await;
    memories.add(vec![texts("u", &["sea"])]).await;
    let error = ensure_vectors(memories.store(), 3_072).await.unwrap_err().to_string();
    assert!(error.contains("have vector(8)") && error.contains("store vectors as halfvec(3072)"), "{error}");
    assert!(error.contains("`delete from memories`") && error.contains("`tripsage migrate`"), "{error}");
    assert_eq!(types(&memories.fixture).await, "vector(8) vector(8)");
    assert_eq!(memories.texts(json!({"user_id": "u", "query": "sea"})).await, ["sea"]);
    let error = ensure_vectors(memories.store(), 4_001).await.unwrap_err().to_string();
    assert!(error.contains("expected 1 to 4000"), "{error}");
}

#[tokio::test]
async fn tables_without_a_memory_follow_the_model_and_can_be_indexed_again() {
    let memories = Memories::new().await;
    memories.add(vec![texts("u", &["sea", "sun"])]).await;
    build(memories.store(), 8).await.unwrap();
    memories.run("delete from memories").await;
    for (dimensions, expected) in [(3_072, "halfvec(3072) halfvec(3072)"), (16, "vector(16) vector(16)")] {
        ensure_vectors(memories.store(), dimensions).await.unwrap();
        assert_eq!(types(&memories.fixture).await, expected);
        check_vectors(memories.store(), dimensions).await.unwrap();
        build(memories.store(), dimensions).await.unwrap();
    }
    let error = check_vectors(memories.store(), 8).await.unwrap_err().to_string();
    assert!(error.contains("store vectors as vector(8): this database has vector(16)"), "{error}");
    assert_eq!(types(&memories.fixture).await, "vector(16) vector(16)", "only looked at");
}

#[tokio::test]
async fn many_workers_may_prepare_the_database_at_once() {
    let fixture = Fixture::new().await;
    let results = futures::future::join_all((0..8).map(|_| ensure_vectors(&fixture.store, 16))).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

#[tokio::test]
async fn the_migrations_go_up_down_and_up_again() {
    let fixture = Fixture::new().await;
    ensure_vectors(&fixture.store, 8).await.unwrap();
    fixture.store.migrate_down(0).await.unwrap();
    let left = "select count(*) from pg_class where relname like 'memor%' and relnamespace = 'public'::regnamespace";
    assert_eq!(fixture.number(left).await, 0);
    fixture.store.migrate().await.unwrap();
    ensure_vectors(&fixture.store, 8).await.unwrap();
}
