//! Places whose description means something like a text.
//!
//! Promise: approximate through the HNSW index over all places; exact among the places of one country. Never
//! compares vectors of two models.

use engine::store::{Row, Statement, Store, StoreError, built, statement};

use super::{SearchPlaces, column::is_loaded, word};
use crate::{
    embedders::{EmbedError, Embedder, InputError, normalize},
    places::{FoundPlace, MatchedBy, PlaceId, PlaceIndex},
    vector_type::VectorType,
};

/// Why places cannot be found by meaning. Display reads after "failed to".
#[derive(Debug, thiserror::Error)]
pub(super) enum NearestError {
    /// Postgres could not be asked, or refused.
    #[error("search places: {0}")]
    Store(#[from] StoreError),
    /// The embedder could not be asked, or refused.
    #[error("search places: {0}")]
    Embed(#[from] EmbedError),
    /// The model cannot embed this text.
    #[error("search places: {0}")]
    Input(InputError),
    /// The table holds nothing, or vectors of another model.
    #[error(
        "search places by meaning: the table of places is not loaded for the model {model}; run `tripsage migrate` \
         with an embedder that can be reached, which loads it, or search by name"
    )]
    NotLoaded {
        /// The model in use.
        model: String,
    },
}

/// The nearest places, the best first.
pub(super) async fn nearest(
    store: &Store,
    embedder: &Embedder,
    search: &SearchPlaces,
) -> Result<Vec<FoundPlace>, NearestError> {
    let (model, vector) = (embedder.model(), VectorType::of(embedder.dimensions()));
    if !is_loaded(store, vector, model).await? {
        return Err(NearestError::NotLoaded { model: model.to_owned() });
    }
    let embedded = embedder.embed(&[normalize(&search.query)]).await?;
    let found = embedded.vectors.into_iter().next().unwrap_or(Err(InputError::Empty));
    let query = found.map_err(NearestError::Input)?;
    let mut tx = store.begin().await?;
    tx.fetch(statement(SCAN_SETTINGS)).await?;
    let rows = tx.fetch(select(search, query, model, vector)).await?;
    tx.commit().await?;
    Ok(rows.iter().filter_map(|row| found_place(row).transpose()).collect::<Result<_, _>>()?)
}

/// For this transaction alone. The cast loads pgvector, which defines the settings.
const SCAN_SETTINGS: &str = "\
select '[1]'::vector, set_config('hnsw.ef_search', '100', true), set_config('hnsw.iterative_scan', 'relaxed_order', true)";

/// One country has few places: comparing them all is exact and no slower. The whole world goes by the index,
/// which only the bare operator in the order can use.
fn select(search: &SearchPlaces, query: Vec<f32>, model: &str, vector: VectorType) -> Statement {
    const WANTED: &str = "model = $2 and ($3::text is null or kind = $3) and ($4::text is null or country_code = $4) \
                          and embedding is not null";
    let distance = format!("embedding <=> $1::real[]::{vector}");
    let near = match search.country {
        Some(_) => format!(
            "all_there as materialized (select id, {distance} as distance from places where {WANTED}), \
             near as (select * from all_there order by distance, id limit $5)"
        ),
        None => format!(
            "near as materialized (select id, {distance} as distance from places where {WANTED} order by {distance} limit $5)"
        ),
    };
    built(format!("with {near} select id, distance from near order by distance + 0, id"))
        .bind(query)
        .bind(model.to_owned())
        .bind(search.kind.map(word))
        .bind(search.country.as_ref().map(|code| code.to_ascii_uppercase()))
        .bind(i64::from(search.limit))
}

/// The place of a row; none of one that this build's index does not have.
fn found_place(row: &Row) -> Result<Option<FoundPlace>, StoreError> {
    let (id, distance): (String, f64) = (row.get("id")?, row.get("distance")?);
    let place = id.parse::<PlaceId>().ok().and_then(|id| PlaceIndex::get().by_id(id));
    #[allow(clippy::cast_possible_truncation, reason = "a score has few digits that matter")]
    let score = (1.0 - distance).clamp(0.0, 1.0) as f32;
    Ok(place.map(|place| FoundPlace::new(place, score, MatchedBy::Meaning)))
}
