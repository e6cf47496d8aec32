//! `tripsage migrate`: the database's schema, brought up to date.

use anyhow::{Context as _, bail};
use engine::store::Store;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    app::App,
    cli::MigrateArgs,
    embedders::Embedder,
    memory,
    search::places::{LoadError, load},
};

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
    let embedder = app.embedder()?;
    up(app, &store).await?;
    memory::schema::ensure_vectors(&store, embedder.dimensions()).await?;
    if !args.skip_places {
        places(app, &store, &embedder).await?;
    }
    println!("the schema is up to date");
    Ok(())
}

/// Applies what is missing and tells `tripsage.enqueue` the kinds.
///
/// # Errors
/// Which migration failed and why.
pub async fn up(app: &App, store: &Store) -> anyhow::Result<()> {
    let applied = store.migrate().await?;
    if !applied.is_empty() {
        tracing::info!(migrations = applied.join(", "), "the schema is migrated");
    }
    let kinds = crate::kinds::queues_by_kind();
    Ok(store.know_kinds(&kinds, app.settings.worker.max_payload_bytes).await?)
}

/// What an embedder without a key means for places.
pub(super) const NO_KEY: &str = "no OpenAI key: places are found by name and code; for search by meaning, and for memories, set \
     TRIPSAGE_EXTERNAL_OPENAI_API_KEY, or TRIPSAGE_MEM0_EMBEDDER=local for a model on this machine";

/// Embeds the built-in places for search by meaning, those that the table lacks; half a minute the first time.
///
/// Where the chosen embedder has no key yet, or fails, search by meaning waits for it: names and codes are found without,
/// and workers load the places later.
///
/// # Errors
/// Why Postgres failed; the next call goes on where this one stopped.
pub async fn places(app: &App, store: &Store, embedder: &Embedder) -> anyhow::Result<()> {
    if app.lacks_key() {
        eprintln!("{NO_KEY}");
        return Ok(());
    }
    let bar = ProgressBar::no_length();
    bar.set_style(ProgressStyle::with_template("{spinner} embedding places {pos}/{len} {bar:40} {eta}")?);
    let told = |n_done: usize, n_places: usize| {
        bar.set_length(n_places as u64);
        bar.set_position(n_done as u64);
        if n_done == n_places {
            bar.set_style(
                ProgressStyle::with_template("{spinner} building the index of {len} places").expect("a good template"),
            );
            bar.enable_steady_tick(std::time::Duration::from_millis(200));
        }
    };
    let loaded = match load(store, embedder, told).await {
        Ok(loaded) => loaded,
        Err(LoadError::Embed(error)) => {
            bar.finish_and_clear();
            eprintln!(
                "places are found by name and code; workers load them for search by meaning later: failed to {error}"
            );
            return Ok(());
        }
        Err(LoadError::Store(error)) => return Err(error).context("load the table of places"),
    };
    bar.finish_and_clear();
    tracing::info!(places = loaded.places, embedded = loaded.embedded, "places can be found by meaning");
    Ok(())
}
