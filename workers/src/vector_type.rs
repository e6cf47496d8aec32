//! Which of pgvector's types holds a vector.
//!
//! Promise: a column of that type can carry an HNSW index: `vector` up to 2,000 dimensions, half-precision
//! `halfvec` above, up to 4,000 (pgvector's README, "HNSW").

use std::fmt;

/// The most dimensions that an HNSW index on `vector` takes.
const MAX_VECTOR: usize = 2_000;
/// The most dimensions that an HNSW index on `halfvec` takes.
pub(crate) const MAX_HALFVEC: usize = 4_000;

/// A column type of pgvector with its dimension. Displayed as SQL: `vector(256)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VectorType {
    dimensions: usize,
}

impl VectorType {
    /// The type for vectors of `dimensions` values.
    pub(crate) fn of(dimensions: usize) -> Self {
        Self { dimensions }
    }

    /// How many values each vector has.
    pub(crate) fn dimensions(self) -> usize {
        self.dimensions
    }

    /// The operators that an index for cosine distance is built with.
    pub(crate) fn cosine_operators(self) -> &'static str {
        if self.is_half() { "halfvec_cosine_ops" } else { "vector_cosine_ops" }
    }

    fn is_half(self) -> bool {
        self.dimensions > MAX_VECTOR
    }
}

impl fmt::Display for VectorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.is_half() { "halfvec" } else { "vector" };
        write!(f, "{name}({})", self.dimensions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_begins_where_an_index_on_single_precision_ends() {
        assert_eq!(VectorType::of(2_000).to_string(), "vector(2000)");
        assert_eq!(VectorType::of(2_001).to_string(), "halfvec(2001)");
        assert_eq!(VectorType::of(3_072).cosine_operators(), "halfvec_cosine_ops");
        assert_eq!(VectorType::of(256).cosine_operators(), "vector_cosine_ops");
    }
}
