//! Embeds texts with a static model on this machine: the normalised mean of its tokens' vectors.
//! Promise: needs no key and no network; every vector has unit length; the matrix stays half-precision in memory.
//! Never truncates a text silently and never blocks the runtime for long: larger batches go to a blocking thread.

mod folder;
mod matrix;
mod model;
mod tokenizer;

#[cfg(test)]
mod fixture;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{EmbedError, Embedded, Failure};
use model::StaticModel;

/// A batch of at most this many bytes takes under a millisecond, which is less than moving it to another thread
/// is worth.
const INLINE_BYTES: usize = 2048;

/// A static embedding model held in memory. Cheap to clone: clones share it.
#[derive(Debug, Clone)]
pub struct LocalEmbedder {
    model: Arc<StaticModel>,
}

/// Why a local model cannot be used. Display reads after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum LocalModelError {
    /// A file or folder cannot be read.
    #[error("read {path} of the local embedding model")]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not in the folder, or several could be it.
    #[error("find the local embedding model's {what} in {folder}: expected {expected}; found {found}")]
    Missing {
        /// Weights or tokenizer.
        what: &'static str,
        /// Where it was looked for.
        folder: PathBuf,
        /// Which file would do.
        expected: String,
        /// What is there instead.
        found: String,
    },
    /// A file is there but does not hold what it should.
    #[error("use {file} for local embeddings: {problem}")]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What it holds and what was expected.
        problem: String,
    },
    /// The model's vectors have another size than the settings ask for.
    #[error(
        "use {file} for local embeddings: its vectors have {found} dimensions, the settings ask for {expected}; \
         leave the dimensions unset to follow the model, or choose another model"
    )]
    Dimensions {
        /// The weights.
        file: PathBuf,
        /// What the model has.
        found: usize,
        /// What the settings ask for.
        expected: usize,
    },
}

impl LocalEmbedder {
    /// Reads the model in `folder`, which must give vectors of `dimensions` values where that says a number. Two layouts
    /// are understood: model2vec's (`model.safetensors` with tensor `embeddings`, `tokenizer.json`) and WordLlama's
    /// (`*_<dimensions>.safetensors` with tensor `embedding.weight`, `*tokenizer*.json`; both in the folder or in
    /// its `weights` and `tokenizers`). Reads some megabytes: call it at start, not per job.
    ///
    /// # Errors
    /// Names the file at fault and what was expected of it.
    pub fn load(folder: &Path, dimensions: impl Into<Option<usize>>) -> Result<Self, LocalModelError> {
        StaticModel::load(folder, dimensions.into()).map(|model| Self { model: Arc::new(model) })
    }

    /// Embeds `texts`; see [`Embedder::embed`](super::Embedder::embed).
    ///
    /// # Errors
    /// Only when the embedding thread panics, which is a bug.
    pub async fn embed(&self, texts: &[String]) -> Result<Embedded, EmbedError> {
        if texts.iter().map(String::len).sum::<usize>() <= INLINE_BYTES {
            return Ok(self.model.embed(texts));
        }
        let (model, texts) = (Arc::clone(&self.model), texts.to_vec());
        tokio::task::spawn_blocking(move || model.embed(&texts)).await.map_err(|error| EmbedError::Permanent {
            failure: Failure {
                provider: self.model().to_owned(),
                status: None,
                request_id: None,
                message: error.to_string(),
            },
        })
    }

    /// `local/<name>@<fingerprint of weights and tokenizer>`: other files under the same name are another model.
    #[must_use]
    pub fn model(&self) -> &str {
        self.model.name()
    }

    /// How many values each vector has.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.model.dimensions()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::fixture::ModelFolder;
    use super::*;
    use crate::embedders::InputError;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn close(left: &[f32], right: &[f32]) -> bool {
        left.len() == right.len() && left.iter().zip(right).all(|(l, r)| (l - r).abs() < 1e-6)
    }

    #[tokio::test]
    async fn a_vector_is_the_normalised_mean_of_its_tokens() {
        for folder in [ModelFolder::model2vec(), ModelFolder::word_llama()] {
            let embedder = LocalEmbedder::load(folder.path(), 2).unwrap();
            let embedded = embedder.embed(&texts(&["sea", "sea sun", "sun"])).await.unwrap();
            let half = std::f32::consts::FRAC_1_SQRT_2;
            assert!(close(embedded.vectors[0].as_ref().unwrap(), &[1.0, 0.0]));
            assert!(close(embedded.vectors[1].as_ref().unwrap(), &[half, half]));
            assert!(close(embedded.vectors[2].as_ref().unwrap(), &[0.0, 1.0]));
            assert_eq!(embedded.tokens, 4);
        }
    }

    #[tokio::test]
    async fn unknown_tokens_count_in_word_llama_and_not_in_model2vec() {
        let both = texts(&["sea blorb"]);
        let folder = ModelFolder::model2vec();
        let skipped = LocalEmbedder::load(folder.path(), 2).unwrap().embed(&both).await.unwrap();
        assert!(close(skipped.vectors[0].as_ref().unwrap(), &[1.0, 0.0]));
        let folder = ModelFolder::word_llama();
        let counted = LocalEmbedder::load(folder.path(), 2).unwrap().embed(&both).await.unwrap();
        assert!(counted.vectors[0].as_ref().unwrap()[1] < -0.1);
    }

    #[tokio::test]
    async fn texts_without_a_direction_fail_alone() {
        let long = "sea ".repeat(100_000);
        for folder in [ModelFolder::model2vec(), ModelFolder::word_llama()] {
            let embedder = LocalEmbedder::load(folder.path(), 2).unwrap();
            let batch = texts(&["", " \n", "blorb", "sea aes", "sun", &long]);
            let embedded = embedder.embed(&batch).await.unwrap();
            assert_eq!(embedded.vectors[0], Err(InputError::Empty));
            assert_eq!(embedded.vectors[1], Err(InputError::Empty));
            assert_eq!(embedded.vectors[2], Err(InputError::Unknown));
            assert_eq!(embedded.vectors[3], Err(InputError::NoDirection));
            assert!(embedded.vectors[4].is_ok());
            assert!(matches!(embedded.vectors[5], Err(InputError::TooLong { size_bytes: 400_000, .. })));
        }
    }

    #[tokio::test]
    async fn a_model2vec_row_is_found_through_its_mapping_and_scaled_by_its_weight() {
        let folder = ModelFolder::model2vec_mapped();
        let embedder = LocalEmbedder::load(folder.path(), 2).unwrap();
        let embedded = embedder.embed(&texts(&["sea sun"])).await.unwrap();
        // The mapping swaps the rows of "sea" and "sun"; "sea" weighs three times as much.
        let length = 10.0_f32.sqrt();
        assert!(close(embedded.vectors[0].as_ref().unwrap(), &[1.0 / length, 3.0 / length]));
    }

    #[test]
    fn without_a_size_asked_for_the_models_own_is_taken() {
        for folder in [ModelFolder::model2vec(), ModelFolder::word_llama()] {
            assert_eq!(LocalEmbedder::load(folder.path(), None).unwrap().dimensions(), 2);
        }
    }

    #[test]
    fn other_weights_under_the_same_name_are_another_model() {
        let (one, other) = (ModelFolder::word_llama(), ModelFolder::word_llama_of(&[[0.5, 0.5]; 4]));
        let (one, other) = (LocalEmbedder::load(one.path(), 2), LocalEmbedder::load(other.path(), 2));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert!(one.model().starts_with("local/tiny_2@"), "{}", one.model());
        assert_ne!(one.model(), other.model());
    }
}
