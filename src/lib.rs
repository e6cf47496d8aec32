//! engine
pub mod config;
pub mod telemetry;
