//! What an operator has decided about a queue: how safe "accepted" is, whether it runs, how much it may hold.
//!
//! Promise: every field has a default, so that an older or newer worker reads what another wrote. Pure.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What has to survive before a job counts as accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// It is in Dragonfly's memory.
    #[default]
    Memory,
    /// It is in the memory of Dragonfly and of enough replicas.
    Replicated,
    /// It is a row in Postgres: it survives Dragonfly losing its memory.
    Journaled,
}

impl Durability {
    /// Every level, the weakest first.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Replicated, Self::Journaled];

    /// The word used in settings, on the command line and in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Replicated => "replicated",
            Self::Journaled => "journaled",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no durability.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no durability; expected memory, replicated or journaled")]
pub struct BadDurability(String);

impl FromStr for Durability {
    type Err = BadDurability;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|level| level.as_str() == text);
        found.ok_or_else(|| BadDurability(text.to_owned()))
    }
}

/// What is decided about one queue; absent means: as the settings say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// What has to survive before a job counts as accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
    /// Nothing is started; what runs goes on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Since when it is paused, milliseconds since 1970 by the server's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_since_ms: Option<u64>,
    /// New jobs are answered BUSY; what is there is run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// The most jobs that may be waiting, delayed or running, over all partitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<u64>,
    /// The most bytes that they may take in Dragonfly's memory, over all partitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// How many of its jobs one worker runs at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

impl Policy {
    /// The most jobs and bytes that one of `n_partitions` may hold, rounded up.
    pub fn share(&self, n_partitions: usize) -> (Option<u64>, Option<u64>) {
        let n = u64::try_from(n_partitions.max(1)).unwrap_or(1);
        (self.max_depth.map(|depth| depth.div_ceil(n)), self.max_bytes.map(|bytes| bytes.div_ceil(n)))
    }

    /// Whether a producer has to ask before it adds a job.
    pub fn limits_producers(&self) -> bool {
        self.closed || self.max_depth.is_some() || self.max_bytes.is_some()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_policy_says_only_what_was_decided_and_reads_what_it_does_not_know() {
        assert_eq!(serde_json::to_string(&Policy::default()).unwrap(), "{}");
        let read: Policy = serde_json::from_str(r#"{"paused":true,"newer":1}"#).unwrap();
        assert_eq!(read, Policy { paused: true, ..Policy::default() });
    }

    #[test]
    fn every_durability_is_read_back_and_another_word_is_refused_by_name() {
        for level in Durability::ALL {
            assert_eq!(level.to_string().parse::<Durability>().unwrap(), level);
        }
        assert!("disk".parse::<Durability>().unwrap_err().to_string().contains("`disk`"));
    }

    #[test]
    fn partitions_share_a_budget_and_never_get_less_than_it() {
        let policy = Policy { max_depth: Some(10), ..Policy::default() };
        assert_eq!(policy.share(4), (Some(3), None));
        assert!(policy.limits_producers() && !Policy::default().limits_producers());
    }
}
