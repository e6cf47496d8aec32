//! Reads durations from whole numbers, in the unit that the variable's name ends with.
//! Never guesses a unit.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// A duration from whole seconds; for `#[serde(deserialize_with = …)]`.
///
/// # Errors
/// When the value is no whole number.
pub fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_secs)
}

/// A duration from whole milliseconds; for `#[serde(deserialize_with = …)]`.
///
/// # Errors
/// When the value is no whole number.
pub fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}
