//! What a producer asks for when the same job might be submitted twice.
//!
//! Promise: a key always ends by itself, after its window at the latest. Pure.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest key, in bytes: it is part of a key's name.
pub const MAX_KEY_BYTES: usize = 512;

/// Jobs with the same key in the same queue are one job while the window is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Dedup {
    /// What makes two jobs the same; at most 512 bytes.
    pub key: String,
    /// How long the key lasts, milliseconds.
    pub window_ms: u64,
    /// What becomes of the second job.
    #[serde(default)]
    pub mode: Mode,
}

/// What becomes of a job whose key is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Mode {
    /// It is refused, and the refusal names the job that has the key.
    #[default]
    Reject,
    /// It is answered with the id of the job that has the key, as if accepted.
    Existing,
    /// It takes the place of the job that has the key while that still waits; one that runs is left alone, and this one comes after it.
    Replace,
    /// Each submission begins the window anew; the last one runs, once the window has passed quietly.
    Debounce,
    /// The first of a window runs; the others are answered with its id, even after it is done.
    Throttle,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 5] = [Self::Reject, Self::Existing, Self::Replace, Self::Debounce, Self::Throttle];

    /// The word used on the wire and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Existing => "existing",
            Self::Replace => "replace",
            Self::Debounce => "debounce",
            Self::Throttle => "throttle",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no mode.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no dedup mode; expected reject, existing, replace, debounce or throttle")]
pub struct BadMode(String);

impl FromStr for Mode {
    type Err = BadMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or_else(|| BadMode(text.to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_mode_left_out_is_reject_and_every_mode_is_read_back() {
        let dedup: Dedup = serde_json::from_str(r#"{"key":"k","window_ms":5}"#).unwrap();
        assert_eq!(dedup.mode, Mode::Reject);
        for mode in Mode::ALL {
            assert_eq!(mode.to_string().parse::<Mode>().unwrap(), mode);
        }
        assert!("drop".parse::<Mode>().unwrap_err().to_string().contains("`drop`"));
    }
}
