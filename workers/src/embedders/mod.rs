//! Turns texts into vectors: by a model on this machine or by an OpenAI-compatible endpoint.
//! Promise: as many results as texts, in their order; one bad text fails alone, never its batch; every vector has
//! [`Embedder::dimensions`] finite values that are not all zero.
//! Never caches and never writes: callers look up [`cache_key`] first and store what they get.

mod cache_key;
mod error;
mod local;
mod normalize;
mod openai;

pub use cache_key::cache_key;
pub use error::{EmbedError, Failure, InputError};
pub use local::{LocalEmbedder, LocalModelError};
pub use normalize::{NORMALIZATION_VERSION, content_hash, normalize};
pub use openai::{OpenAiConfig, OpenAiEmbedder, Pacing};

/// What a batch of texts became.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// One result for each text, in the order of the texts.
    pub vectors: Vec<Result<Vec<f32>, InputError>>,
    /// Tokens spent: as the provider counted them, or as the local tokenizer did.
    pub tokens: u64,
}

/// The embedder that the settings chose.
#[derive(Debug, Clone)]
pub enum Embedder {
    /// A static model read from a folder: no key, no network.
    Local(LocalEmbedder),
    /// Any endpoint that speaks OpenAI's embeddings API.
    OpenAi(OpenAiEmbedder),
}

impl Embedder {
    /// Embeds `texts` in one go, however many they are.
    ///
    /// # Errors
    /// When nothing can be said about any text: the provider is unreachable, refuses the key, or is out of quota.
    /// Trouble with a single text is that text's [`InputError`].
    pub async fn embed(&self, texts: &[String]) -> Result<Embedded, EmbedError> {
        match self {
            Self::Local(local) => local.embed(texts).await,
            Self::OpenAi(open_ai) => open_ai.embed(texts).await,
        }
    }

    /// The model's name, which belongs in cache keys and beside stored vectors: other name, other vectors.
    #[must_use]
    pub fn model(&self) -> &str {
        match self {
            Self::Local(local) => local.model(),
            Self::OpenAi(open_ai) => open_ai.model(),
        }
    }

    /// How many values each vector has.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        match self {
            Self::Local(local) => local.dimensions(),
            Self::OpenAi(open_ai) => open_ai.dimensions(),
        }
    }
}

/// Whether an index can hold `vector`: every value finite and not all of them zero (cosine needs a direction).
fn has_direction(vector: &[f32]) -> bool {
    vector.iter().all(|value| value.is_finite()) && vector.iter().any(|value| *value != 0.0)
}
