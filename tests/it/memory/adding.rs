//! Adding: once a text, whatever comes twice.

use std::{sync::Arc, time::Duration};

use engine::{client::Submission, outcome::Action, registry::Registry};
use futures::future::join_all;
use harness::{
    RunningWorker, WorkerOptions,
    fakes::openai::{FakeOpenAi, Reply},
    patience,
};
use serde_json::json;
use workers::{
    embedders::{Embedder, OpenAiConfig, OpenAiEmbedder, Pacing},
    memory::{AddMemories, ItemAdded, MemoriesAdded, SearchMemories},
};

use super::{Memories, id, is_created, job, texts};

const N_MEMORIES: &str = "select count(*) from memories";
const N_HISTORY: &str = "select count(*) from memory_history";

#[tokio::test]
async fn a_text_is_stored_once_within_a_job_across_jobs_and_across_batches() {
    let memories = Memories::new().await;
    let added = memories.add(vec![texts("u", &["sea", " sea\n", "sun"]), texts("u", &["sun", "snow"])]).await;
    let outcomes: Vec<bool> = added.iter().flat_map(|added| &added.items).map(is_created).collect();
    assert_eq!(outcomes, [true, false, true, false, true]);
    assert_eq!(id(&added[0].items[0]), id(&added[0].items[1]));
    assert_eq!(id(&added[0].items[2]), id(&added[1].items[0]));

    let again = memories.add(vec![texts("u", &["snow", "sea"]), texts("v", &["sea"])]).await;
    assert_eq!([id(&again[0].items[0]), id(&again[0].items[1])], [id(&added[1].items[1]), id(&added[0].items[0])]);
    assert!(is_created(&again[1].items[0]), "another user has memories of their own");
    assert_eq!(memories.fixture.number(N_MEMORIES).await, 4);
    assert_eq!(memories.fixture.number(N_HISTORY).await, 4);
}

#[tokio::test]
async fn a_duplicate_adds_its_metadata_and_keeps_the_later_expiry() {
    let memories = Memories::new().await;
    let first =
        json!({"text": "sea", "metadata": {"a": 1, "b": 1}, "expires_at": "2900-01-01T00:00:00Z", "importance": 0.25});
    memories.add(vec![job("u", &[first])]).await;
    let second = json!({"text": "sea", "metadata": {"b": 2}, "expires_at": "2800-01-01T00:00:00Z"});
    let third = json!({"text": "sea", "metadata": {"c": 3}});
    memories.add(vec![job("u", &[second])]).await;
    let found = memories.find(json!({"user_id": "u", "query": "sea"})).await;
    assert_eq!(found[0].metadata, json!({"a": 1, "b": 2}));
    assert_eq!(found[0].expires_at.unwrap().to_rfc3339(), "2900-01-01T00:00:00+00:00");
    memories.add(vec![job("u", &[third])]).await;
    let found = memories.find(json!({"user_id": "u", "query": "sea"})).await;
    assert_eq!((found[0].expires_at, &found[0].metadata), (None, &json!({"a": 1, "b": 2, "c": 3})));
    assert!((found[0].importance - 0.25).abs() < 1e-6 && found[0].updated_at > found[0].created_at);
}

#[tokio::test]
async fn writing_the_same_outputs_twice_gives_the_same_rows_and_results() {
    let memories = Memories::new().await;
    let outcomes = AddMemories::prepare(vec![texts("u", &["sea", "sun", "sea"])], &memories.context).await;
    let mut outputs: Vec<MemoriesAdded> = outcomes.into_iter().map(Result::unwrap).collect();
    memories.write(&mut outputs).await;
    let first = outputs.clone();
    memories.write(&mut outputs).await;
    assert_eq!(outputs, first);
    assert_eq!(memories.fixture.number(N_MEMORIES).await, 2);
    assert_eq!(memories.fixture.number(N_HISTORY).await, 2);
}

#[tokio::test]
async fn what_cannot_be_embedded_is_rejected_alone() {
    let memories = Memories::new().await;
    let items = [json!({"text": " \n", "client_id": "blank"}), json!("sea"), json!("nothing it knows")];
    let added = memories.add(vec![job("u", &items)]).await;
    let [ItemAdded::Rejected { reason, client_id }, created, ItemAdded::Rejected { .. }] = &added[0].items[..] else {
        panic!("{added:?}")
    };
    assert!(is_created(created) && reason.contains("empty text"), "{reason}");
    assert_eq!(client_id.as_deref(), Some("blank"));
}

#[tokio::test]
async fn a_known_text_whose_memory_went_meanwhile_is_stored_anew() {
    let memories = Memories::new().await;
    memories.add(vec![texts("u", &["sea"])]).await;
    let outcomes = AddMemories::prepare(vec![texts("u", &["sea"])], &memories.context).await;
    memories.run("delete from memories").await;
    let mut outputs: Vec<MemoriesAdded> = outcomes.into_iter().map(Result::unwrap).collect();
    memories.write(&mut outputs).await;
    assert!(is_created(&outputs[0].items[0]));
    assert_eq!(memories.texts(json!({"user_id": "u", "query": "sea"})).await, ["sea"]);
}

#[tokio::test]
async fn concurrent_batches_of_the_same_texts_in_any_order_all_succeed() {
    let memories = Memories::new().await;
    let forth = ["sea", "sun", "snow", "wine", "art"];
    let back = ["art", "wine", "snow", "sun", "sea"];
    let batches = (0..12).map(|n| {
        let (first, second) = if n % 2 == 0 { ("u", "v") } else { ("v", "u") };
        memories.add(vec![texts(first, if n % 3 == 0 { &forth } else { &back }), texts(second, &back)])
    });
    let added = join_all(batches).await;
    let n_created = added.iter().flatten().flat_map(|added| &added.items).filter(|item| is_created(item)).count();
    assert_eq!(n_created, 10);
    assert_eq!(memories.fixture.number(N_MEMORIES).await, 10);
}

fn open_ai(fake: &FakeOpenAi) -> Embedder {
    let config = OpenAiConfig {
        base_url: fake.base_url().parse().unwrap(),
        api_key: Some("sk-test-abcdefghijklmnopqrstuvwx".to_owned().into()),
        organization: None,
        model: "text-embedding-3-small".to_owned(),
        dimensions: 8,
        send_dimensions: true,
        timeout: Duration::from_secs(20),
        max_retries: 0,
        max_batch_inputs: 512,
        max_parallel: 1,
    };
    let wait = Box::new(|_| -> futures::future::BoxFuture<'static, ()> { Box::pin(std::future::ready(())) });
    let now = Box::new(|| "2015-10-21T07:28:00Z".parse().unwrap());
    Embedder::OpenAi(OpenAiEmbedder::with_pacing(config, Pacing { random: Box::new(|| 0.0), now, wait }).unwrap())
}

#[tokio::test]
async fn each_text_is_embedded_once_a_batch_and_never_again() {
    let fake = FakeOpenAi::start().await.unwrap();
    let mut memories = Memories::new().await;
    memories.context.embedder = open_ai(&fake);
    memories.add(vec![texts("u", &["a", "b", " a"]), texts("v", &["b", "c"])]).await;
    memories.add(vec![texts("u", &["a", "b"])]).await;
    memories.add(vec![texts("u", &["c", "a"])]).await;
    assert_eq!(fake.sizes(), [3, 1]);
}

#[tokio::test]
async fn an_embedders_trouble_fails_only_the_jobs_that_need_it() {
    let fake = FakeOpenAi::start().await.unwrap();
    let mut memories = Memories::new().await;
    memories.context.embedder = open_ai(&fake);
    memories.add(vec![texts("u", &["a"])]).await;
    fake.script([
        Reply::error(429, "requests", "rate_limit_exceeded", "slow").with("retry-after", "7"),
        Reply::error(401, "invalid_request_error", "invalid_api_key", "no"),
    ]);
    let jobs = || vec![texts("u", &["a"]), texts("u", &["b"])];
    let actions = async || {
        let outcomes = AddMemories::prepare(jobs(), &memories.context).await;
        outcomes.iter().map(|outcome| outcome.as_ref().err().map(|error| error.action())).collect::<Vec<_>>()
    };
    assert_eq!(actions().await, [None, Some(Action::Retry { after: Some(Duration::from_secs(7)) })]);
    assert_eq!(actions().await, [None, Some(Action::Discard)]);
}

#[tokio::test]
async fn a_text_of_another_model_gets_the_new_models_vector() {
    let memories = Memories::new().await;
    memories.add(vec![texts("u", &["sea"])]).await;
    memories.catch_up().await;
    memories.run("update memories set model = 'older', embedding = '[0,1,0,0,0,0,0,0]'").await;
    assert!(memories.find(json!({"query": "sea"})).await.is_empty(), "vectors of two models are never compared");
    let added = memories.add(vec![texts("u", &["sea"])]).await;
    assert!(!is_created(&added[0].items[0]));
    let found = memories.find(json!({"query": "sea"})).await;
    assert!((found[0].score - 1.0).abs() < 1e-9);
    assert_eq!(memories.fixture.number("select count(*) from memories_to_index").await, 1);
}

#[tokio::test]
async fn a_worker_adds_and_finds() {
    let memories = Memories::new().await;
    let registry = Registry::default().batch_job::<AddMemories>().unwrap().job::<SearchMemories>().unwrap();
    let Memories { fixture, context } = memories;
    let worker = RunningWorker::start(&fixture, registry, Arc::new(context), WorkerOptions::default()).await;
    let adding = Submission::batch_job(&texts("u", &["sea", "sun", "sea"])).unwrap();
    let added = fixture.client.submit_and_wait(adding, patience()).await.unwrap();
    let added: MemoriesAdded = serde_json::from_value(added.result.unwrap()).unwrap();
    assert_eq!(added.items.iter().map(is_created).collect::<Vec<_>>(), [true, true, false]);
    let query = serde_json::from_value(json!({"user_id": "u", "query": "sun", "threshold": 0.5})).unwrap();
    let searching = Submission::job(&SearchMemories(query)).unwrap();
    let found = fixture.client.submit_and_wait(searching, patience()).await.unwrap();
    assert_eq!(found.result.unwrap()["memories"][0]["text"], json!("sun"));
    worker.stop().await;
}
