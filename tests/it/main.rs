//! Everything that needs a server, in one binary: it links once and runs side by side.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic")]

mod cache;
mod chaos;
mod cli;
mod compose;
mod connections;
mod consumers;
mod control;
mod dead;
mod delays;
mod demo;
mod docs;
mod dragonfly;
mod embedders;
mod enqueue;
mod fitness;
mod housekeeping;
mod jobs;
mod journal;
mod layers;
mod memory;
mod model;
mod outages;
mod ownership;
mod retries;
mod schedules;
mod search;
mod sequences;
mod settlements;
mod settler;
mod silence;
mod suspects;
