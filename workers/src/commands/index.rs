//! `tripsage index`: the vector index over all memories, built anew.

use crate::{app::App, memory};

/// Builds the index. Searches of one user's memories go on meanwhile, for they do not use it.
///
/// # Errors
/// When the model cannot be read, or Postgres cannot be asked.
pub async fn run(app: &App) -> anyhow::Result<()> {
    let dimensions = app.embedder()?.dimensions();
    let built = memory::indexer::build(&app.store().await?, dimensions).await?;
    println!("{} memories indexed in {:.1} s", built.n_memories, built.took.as_secs_f64());
    Ok(())
}
