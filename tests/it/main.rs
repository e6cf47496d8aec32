//! Everything that needs a server, in one binary: it links once and runs side by side.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic")]

mod cache;
mod cli;
mod demo;
mod docs;
mod dragonfly;
mod embedders;
mod enqueue;
mod housekeeping;
mod jobs;
mod layers;
mod memory;
mod outages;
mod ownership;
mod search;
