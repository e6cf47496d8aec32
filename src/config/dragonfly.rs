//! The Dragonfly settings, which a Redis or Valkey server satisfies too.
//! Never connects; never lets production point at its own machine.

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use super::draft::{Draft, Section};
use super::environment::Environment;
use super::server_url::ServerUrl;
use super::units::{millis, seconds};
use super::variable::{Group, Shape, Variable};

/// Settings under `TRIPSAGE_DRAGONFLY_`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dragonfly {
    /// The server; its database number is the path.
    pub url: ServerUrl,
    /// The password, where the URL carries none.
    pub password: Option<SecretString>,
    /// Ceiling for all connections of this process.
    pub max_connections: u32,
    /// Connections in the shared pool.
    pub pool_size: u32,
    /// The server's shard threads, over which partitions are placed.
    pub thread_count: u16,
    /// Life of short-lived entries.
    #[serde(deserialize_with = "seconds")]
    pub ttl_short: Duration,
    /// Life of ordinary entries.
    #[serde(deserialize_with = "seconds")]
    pub ttl_medium: Duration,
    /// Life of long-lived entries.
    #[serde(deserialize_with = "seconds")]
    pub ttl_long: Duration,
    /// Life of entries that hardly ever change.
    #[serde(deserialize_with = "seconds")]
    pub ttl_ultra_long: Duration,
    /// How many replicas have a job of a replicated queue before it counts as accepted.
    pub min_replicas: u32,
    /// How long they are waited for.
    #[serde(rename = "wait_ms", deserialize_with = "millis")]
    pub wait: Duration,
    /// What every key begins with.
    pub key_prefix: String,
}

const SCHEMES: Shape = Shape::Address(&[
    "redis",
    "rediss",
    "redis-cluster",
    "rediss-cluster",
    "valkey",
    "valkeys",
    "valkey-cluster",
    "valkeys-cluster",
]);
const TTL: Shape = Shape::Integer { min: 1, max: 31_536_000 };
const TTLS: [&str; 4] = ["ttl_short", "ttl_medium", "ttl_long", "ttl_ultra_long"];
const PREFIX_CHARACTERS: usize = 64;

impl Section for Dragonfly {
    const GROUP: &'static Group = &Group {
        section: "dragonfly",
        prefix: "TRIPSAGE_DRAGONFLY_",
        title: "Dragonfly",
        variables: &[
            Variable::new("url", SCHEMES, "the server; DRAGONFLY_URL, then REDIS_URL stand in when unset")
                .required()
                .fallbacks(&["DRAGONFLY_URL", "REDIS_URL"]),
            Variable::new("password", Shape::Secret, "the password, where the URL carries none"),
            Variable::new(
                "max_connections",
                Shape::Integer { min: 1, max: 50_000 },
                "ceiling for all connections of a process",
            ),
            Variable::new("pool_size", Shape::Integer { min: 1, max: 1000 }, "connections in the shared pool")
                .unset("one per core, 2 to 10"),
            Variable::new(
                "thread_count",
                Shape::Integer { min: 1, max: 16 },
                "the server's shard threads; places partitions",
            ),
            Variable::new("ttl_short", TTL, "life of short-lived entries, in seconds"),
            Variable::new("ttl_medium", TTL, "life of ordinary entries, in seconds"),
            Variable::new("ttl_long", TTL, "life of long-lived entries, in seconds"),
            Variable::new("ttl_ultra_long", TTL, "life of entries that hardly ever change, in seconds"),
            Variable::new(
                "min_replicas",
                Shape::Integer { min: 1, max: 5 },
                "how many replicas have a job of a replicated queue before it counts as accepted",
            ),
            Variable::new(
                "wait_ms",
                Shape::Integer { min: 10, max: 60_000 },
                "how long they are waited for, in milliseconds",
            ),
            Variable::new(
                "key_prefix",
                Shape::Text,
                "what every key begins with; up to 64 characters, no braces, spaces or wildcards",
            ),
        ],
    };

    fn check(&self, draft: &mut Draft) {
        let name = |field| Self::GROUP.name(field);
        if draft.environment() == Environment::Production && self.url.is_local() {
            draft.problem(&[name("url")], "points at localhost, which production refuses; name the Dragonfly server");
        }
        if self.password.as_ref().is_some_and(|password| self.url.contradicts(password)) {
            draft.problem(
                &[name("url"), name("password")],
                "contradict: they carry different passwords; keep one of them",
            );
        }
        if self.pool_size > self.max_connections {
            draft.problem(
                &[name("pool_size"), name("max_connections")],
                format!(
                    "contradict: a pool of {} does not fit under {} connections",
                    self.pool_size, self.max_connections
                ),
            );
        }
        self.check_ttls(draft);
        let unfit =
            |character: char| character.is_whitespace() || character.is_control() || "{}*?[]\\".contains(character);
        if self.key_prefix.chars().count() > PREFIX_CHARACTERS || self.key_prefix.chars().any(unfit) {
            draft.problem(
                &[name("key_prefix")],
                "is unfit for keys; expected up to 64 characters without {}, spaces or the wildcards *?[]\\",
            );
        }
    }
}

impl Dragonfly {
    fn check_ttls(&self, draft: &mut Draft) {
        let ttls = [self.ttl_short, self.ttl_medium, self.ttl_long, self.ttl_ultra_long];
        for (n, pair) in ttls.windows(2).enumerate() {
            if let ([shorter, longer], Some([short, long])) = (pair, TTLS.get(n..n + 2))
                && shorter > longer
            {
                let text = format!("contradict: {} s is longer than {} s", shorter.as_secs(), longer.as_secs());
                draft.problem(&[Self::GROUP.name(short), Self::GROUP.name(long)], text);
            }
        }
    }
}
