//! `tripsage schemas`: writes the JSON Schemas that other languages build to.

use std::path::Path;

use anyhow::Context as _;

use crate::schemas;

/// Writes every schema into a folder.
///
/// # Errors
/// When a file cannot be written.
pub fn run(out: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("make the folder {}", out.display()))?;
    for (name, text) in schemas::all() {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}
