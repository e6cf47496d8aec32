//! The vector columns and the migrations.

use harness::Fixture;
use serde_json::json;
use workers::memory::{indexer::build, schema::ensure_vectors};

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

#[tokio::test]
async fn a_database_of_other_dimensions_is_left_alone_and_the_error_says_both() {
    let fixture = Fixture::new().await;
    ensure_vectors(&fixture.store, 256).await.unwrap();
    ensure_vectors(&fixture.store, 256).await.unwrap();
    let error = ensure_vectors(&fixture.store, 3_072).await.unwrap_err().to_string();
    assert!(error.contains("has vector(256)") && error.contains("store vectors as halfvec(3072)"), "{error}");
    assert!(error.contains("Set the embedding dimensions"), "{error}");
    let error = ensure_vectors(&fixture.store, 4_001).await.unwrap_err().to_string();
    assert!(error.contains("expected 1 to 4000"), "{error}");
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
