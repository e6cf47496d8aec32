//! How a search for places is answered when the cache has no answer.
//!
//! Promise: the best first, a place once. `auto` asks for the meaning only where no code and no whole name fits;
//! what the names gave stays before what the meaning gave.

use std::collections::HashSet;

use engine::{outcome::JobError, store::Store};

use super::{
    FindBy, PlacesState, SearchPlaces,
    nearest::{NearestError, nearest},
};
use crate::{
    embedders::Embedder,
    failure::{NOT_LOADED, embedder_failed, store_failed},
    places::{FoundPlace, MatchedBy, PlaceIndex, PlaceQuery},
};

/// The places that a search finds.
pub(super) async fn find(
    store: &Store,
    embedder: &Embedder,
    places: &PlacesState,
    search: &SearchPlaces,
) -> Result<Vec<FoundPlace>, JobError> {
    if search.by == FindBy::Meaning {
        return nearest(store, embedder, search).await.map_err(|error| said(error, places));
    }
    let named = by_name(search);
    let fits = |place: &FoundPlace| matches!(place.matched_by, MatchedBy::Code | MatchedBy::Name);
    if search.by == FindBy::Name || named.iter().any(fits) {
        return Ok(named);
    }
    match nearest(store, embedder, search).await {
        Ok(meant) => Ok(joined(named, meant, search.limit as usize)),
        Err(NearestError::NotLoaded { .. } | NearestError::Input(_)) => Ok(named),
        Err(other) => Err(said(other, places)),
    }
}

fn by_name(search: &SearchPlaces) -> Vec<FoundPlace> {
    let query = PlaceQuery { text: search.query.clone(), kind: search.kind, country: search.country.clone() };
    let hits = PlaceIndex::get().find(&query, search.limit as usize);
    hits.into_iter().map(FoundPlace::from).collect()
}

fn joined(named: Vec<FoundPlace>, meant: Vec<FoundPlace>, limit: usize) -> Vec<FoundPlace> {
    let mut seen = HashSet::new();
    named.into_iter().chain(meant).filter(|place| seen.insert(place.id)).take(limit).collect()
}

fn said(error: NearestError, places: &PlacesState) -> JobError {
    match error {
        NearestError::Store(error) => store_failed(&error),
        NearestError::Embed(error) => embedder_failed(&error),
        NearestError::NotLoaded { .. } if places.is_coming() => {
            let why = places.check().err().unwrap_or_else(|| "their table has just been loaded".to_owned());
            JobError::retry(why).class(NOT_LOADED)
        }
        NearestError::NotLoaded { .. } => JobError::discard(error.to_string()).class(NOT_LOADED),
        NearestError::Input(error) => JobError::discard(error).class("input"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_both_gave_comes_once_and_names_come_first() {
        let named = by_name(&SearchPlaces { limit: 3, ..SearchPlaces::new("Lisb") });
        let mut meant = named.clone();
        meant.rotate_left(1);
        meant.extend(by_name(&SearchPlaces { limit: 2, ..SearchPlaces::new("Reykjavik") }));
        let both = joined(named.clone(), meant, 4);
        assert_eq!(both.len(), 4);
        assert_eq!(both[..3], named);
        assert_eq!(both[3].name, "Reykjavík");
    }
}
