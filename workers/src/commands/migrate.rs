//! `tripsage migrate`: the database's schema, brought up to date.

use anyhow::bail;
use engine::store::Store;

use crate::{app::App, cli::MigrateArgs};

/// Brings the schema up to date, or takes it back, or says what is missing.
///
/// # Errors
/// Which migration failed and why.
pub async fn run(app: &App, args: &MigrateArgs) -> anyhow::Result<()> {
    let store = app.store().await?;
    if args.check {
        let state = store.migration_state().await?;
        if !state.missing.is_empty() {
            bail!("missing: {}", state.missing.join(", "));
        }
        println!("the schema is up to date");
        return Ok(());
    }
    if let Some(version) = args.down_to {
        store.migrate_down(version).await?;
        println!("taken back to {version}");
        return Ok(());
    }
    up(app, &store).await?;
    println!("the schema is up to date");
    Ok(())
}

/// Applies what is missing.
///
/// # Errors
/// Which migration failed and why.
pub async fn up(app: &App, store: &Store) -> anyhow::Result<()> {
    let applied = store.migrate().await?;
    if !applied.is_empty() {
        tracing::info!(migrations = applied.join(", "), "the schema is migrated");
    }
    let _ = app;
    Ok(())
}
