//! Searches: places from the built-in index and memories of users, answered from the cache where possible.
//!
//! Promise: equal searches share one cached answer; every answer says whether the cache gave it and how old
//! it is, and leaves one row in `search_results`. A memory search never shares its answer across users.

pub mod memories;
pub mod places;
mod record;

pub(crate) use self::record::milliseconds;
pub use self::{
    memories::{MemoriesRecalled, RecallMemories},
    places::{FindBy, PlacesFound, SearchPlaces},
    record::{Reading, SearchRecord},
};
