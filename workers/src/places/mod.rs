//! The built-in index of real places: some 34,000 cities and 7,900 airports, found without a key or a network.
//!
//! [`PlaceIndex::get`] gives the index; [`PlaceIndex::find`] finds by code and name, with accents, other
//! names and slips forgiven; [`Place::description`] says what is known of a place, to be embedded and
//! searched by meaning. The data and its licences are described in `workers/data/README.md`.
//! Never asks anything outside the binary.

mod atlas;
mod describe;
mod find;
mod fold;
mod found;
mod fuzzy;
mod index;
mod names;
mod place;
mod place_id;

#[cfg(test)]
mod tests;

pub use found::{FoundPlace, MatchedBy, PlaceHit, PlaceQuery};
pub use index::PlaceIndex;
pub use place::{Place, PlaceKind};
pub use place_id::{IataCode, PlaceId, PlaceIdError};
