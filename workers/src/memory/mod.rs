//! Memories: short texts about a user, kept once each and found by meaning.
//!
//! Promise: a user's text is stored once however often it comes; adding never waits for the approximate index;
//! a search sees everything that is committed, indexed or not, and nothing that has expired.
//! Never compares vectors of two models and never shows one user's memories in another user's search.

mod add;
mod added;
mod found;
mod index;
pub mod indexer;
mod item;
mod known;
mod limits;
mod nearest;
mod options;
mod plan;
mod query;
mod quota;
pub mod schema;
mod search;
mod write;

pub use self::{
    add::AddMemories,
    added::{ItemAdded, MemoriesAdded},
    found::{FoundMemory, MemoriesFound},
    item::NewMemory,
    options::MemoryOptions,
    query::MemoryQuery,
    search::{SearchMemories, search},
};
