//! What a search asks and what it gives back, as it goes over the wire.
//!
//! Promise: additions to these types are optional. Never borrows from the index once it is a `FoundPlace`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::place::{Place, PlaceKind};
use super::place_id::PlaceId;

/// What is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlaceQuery {
    /// A code, a name or the beginning of one, perhaps with the region or country after it: "CDG", "paris texas".
    pub text: String,
    /// Only places of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<PlaceKind>,
    /// Only places in the country with this ISO 3166-1 code, two letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
}

impl PlaceQuery {
    /// A query for `text` alone, without filters.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// Why a place was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MatchedBy {
    /// The text is its IATA code.
    Code,
    /// The text is one of its names.
    Name,
    /// One of its names has a word from which on it begins with the text.
    Prefix,
    /// One of its names differs from the text by a slip or two.
    Fuzzy,
    /// Its description means something like the text: given by a vector search, never by the index itself.
    Meaning,
}

/// A place found in the index.
#[derive(Debug, Clone, Copy)]
pub struct PlaceHit<'a> {
    /// The place.
    pub place: &'a Place,
    /// From 0 to 1; orders hits, the larger place first among equals.
    pub score: f32,
    /// Why it was found.
    pub matched_by: MatchedBy,
}

/// A found place with its facts, owned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FoundPlace {
    /// The stable id.
    pub id: PlaceId,
    /// City or airport.
    pub kind: PlaceKind,
    /// The name in Latin letters, with accents.
    pub name: String,
    /// State, province or region, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// ISO 3166-1 code of the country.
    pub country_code: String,
    /// English name of the country.
    pub country: String,
    /// Degrees north.
    pub latitude: f32,
    /// Degrees east.
    pub longitude: f32,
    /// Inhabitants of a city.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<u32>,
    /// An airport's IATA code, or the one that a city's airports share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iata: Option<String>,
    /// The time zone's name in the tz database.
    pub timezone: String,
    /// From 0 to 1, higher is better.
    pub score: f32,
    /// Why it was found.
    pub matched_by: MatchedBy,
}

impl FoundPlace {
    /// The owned form of `place`, found with this score for this reason.
    pub fn new(place: &Place, score: f32, matched_by: MatchedBy) -> Self {
        Self {
            id: place.id(),
            kind: place.kind(),
            name: place.name().to_owned(),
            region: place.region().map(str::to_owned),
            country_code: place.country_code().to_owned(),
            country: place.country().to_owned(),
            latitude: place.latitude(),
            longitude: place.longitude(),
            population: place.population(),
            iata: place.iata().map(|code| code.as_str().to_owned()),
            timezone: place.timezone().to_owned(),
            score,
            matched_by,
        }
    }
}

impl From<PlaceHit<'_>> for FoundPlace {
    fn from(hit: PlaceHit<'_>) -> Self {
        Self::new(hit.place, hit.score, hit.matched_by)
    }
}
