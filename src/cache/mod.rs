//! The cache: what was found once is not looked for again while it is worth keeping.
//!
//! [`Cache::get_or_load`] is the door. A fresh value is a hit. A stale one answers at once and is refreshed
//! behind the caller's back, once in the whole fleet. A miss is loaded, once in this process however many ask.
//! Promise: a cache that is slow, full or gone costs time, never an answer. Never keeps an error, and never
//! holds a caller for longer than its patience with the server and its own loading take.

#[allow(clippy::module_inception, reason = "the cache's own file among those of its parts")]
mod cache;
mod cached;
mod flights;
mod name;
mod policy;
mod refresh;
mod sealed;
mod shelf;

pub use self::{
    cache::{Cache, CacheOptions},
    cached::{Cached, Outcome},
    name::{CacheName, NameError, params_hash},
    policy::{Content, Freshness, Lifetime, Policy},
};
