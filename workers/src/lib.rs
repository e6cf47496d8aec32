//! TripSage's background jobs: search, memories, cache warming.
//!
//! The engine runs them; this crate says what they are.

pub mod commands;
pub mod context;
pub mod embedders;
pub mod places;
pub mod settings;
