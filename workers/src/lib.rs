//! TripSage's background jobs: search, memories, cache warming.
//!
//! The engine runs them; this crate says what they are.

pub mod app;
pub mod cache;
pub mod cli;
pub mod commands;
pub mod context;
pub mod diagnostics;
pub mod embedders;
mod failure;
pub mod kinds;
pub mod memory;
pub mod places;
pub mod queues;
pub mod schemas;
pub mod search;
pub mod settings;
mod vector_type;
