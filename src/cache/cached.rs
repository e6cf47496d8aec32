//! What the cache answers: a value, where it came from, how old it is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The cache had it, fresh.
    Hit,
    /// The cache had it, past its soft expiry; it is refreshed meanwhile.
    Stale,
    /// It was loaded.
    Miss,
    /// It was loaded: the cache is switched off.
    Off,
}

impl Outcome {
    /// The word used on the wire and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Off => "off",
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub outcome: Outcome,
    /// Since when the cache has it; zero of what was loaded just now.
    pub age: Duration,
}

impl<T> Cached<T> {
    /// A value that was loaded just now.
    pub(super) fn loaded(value: T, outcome: Outcome) -> Self {
        Self { value, outcome, age: Duration::ZERO }
    }
}
