//! What jobs need to run: made once at start, shared by all.

use engine::store::Store;

use crate::embedders::Embedder;

/// What jobs need to run.
pub struct Context {
    /// Postgres.
    pub store: Store,
    /// Turns texts into vectors.
    pub embedder: Embedder,
}
