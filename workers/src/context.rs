//! What jobs need to run: made once at start, shared by all.

use engine::{cache::Cache, store::Store};

use crate::{embedders::Embedder, memory::MemoryOptions, search::places::PlacesState};

/// What jobs need to run.
pub struct Context {
    /// Postgres.
    pub store: Store,
    /// Turns texts into vectors.
    pub embedder: Embedder,
    /// How memories are kept and found.
    pub memory: MemoryOptions,
    /// What was found once.
    pub cache: Cache,
    /// How far this process is with loading the places for searches by meaning.
    pub places: PlacesState,
}
