//! workers
pub mod commands;
pub mod settings;
