//! `tripsage index`: the vector index over all memories, built anew.

use crate::{app::App, memory};

/// Builds the index; users' own searches go on meanwhile, for they do not use it.
///
/// # Errors
/// When Postgres cannot be asked.
pub async fn run(app: &App) -> anyhow::Result<()> {
    let begun = std::time::Instant::now();
    memory::indexer::build(&app.store().await?, app.dimensions()).await?;
    println!("built in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}
