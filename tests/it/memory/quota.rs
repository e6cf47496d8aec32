//! The limit of a user's memories, and which go first.

use futures::future::join_all;
use serde_json::json;
use uuid::Uuid;

use super::{Memories, id, job, texts};

#[tokio::test]
async fn over_the_limit_the_expired_go_first_then_the_unimportant_then_the_old() {
    let memories = Memories::with(8, 4).await;
    let old = memories.add(vec![texts("u", &["sea", "sun"]), texts("v", &["sea"])]).await;
    let expired = json!({"text": "snow", "importance": 1.0, "expires_at": "2001-01-01T00:00:00Z"});
    let rest = memories.add(vec![job("u", &[json!({"text": "wine", "importance": 0.1}), expired])]).await;
    assert!(rest[0].evicted.is_empty());
    let [unimportant, expired] = [id(&rest[0].items[0]), id(&rest[0].items[1])];

    let one = memories.add(vec![texts("u", &["art"])]).await;
    assert_eq!(one[0].evicted, [expired]);
    let two = memories.add(vec![texts("u", &["food"]), texts("u", &["dog"])]).await;
    assert_eq!(two[0].evicted, Vec::<Uuid>::new(), "an eviction is reported once");
    assert_eq!(two[1].evicted, [unimportant, id(&old[0].items[0])]);
    let mut left = memories.texts(json!({"user_id": "u", "query": "sun"})).await;
    left.sort();
    assert_eq!(left, ["art", "dog", "food", "sun"]);
    assert_eq!(memories.texts(json!({"user_id": "v", "query": "sea"})).await, ["sea"]);
    assert_eq!(
        memories
            .fixture
            .number(
                "select count(*) from memory_history where event = 'evicted' and old_content in ('snow', 'wine', 'sea')"
            )
            .await,
        3
    );
}

#[tokio::test]
async fn a_duplicate_evicts_nobody() {
    let memories = Memories::with(8, 2).await;
    memories.add(vec![texts("u", &["sea", "sun"])]).await;
    let again = memories.add(vec![texts("u", &["sea", "sun"])]).await;
    assert!(again[0].evicted.is_empty());
    assert_eq!(memories.fixture.number("select count(*) from memories").await, 2);
}

#[tokio::test]
async fn writers_side_by_side_keep_to_the_limit() {
    let memories = Memories::with(8, 5).await;
    let batches = (0..16).map(|n| {
        let texts: Vec<_> = (0..3).map(|m| json!(format!("sea {n} {m}"))).collect();
        memories.add(vec![job("u", &texts)])
    });
    let added = join_all(batches).await;
    let n_evicted: usize = added.iter().flatten().map(|added| added.evicted.len()).sum();
    assert_eq!(n_evicted, 16 * 3 - 5);
    assert_eq!(memories.fixture.number("select count(*) from memories").await, 5);
}
