//! Memories on a real Postgres, embedded by a tiny local model whose vectors are known.

mod adding;
mod finding;
mod indexing;
mod quota;
mod schema;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use engine::{
    handler::Output,
    job::JobId,
    store::{Store, statement},
};
use harness::Fixture;
use serde_json::{Value, json};
use uuid::Uuid;
use workers::{
    context::Context,
    embedders::{Embedder, LocalEmbedder},
    memory::{
        AddMemories, FoundMemory, ItemAdded, MemoriesAdded, MemoryOptions, MemoryQuery, NewMemory, indexer,
        schema as columns, search,
    },
    search::places::PlacesState,
};

/// The words that the model knows, each along an axis of its own. What it does not know it skips, so that "sea 1" and
/// "sea 2" are two texts with the same vector.
const WORDS: [&str; 8] = ["sea", "sun", "snow", "train", "wine", "art", "food", "dog"];

/// A test's memories.
struct Memories {
    fixture: Fixture,
    context: Context,
}

impl Memories {
    async fn new() -> Self {
        Self::with(WORDS.len(), 1_000).await
    }

    async fn with(dimensions: usize, max_memories_per_user: u32) -> Self {
        let fixture = Fixture::new().await;
        columns::ensure_vectors(&fixture.store, dimensions).await.unwrap();
        let memory =
            MemoryOptions { dimensions, max_memories_per_user, similarity_threshold: 0.0, max_search_results: 10 };
        let context = Context {
            store: fixture.store.clone(),
            embedder: tiny_embedder(dimensions),
            memory,
            cache: engine::cache::Cache::off(),
            places: PlacesState::default(),
        };
        Self { fixture, context }
    }

    fn store(&self) -> &Store {
        &self.fixture.store
    }

    /// Adds as one settlement does.
    async fn add(&self, jobs: Vec<AddMemories>) -> Vec<MemoriesAdded> {
        let outcomes = AddMemories::prepare(jobs, &self.context).await;
        let mut outputs: Vec<MemoriesAdded> = outcomes.into_iter().map(Result::unwrap).collect();
        self.write(&mut outputs).await;
        outputs
    }

    async fn write(&self, outputs: &mut [MemoriesAdded]) {
        let mut tx = self.store().begin().await.unwrap();
        let with_ids = outputs.iter_mut().map(|output| (JobId(Uuid::nil()), output)).collect();
        MemoriesAdded::write_rows(with_ids, &mut tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn find(&self, query: Value) -> Vec<FoundMemory> {
        let query: MemoryQuery = serde_json::from_value(query).unwrap();
        search(self.store(), &self.context.embedder, &self.context.memory, &query).await.unwrap().memories
    }

    async fn texts(&self, query: Value) -> Vec<String> {
        self.find(query).await.into_iter().map(|memory| memory.text).collect()
    }

    async fn catch_up(&self) {
        indexer::catch_up(self.store(), self.context.memory.dimensions).await.unwrap();
    }

    async fn run(&self, sql: &'static str) {
        self.store().execute(statement(sql)).await.unwrap();
    }
}

/// A job whose items are given as JSON, or as texts alone.
fn job(user_id: &str, items: &[Value]) -> AddMemories {
    let item = |item: &Value| match item {
        Value::String(text) => NewMemory { text: text.clone(), ..NewMemory::default() },
        item => serde_json::from_value(item.clone()).unwrap(),
    };
    AddMemories { user_id: user_id.to_owned(), items: items.iter().map(item).collect() }
}

fn texts(user_id: &str, texts: &[&str]) -> AddMemories {
    job(user_id, &texts.iter().map(|text| json!(text)).collect::<Vec<_>>())
}

fn id(item: &ItemAdded) -> Uuid {
    match item {
        ItemAdded::Created { id, .. } | ItemAdded::Duplicate { id, .. } => *id,
        ItemAdded::Rejected { reason, .. } => panic!("rejected: {reason}"),
    }
}

fn is_created(item: &ItemAdded) -> bool {
    matches!(item, ItemAdded::Created { .. })
}

fn long_ago() -> DateTime<Utc> {
    "2001-01-01T00:00:00Z".parse().unwrap()
}

/// A model of one axis a word in model2vec's layout. The folder goes as soon as the model is read.
fn tiny_embedder(dimensions: usize) -> Embedder {
    let parent = std::env::temp_dir().join(format!("tripsage-it-{}", Uuid::now_v7().simple()));
    let folder: PathBuf = parent.join("tiny");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("model.safetensors"), weights(dimensions)).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer().to_string()).unwrap();
    let embedder = LocalEmbedder::load(&folder, dimensions).unwrap();
    std::fs::remove_dir_all(parent).unwrap();
    Embedder::Local(embedder)
}

/// The safetensors format: the header's length, the header, the values.
fn weights(dimensions: usize) -> Vec<u8> {
    let n_rows = WORDS.len() + 1;
    let value = |place: usize| {
        let (row, column) = (place / dimensions, place % dimensions);
        if row.max(1) - 1 == column { 1.0_f32 } else { 0.0 }
    };
    let values: Vec<u8> = (0..n_rows * dimensions).flat_map(|place| value(place).to_le_bytes()).collect();
    let tensor = json!({"dtype": "F32", "shape": [n_rows, dimensions], "data_offsets": [0, values.len()]});
    let header = json!({ "embeddings": tensor }).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &values].concat()
}

fn tokenizer() -> Value {
    let mut vocabulary = serde_json::Map::from_iter([("[UNK]".to_owned(), json!(0))]);
    vocabulary.extend(WORDS.iter().zip(1..).map(|(word, place)| ((*word).to_owned(), json!(place))));
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}
    })
}
