//! Everything that needs a server, in one binary: it links once and runs side by side.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod cli;
mod docs;
mod embedders;
mod housekeeping;
mod jobs;
mod layers;
