//! workers

pub mod places;
