//! Everything that needs a server, in one binary: it links once and runs side by side.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic")]

mod embedders;
mod jobs;
mod outages;
