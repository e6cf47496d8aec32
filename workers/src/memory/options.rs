//! How memories are kept and found.

/// How memories are kept and found.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryOptions {
    /// How many values each vector has: the embedder's and the database's.
    pub dimensions: usize,
    /// How many memories a user may have; beyond it the least valuable go.
    pub max_memories_per_user: u32,
    /// The lowest score of a search's answers, 0 to 1, where the search names none.
    pub similarity_threshold: f64,
    /// How many memories a search answers with at most, where the search names no number.
    pub max_search_results: u32,
}
