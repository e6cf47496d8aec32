//! One real place: a city of at least 15,000 inhabitants, or an airport with an IATA code.
//!
//! Promise: every fact comes from the data files. Never changes after it was read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::atlas::{Area, Country};
use super::place_id::{IataCode, PlaceId};

/// What a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlaceKind {
    /// A city or town.
    City,
    /// An airport with an IATA code.
    Airport,
}

/// One place, its texts borrowed from the binary itself: 64 bytes each, for tens of thousands are kept.
#[derive(Debug)]
pub struct Place {
    pub(crate) area: &'static Area,
    pub(crate) name: &'static str,
    /// A city: codes of its airports, comma-separated. An airport: the name of the city it serves.
    pub(crate) related: &'static str,
    pub(crate) latitude: f32,
    pub(crate) longitude: f32,
    /// A city: its inhabitants. An airport: the GeoNames number of the city it serves, or 0.
    pub(crate) number: u32,
    pub(crate) id: PlaceId,
    pub(crate) iata: Option<IataCode>,
}

impl Place {
    /// The stable id.
    pub fn id(&self) -> PlaceId {
        self.id
    }

    /// City or airport.
    pub fn kind(&self) -> PlaceKind {
        match self.id {
            PlaceId::Geonames(_) => PlaceKind::City,
            PlaceId::Iata(_) => PlaceKind::Airport,
        }
    }

    /// The name in Latin letters, with accents: "São Paulo".
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// ISO 3166-1 code of the country, two capitals.
    pub fn country_code(&self) -> &'static str {
        self.area.country.code
    }

    /// English name of the country.
    pub fn country(&self) -> &'static str {
        self.area.country.name
    }

    /// State, province or region, where known.
    pub fn region(&self) -> Option<&'static str> {
        (!self.area.region.is_empty()).then_some(self.area.region)
    }

    /// Degrees north, WGS 84.
    pub fn latitude(&self) -> f32 {
        self.latitude
    }

    /// Degrees east, WGS 84.
    pub fn longitude(&self) -> f32 {
        self.longitude
    }

    /// Inhabitants of a city; none for an airport.
    pub fn population(&self) -> Option<u32> {
        (self.kind() == PlaceKind::City).then_some(self.number)
    }

    /// An airport's code, or the code that a city's airports share (`PAR`).
    pub fn iata(&self) -> Option<IataCode> {
        self.iata
    }

    /// The zone's name in the tz database.
    pub fn timezone(&self) -> &'static str {
        self.area.timezone
    }

    /// Codes of up to three airports within 60 km of a city, its own and international ones first.
    pub fn airports(&self) -> impl Iterator<Item = &'static str> {
        let codes = if self.kind() == PlaceKind::City { self.related } else { "" };
        codes.split(',').filter(|code| !code.is_empty())
    }

    /// The city that an airport serves, as the airport's own data names it.
    pub fn serves(&self) -> Option<&'static str> {
        (self.kind() == PlaceKind::Airport && !self.related.is_empty()).then_some(self.related)
    }

    /// The id of the city that an airport serves, where it is in the index.
    pub fn serves_id(&self) -> Option<PlaceId> {
        (self.kind() == PlaceKind::Airport && self.number != 0).then_some(PlaceId::Geonames(self.number))
    }

    /// Whether a city is its country's capital.
    pub fn is_capital(&self) -> bool {
        matches!((self.id, self.area.country.capital), (PlaceId::Geonames(own), Some(capital)) if own == capital)
    }

    pub(crate) fn in_country(&self) -> &'static Country {
        self.area.country
    }
}
