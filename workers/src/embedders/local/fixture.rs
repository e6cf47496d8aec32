//! Tiny models for the tests, written to a temporary folder that goes when they do.
//! Promise: four tokens of two dimensions: unknown (0, -0.5), "sea" (1, 0), "sun" (0, 1), "aes" (-1, 0).
//! Never leaves a file behind.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::ops::Deref;
use std::path::{Path, PathBuf};

use half::f16;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

const ROWS: [[f32; 2]; 4] = [[0.0, -0.5], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]];

/// A folder that is removed when dropped.
pub(super) struct TempFolder(PathBuf);

impl TempFolder {
    pub(super) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tripsage-model-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A folder with a model in it.
pub(super) struct ModelFolder(TempFolder);

impl Deref for ModelFolder {
    type Target = TempFolder;

    fn deref(&self) -> &TempFolder {
        &self.0
    }
}

impl ModelFolder {
    /// The model2vec layout, in single precision.
    pub(super) fn model2vec() -> Self {
        Self::with_tensor("embeddings", &[4, 2], ROWS.as_flattened())
    }

    /// The model2vec layout with "sea" and "sun" swapped by the mapping and "sea" of weight 3.
    pub(super) fn model2vec_mapped() -> Self {
        let mapping: Vec<u8> = [0_i64, 2, 1, 3].iter().flat_map(|row| row.to_le_bytes()).collect();
        let weights: Vec<u8> = [1.0_f64, 3.0, 1.0, 1.0].iter().flat_map(|weight| weight.to_le_bytes()).collect();
        let rows = bytes(ROWS.as_flattened());
        let model = serialize(&[
            ("embeddings", Dtype::F32, &[4, 2], &rows),
            ("mapping", Dtype::I64, &[4], &mapping),
            ("weights", Dtype::F64, &[4], &weights),
        ]);
        Self::written("model.safetensors", &model, "tokenizer.json")
    }

    /// The WordLlama layout, in half precision.
    pub(super) fn word_llama() -> Self {
        Self::word_llama_of(&ROWS)
    }

    pub(super) fn word_llama_of(rows: &[[f32; 2]; 4]) -> Self {
        let halves: Vec<u8> =
            rows.as_flattened().iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
        let model = serialize(&[("embedding.weight", Dtype::F16, &[4, 2], &halves)]);
        Self::written("weights/tiny_2.safetensors", &model, "tokenizers/tiny_tokenizer_config.json")
    }

    /// The model2vec layout with a single tensor of any name and shape.
    pub(super) fn with_tensor(name: &str, shape: &[usize], values: &[f32]) -> Self {
        let model = serialize(&[(name, Dtype::F32, shape, &bytes(values))]);
        Self::written("model.safetensors", &model, "tokenizer.json")
    }

    fn written(weights: &str, model: &[u8], tokenizer: &str) -> Self {
        let folder = TempFolder::new();
        folder.write(weights, model);
        folder.write(tokenizer, TOKENIZER.as_bytes());
        Self(folder)
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn serialize(tensors: &[(&str, Dtype, &[usize], &[u8])]) -> Vec<u8> {
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, data)| (*name, TensorView::new(*dtype, shape.to_vec(), data).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

const TOKENIZER: &str = r#"{
  "version": "1.0", "truncation": {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0},
  "padding": null, "added_tokens": [], "normalizer": null, "pre_tokenizer": {"type": "Whitespace"},
  "post_processor": null, "decoder": null,
  "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "sea": 1, "sun": 2, "aes": 3}, "unk_token": "[UNK]"}
}"#;
