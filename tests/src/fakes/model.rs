//! A tiny embedding model, written to a temporary folder that goes when it does.
//!
//! Promise: each word has a direction of its own, whatever its case; a text's vector is the sum of its known
//! words'. Two models of different words are two models.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use uuid::Uuid;
use workers::embedders::{Embedder, LocalEmbedder};

/// A model of a few words.
pub struct FakeModel {
    folder: PathBuf,
    n_words: usize,
}

impl FakeModel {
    /// A model that knows these words, lower-case, and has as many dimensions.
    pub fn of(words: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("tripsage-model-{}", Uuid::now_v7()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("model.safetensors"), weights(words.len())).unwrap();
        std::fs::write(folder.join("tokenizer.json"), tokenizer(words).to_string()).unwrap();
        Self { folder, n_words: words.len() }
    }

    /// The folder that it is in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The embedder that uses it.
    pub fn embedder(&self) -> Embedder {
        Embedder::Local(LocalEmbedder::load(&self.folder, self.n_words).unwrap())
    }
}

impl Drop for FakeModel {
    fn drop(&mut self) {
        let removed = std::fs::remove_dir_all(&self.folder);
        drop(removed); // a folder that is gone is removed
    }
}

/// The safetensors format: a length, a header in JSON, the values. Row 0 is the unknown word's.
fn weights(n_words: usize) -> Vec<u8> {
    let (rows, size_bytes) = (n_words + 1, 4 * (n_words + 1) * n_words);
    let header =
        json!({"embeddings": {"dtype": "F32", "shape": [rows, n_words], "data_offsets": [0, size_bytes]}}).to_string();
    let header = format!("{header:<width$}", width = header.len().next_multiple_of(8));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    for row in 0..rows {
        let values = (0..n_words).map(|column| if row == column + 1 { 1.0_f32 } else { 0.0 });
        file.extend(values.flat_map(f32::to_le_bytes));
    }
    file
}

fn tokenizer(words: &[&str]) -> Value {
    let known = ["[UNK]"].iter().chain(words).enumerate();
    let vocabulary: Map<_, _> = known.map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}
    })
}
