//! What identifies a job: its id, its kind and its priority.
//!
//! Promise: every value of these types is well formed; text from outside becomes one only through a check.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

/// The id of a job: a UUID, version 7 when we make it, so that ids sort by the time of submission.
///
/// On the wire it is text in every format; sixteen bytes are understood too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, schemars::JsonSchema)]
#[serde(transparent)]
pub struct JobId(pub Uuid);

impl Serialize for JobId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdVisitor)
    }
}

struct IdVisitor;

impl serde::de::Visitor<'_> for IdVisitor {
    type Value = JobId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a UUID, as text or as 16 bytes")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<JobId, E> {
        text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Other("text that is no UUID"), &self))
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<JobId, E> {
        Uuid::from_slice(bytes).map(JobId).map_err(|_| E::invalid_length(bytes.len(), &self))
    }
}

impl JobId {
    /// A new id for a job submitted now.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of an entry that came without one: the same entry gives the same id at every delivery.
    ///
    /// `stream_ms` is the time part of the stream entry's id; `identity` names stream and entry.
    pub fn derived(stream_ms: u64, identity: &[u8]) -> Self {
        let high = twox_hash::XxHash64::oneshot(1, identity);
        let low = twox_hash::XxHash64::oneshot(2, identity);
        let mut random = [0_u8; 10];
        random[..8].copy_from_slice(&high.to_be_bytes());
        random[8..].copy_from_slice(&low.to_be_bytes()[..2]);
        Self(uuid::Builder::from_unix_timestamp_millis(stream_ms, &random).into_uuid())
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// What a job does: lower-case words joined by dots, such as `memory.add`; `.v2` marks a later version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Kind(Cow<'static, str>);

impl Kind {
    /// The kind of a job type; the registry checks its form when the type is registered.
    pub const fn from_static(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The kind without its version suffix, and the version (1 where none is named).
    pub fn base_and_version(&self) -> (&str, u32) {
        let parsed = self.0.rsplit_once(".v").and_then(|(base, digits)| Some((base, digits.parse().ok()?)));
        parsed.unwrap_or((&self.0, 1))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that is not a name: what it was and what was expected.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{text}` is not a name: expected 1 to {max} characters, lower-case letters, digits, `_`{dots}, beginning with a letter"
)]
pub struct BadName {
    text: String,
    max: usize,
    dots: &'static str,
}

fn well_formed(text: &str, max: usize, dots: bool) -> bool {
    let starts_with_letter = text.starts_with(|c: char| c.is_ascii_lowercase());
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || (dots && c == '.');
    starts_with_letter && text.len() <= max && text.chars().all(allowed) && !text.contains("..") && !text.ends_with('.')
}

const MAX_KIND: usize = 64;
const MAX_QUEUE: usize = 32;

impl FromStr for Kind {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if well_formed(text, MAX_KIND, true) {
            return Ok(Self(Cow::Owned(text.to_owned())));
        }
        let shown = text.chars().take(MAX_KIND).collect();
        Err(BadName { text: shown, max: MAX_KIND, dots: " and dots" })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A family of kinds with its own streams, concurrency and retry policy, such as `search`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct QueueName(Cow<'static, str>);

impl QueueName {
    /// A queue named in code; the registry checks its form when a job is registered.
    pub const fn from_static(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for QueueName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if well_formed(text, MAX_QUEUE, false) {
            return Ok(Self(Cow::Owned(text.to_owned())));
        }
        let shown = text.chars().take(MAX_QUEUE).collect();
        Err(BadName { text: shown, max: MAX_QUEUE, dots: "" })
    }
}

impl<'de> Deserialize<'de> for QueueName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Which of a partition's three streams a job waits in; earlier ones are served first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Served before the others, save for a small share that keeps the others moving.
    High,
    /// Where a job goes that names no priority.
    #[default]
    Normal,
    /// Served when nothing else waits, and by the small share that keeps it moving.
    Low,
}

impl Priority {
    /// All three, in the order in which they are served.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The name used in keys and envelopes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// 1 for high, 2 for normal, 3 for low: the index into a script's KEYS.
    pub const fn lane(self) -> u8 {
        self as u8 + 1
    }

    /// The priority whose lane this is; any other number counts as normal.
    pub const fn from_lane(lane: u8) -> Self {
        match lane {
            1 => Self::High,
            3 => Self::Low,
            _ => Self::Normal,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_same_entry_always_gets_the_same_id() {
        let first = JobId::derived(1_700_000_000_000, b"s/1700000000000-0");
        assert_eq!(first, JobId::derived(1_700_000_000_000, b"s/1700000000000-0"));
        assert_ne!(first, JobId::derived(1_700_000_000_000, b"s/1700000000000-1"));
        assert_eq!(first.0.get_version_num(), 7);
    }

    #[test]
    fn names_are_checked() {
        assert!("memory.add".parse::<Kind>().is_ok());
        for bad in ["", "Memory", "1x", "a..b", "a.", "a b", &"x".repeat(65)] {
            assert!(bad.parse::<Kind>().is_err(), "{bad}");
        }
        assert!("search".parse::<QueueName>().is_ok());
        assert!("sea.rch".parse::<QueueName>().is_err());
    }

    #[test]
    fn a_kinds_version_is_its_suffix() {
        assert_eq!("memory.add.v3".parse::<Kind>().unwrap().base_and_version(), ("memory.add", 3));
        assert_eq!("memory.add".parse::<Kind>().unwrap().base_and_version(), ("memory.add", 1));
    }

    #[test]
    fn lanes_and_priorities_agree() {
        for priority in Priority::ALL {
            assert_eq!(Priority::from_lane(priority.lane()), priority);
        }
    }
}
