//! The settings of memories and their embeddings.
//! Never names a vector store that this version cannot serve: such a choice stops the start.

use std::path::PathBuf;

use engine::config::{Draft, Group, Section, Shape, Variable};
use serde::Deserialize;

/// The shortest vectors that OpenAI's models are asked for; a local model may go lower.
pub(super) const OPENAI_MIN_DIMENSIONS: u16 = 512;

/// Settings under `TRIPSAGE_MEM0_`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Where vectors are kept.
    pub vector_store_type: VectorStore,
    /// Who turns texts into vectors.
    pub embedder: Embedder,
    /// The folder of the local model; read when the embedder is local.
    pub local_model_path: PathBuf,
    /// The model asked for over HTTP.
    pub embedding_model: String,
    /// Length of the vectors; none means what the model has.
    pub embedding_dimensions: Option<u16>,
    /// Memories that a user may have.
    pub max_memories_per_user: u32,
    /// Least similarity of a hit, 1 being equal.
    pub similarity_threshold: f64,
    /// Most hits of one search.
    pub max_search_results: u32,
}

/// Where vectors are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VectorStore {
    /// Postgres with pgvector.
    Pgvector,
}

/// Who turns texts into vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Embedder {
    /// An HTTP endpoint that speaks OpenAI's interface.
    OpenAi,
    /// A model in a folder of this machine.
    Local,
}

/// The vectors of a model that is asked over HTTP.
struct ApiModel {
    dimensions: u16,
    /// Whether it gives shorter vectors when asked to.
    can_shorten: bool,
}

/// The length that is expected of a model that is not in the list.
const USUAL_DIMENSIONS: u16 = 1536;

impl Memory {
    /// OpenAI's own models (developers.openai.com, "Vector embeddings"); none for any other.
    fn api_model(&self) -> Option<ApiModel> {
        let (dimensions, can_shorten) = match self.embedding_model.as_str() {
            "text-embedding-3-small" => (1536, true),
            "text-embedding-3-large" => (3072, true),
            "text-embedding-ada-002" => (1536, false),
            _ => return None,
        };
        Some(ApiModel { dimensions, can_shorten })
    }

    /// The length of the vectors that the model asked for over HTTP gives: what is set, or what the model has.
    #[must_use]
    pub fn api_dimensions(&self) -> u16 {
        let own = || self.api_model().map_or(USUAL_DIMENSIONS, |model| model.dimensions);
        self.embedding_dimensions.unwrap_or_else(own)
    }

    /// The length of the vectors as far as the settings alone say it: a local model has to be read for it.
    pub(super) fn known_dimensions(&self) -> Option<u16> {
        match self.embedder {
            Embedder::OpenAi => Some(self.api_dimensions()),
            Embedder::Local => self.embedding_dimensions,
        }
    }

    /// Whether the request has to say how long the vectors shall be. A model that cannot shorten them refuses the field.
    #[must_use]
    pub fn asks_for_dimensions(&self) -> bool {
        let own = self.api_model().map(|model| model.dimensions);
        self.embedding_dimensions.is_some_and(|asked| Some(asked) != own)
    }
}

const STORES: Shape = Shape::Choice { served: &["pgvector"], reserved: &["qdrant", "chroma"] };
const EMBEDDERS: Shape = Shape::Choice { served: &["openai", "local"], reserved: &[] };

impl Section for Memory {
    const GROUP: &'static Group = &Group {
        section: "memory",
        prefix: "TRIPSAGE_MEM0_",
        title: "Memory",
        variables: &[
            Variable::new("vector_store_type", STORES, "where vectors are kept"),
            Variable::new(
                "embedder",
                EMBEDDERS,
                "who turns texts into vectors: an OpenAI-compatible endpoint, or a model on this machine",
            ),
            Variable::new(
                "local_model_path",
                Shape::Text,
                "folder of the local model: tokenizer.json and a safetensors matrix",
            )
            .required(),
            Variable::new("embedding_model", Shape::Text, "the model asked for over HTTP"),
            Variable::new(
                "embedding_dimensions",
                Shape::Integer { min: 32, max: 3072 },
                "length of the vectors; other than the model's own only where an API's model can shorten them",
            )
            .note("below 512 only with a local model")
            .unset("what the model has"),
            Variable::new(
                "max_memories_per_user",
                Shape::Integer { min: 100, max: 10_000 },
                "memories that a user may have",
            ),
            Variable::new(
                "similarity_threshold",
                Shape::Decimal { min: 0.1, max: 1.0 },
                "least similarity of a hit, 1 being equal",
            ),
            Variable::new("max_search_results", Shape::Integer { min: 1, max: 50 }, "most hits of one search"),
        ],
    };

    fn check(&self, draft: &mut Draft) {
        let (Some(asked), Some(own)) = (self.embedding_dimensions, self.api_model()) else { return };
        let fits = asked == own.dimensions || (own.can_shorten && asked < own.dimensions);
        if self.embedder == Embedder::OpenAi && !fits {
            let can = if own.can_shorten { " or fewer" } else { "" };
            draft.problem(
                &[Self::GROUP.name("embedding_dimensions")],
                format!(
                    "{asked} is not what {} gives: {}{can}; leave it unset, or choose another {}",
                    self.embedding_model,
                    own.dimensions,
                    Self::GROUP.name("embedding_model")
                ),
            );
        }
    }
}
