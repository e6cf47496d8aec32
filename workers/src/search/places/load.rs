//! Fills the table `places` with the built-in places and their vectors.
//!
//! Promise: loading what is loaded does nothing; an interrupted load is taken up where it stopped; two at once
//! take turns. While a load is under way searches go on by name alone.

use std::collections::HashMap;

use engine::store::{Statement, Store, StoreError, Tx, built, statement};

use super::{
    column::{build_index, drop_index, ensure, is_loaded},
    word,
};
use crate::{
    embedders::{EmbedError, Embedder, normalize},
    places::{Place, PlaceIndex},
    vector_type::VectorType,
};

/// Places embedded and written together.
const BATCH: usize = 512;

/// The advisory lock of loads: any number that nobody else uses in this database.
const LOAD_LOCK: i64 = 0x70_6c61_6365;

/// What a load did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Places in the table.
    pub places: usize,
    /// Of them, embedded by this load.
    pub embedded: usize,
    /// Of them, those that the model cannot embed: never found by meaning.
    pub without_vector: usize,
}

/// Why the table could not be loaded. Display reads after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Postgres could not be asked, or refused.
    #[error("load the table of places: {0}")]
    Store(#[from] StoreError),
    /// The embedder could not be asked, or refused.
    #[error("load the table of places: {0}")]
    Embed(#[from] EmbedError),
}

/// Loads every built-in place; `progress` hears how many of how many are done. Call it after the migrations.
///
/// # Errors
/// When Postgres or the embedder fails; what was written stays, and the next load goes on from there.
pub async fn load(
    store: &Store,
    embedder: &Embedder,
    progress: impl FnMut(usize, usize) + Send,
) -> Result<Loaded, LoadError> {
    let places: Vec<&Place> = PlaceIndex::get().all().collect();
    load_some(store, embedder, &places, progress).await
}

/// As [`load`], with these places alone; others leave the table.
///
/// # Errors
/// As there.
pub async fn load_some(
    store: &Store,
    embedder: &Embedder,
    places: &[&Place],
    progress: impl FnMut(usize, usize) + Send,
) -> Result<Loaded, LoadError> {
    let mut turn = begin_turn(store).await?;
    turn.execute(statement("select pg_advisory_xact_lock($1)").bind(LOAD_LOCK)).await?;
    let loaded = fill(store, embedder, places, progress).await?;
    turn.commit().await?;
    Ok(loaded)
}

/// Loads the table unless it can be searched already; gives whether it can be searched now: not while somebody else is at it.
pub(super) async fn try_load(store: &Store, embedder: &Embedder) -> Result<bool, LoadError> {
    let vector = VectorType::of(embedder.dimensions());
    if is_loaded(store, vector, embedder.model()).await? {
        return Ok(true);
    }
    let mut turn = begin_turn(store).await?;
    let lock = statement("select pg_try_advisory_xact_lock($1) as held").bind(LOAD_LOCK);
    let held = turn.fetch(lock).await?.first().map_or(Ok(false), |row| row.get("held"))?;
    if !held {
        return Ok(false);
    }
    // Whoever held the lock may have loaded it since the first look: what can be searched is not taken apart.
    if !is_loaded(store, vector, embedder.model()).await? {
        let places: Vec<&Place> = PlaceIndex::get().all().collect();
        fill(store, embedder, &places, |_, _| ()).await?;
    }
    turn.commit().await?;
    Ok(true)
}

/// Loads what is missing. Call it with the lock of loads held.
async fn fill(
    store: &Store,
    embedder: &Embedder,
    places: &[&Place],
    mut progress: impl FnMut(usize, usize) + Send,
) -> Result<Loaded, LoadError> {
    let vector = VectorType::of(embedder.dimensions());
    ensure(store, vector).await?;
    let descriptions = descriptions(store, embedder.model()).await?;
    let wanted = |place: &&&Place| descriptions.get(&place.id().to_string()) != Some(&place.description());
    let missing: Vec<&Place> = places.iter().filter(wanted).copied().collect();
    let is_whole = missing.is_empty() && descriptions.len() == places.len();
    let mut loaded = Loaded { places: places.len(), ..Loaded::default() };
    if is_whole && is_loaded(store, vector, embedder.model()).await? {
        return Ok(loaded);
    }
    clear_others(store, places, embedder.model()).await?;
    for batch in missing.chunks(BATCH) {
        loaded.without_vector += write(store, embedder, batch).await?;
        loaded.embedded += batch.len();
        progress(places.len() - missing.len() + loaded.embedded, places.len());
    }
    build_index(store, vector).await?;
    Ok(loaded)
}

/// The lock of loads is held until the load ends, on a connection of its own.
async fn begin_turn(store: &Store) -> Result<Tx, StoreError> {
    let mut turn = store.begin().await?;
    turn.without_time_limit().await?;
    Ok(turn)
}

/// What the table has of this model: descriptions by id.
async fn descriptions(store: &Store, model: &str) -> Result<HashMap<String, String>, StoreError> {
    let select = statement("select id, description from places where model = $1").bind(model.to_owned());
    store.fetch(select).await?.iter().map(|row| Ok((row.get("id")?, row.get("description")?))).collect()
}

/// Takes the index away, then every row that is of another model or not among these places.
async fn clear_others(store: &Store, places: &[&Place], model: &str) -> Result<(), StoreError> {
    let ids: Vec<String> = places.iter().map(|place| place.id().to_string()).collect();
    let mut tx = store.begin().await?;
    drop_index(&mut tx).await?;
    let others = "delete from places where model <> $1 or not id = any ($2)";
    tx.execute(statement(others).bind(model.to_owned()).bind(ids)).await?;
    tx.commit().await
}

/// Embeds and writes a batch; gives how many have no vector.
async fn write(store: &Store, embedder: &Embedder, batch: &[&Place]) -> Result<usize, LoadError> {
    let texts: Vec<String> = batch.iter().map(|place| normalize(&place.description())).collect();
    let embedded = embedder.embed(&texts).await?.vectors;
    let has_vector: Vec<bool> = embedded.iter().map(Result::is_ok).collect();
    let none = vec![0.0; embedder.dimensions()];
    let flat: Vec<f32> = embedded.into_iter().flat_map(|vector| vector.unwrap_or_else(|_| none.clone())).collect();
    let without_vector = has_vector.iter().filter(|has| !**has).count();
    store.execute(upsert(embedder, batch, flat, has_vector)).await?;
    Ok(without_vector)
}

/// Vectors travel as one flat binary array that Postgres cuts into rows: as text they cost several times as much.
fn upsert(embedder: &Embedder, batch: &[&Place], flat: Vec<f32>, has_vector: Vec<bool>) -> Statement {
    let (dimensions, vector) = (embedder.dimensions(), VectorType::of(embedder.dimensions()));
    let texts = |of: fn(&Place) -> String| batch.iter().map(|place| of(place)).collect::<Vec<String>>();
    let sql = format!(
        "insert into places (id, name, kind, country_code, description, model, embedding) \
         select n.id, n.name, n.kind, n.country_code, n.description, $6, case when n.has_vector then \
         ($7::real[])[(n.place::int - 1) * {dimensions} + 1 : n.place::int * {dimensions}]::{vector} end \
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $8::bool[]) with ordinality \
         as n (id, name, kind, country_code, description, has_vector, place) \
         on conflict (id) do update set name = excluded.name, kind = excluded.kind, country_code = excluded.country_code, \
         description = excluded.description, model = excluded.model, embedding = excluded.embedding"
    );
    built(sql)
        .bind(texts(|place| place.id().to_string()))
        .bind(texts(|place| place.name().to_owned()))
        .bind(texts(|place| word(place.kind()).to_owned()))
        .bind(texts(|place| place.country_code().to_owned()))
        .bind(texts(Place::description))
        .bind(embedder.model().to_owned())
        .bind(flat)
        .bind(has_vector)
}
