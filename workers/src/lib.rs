//! workers

pub mod embedders;
