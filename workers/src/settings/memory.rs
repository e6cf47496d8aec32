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
    /// The folder of the local model; there when the embedder is local.
    pub local_model_path: Option<PathBuf>,
    /// The model asked for over HTTP.
    pub embedding_model: String,
    /// Length of the vectors.
    pub embedding_dimensions: u16,
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
            .unset("needed when the embedder is local"),
            Variable::new("embedding_model", Shape::Text, "the model asked for over HTTP"),
            Variable::new(
                "embedding_dimensions",
                Shape::Integer { min: 32, max: 3072 },
                "length of the vectors; equals the database's",
            )
            .note("below 512 only with a local model"),
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
        if self.embedder == Embedder::Local && self.local_model_path.is_none() {
            draft.problem(
                &[Self::GROUP.name("local_model_path")],
                format!("is missing; {} is local, so it has to name the model's folder", Self::GROUP.name("embedder")),
            );
        }
    }
}
