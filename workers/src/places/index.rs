//! The built-in index of places, read once from the data compiled into the binary.
//!
//! Promise: cities come largest first, then airports by code; a position never changes while the
//! process lives. Never touches the network or a file.

use std::sync::OnceLock;

use super::atlas::{self, Area, Country};
use super::names::NameTable;
use super::place::Place;
use super::place_id::{IataCode, PlaceId};

const CITIES: &str = include_str!("../../data/cities.tsv");
const AIRPORTS: &str = include_str!("../../data/airports.tsv");

/// Every place, with what finds it by code, name and id.
#[derive(Debug)]
pub struct PlaceIndex {
    pub(crate) countries: &'static [Country],
    pub(crate) places: Vec<Place>,
    pub(crate) names: NameTable,
    /// Positions in `places`, sorted by id.
    by_id: Vec<u16>,
    /// Cities with a code that their airports share, sorted by it.
    shared_codes: Vec<(IataCode, u16)>,
}

impl PlaceIndex {
    /// The index. The first call reads it, which takes a fraction of a second.
    pub fn get() -> &'static Self {
        static INDEX: OnceLock<PlaceIndex> = OnceLock::new();
        INDEX.get_or_init(Self::read)
    }

    /// All places: cities, the largest first, then airports by code.
    pub fn all(&self) -> impl ExactSizeIterator<Item = &Place> {
        self.places.iter()
    }

    /// The place with this id.
    pub fn by_id(&self, id: PlaceId) -> Option<&Place> {
        self.position_of(id).map(|at| &self.places[usize::from(at)])
    }

    pub(crate) fn position_of(&self, id: PlaceId) -> Option<u16> {
        let found = self.by_id.binary_search_by_key(&id, |&at| self.places[usize::from(at)].id);
        found.ok().map(|found| self.by_id[found])
    }

    /// The airport with this code, else the city whose airports share it.
    pub(crate) fn position_of_code(&self, code: IataCode) -> Option<u16> {
        let shared = || self.shared_codes.binary_search_by_key(&code, |&(shared, _)| shared).ok();
        self.position_of(PlaceId::Iata(code)).or_else(|| shared().map(|found| self.shared_codes[found].1))
    }

    fn read() -> Self {
        let countries = Country::read_all();
        let areas = Area::read_all(countries);
        let n_rows = CITIES.lines().count() + AIRPORTS.lines().count() - 2;
        let mut places = Vec::with_capacity(n_rows);
        places.extend(atlas::rows(CITIES).map(|columns| read_city(areas, columns)));
        let names = NameTable::build([CITIES, AIRPORTS], places.len());
        places.extend(atlas::rows(AIRPORTS).map(|columns| read_airport(areas, columns)));
        let mut by_id: Vec<u16> = (0..).take(places.len()).collect();
        by_id.sort_unstable_by_key(|&at| places[usize::from(at)].id);
        let cities = (0..).zip(&places).filter(|(_, place)| matches!(place.id, PlaceId::Geonames(_)));
        let mut shared_codes: Vec<_> = cities.filter_map(|(at, place)| Some((place.iata?, at))).collect();
        shared_codes.sort_unstable();
        Self { countries, places, names, by_id, shared_codes }
    }
}

fn read_city(
    areas: &'static [Area],
    [id, name, _, area, latitude, longitude, population, airports, iata]: [&'static str; 9],
) -> Place {
    Place {
        area: &areas[atlas::value::<usize>(area)],
        name,
        related: airports,
        latitude: atlas::value(latitude),
        longitude: atlas::value(longitude),
        number: atlas::value(population),
        id: PlaceId::Geonames(atlas::value(id)),
        iata: (!iata.is_empty()).then(|| atlas::value(iata)),
    }
}

fn read_airport(
    areas: &'static [Area],
    [iata, name, _, area, latitude, longitude, city, city_id]: [&'static str; 8],
) -> Place {
    let code = atlas::value(iata);
    Place {
        area: &areas[atlas::value::<usize>(area)],
        name,
        related: city,
        latitude: atlas::value(latitude),
        longitude: atlas::value(longitude),
        number: if city_id.is_empty() { 0 } else { atlas::value(city_id) },
        id: PlaceId::Iata(code),
        iata: Some(code),
    }
}
