//! How a worker process takes, runs and settles jobs.
//! Never holds a queue's own policy: that comes with its job kinds.

use std::time::Duration;

use serde::Deserialize;

use super::draft::{Draft, Section};
use super::dragonfly::Dragonfly;
use super::units::{millis, seconds};
use super::variable::{Group, Shape, Variable};
use crate::policy::Durability;

/// Settings under `TRIPSAGE_WORKER_`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// The queues that this process works on; empty means all.
    pub queues: Vec<String>,
    /// Running jobs per queue.
    pub concurrency: u32,
    /// Partitions per queue as set; 0 means one per server thread. Use [`Worker::partitions`].
    #[serde(rename = "partitions")]
    pub partitions_set: u16,
    /// Silence after which a worker counts as dead.
    #[serde(rename = "lease_ms", deserialize_with = "millis")]
    pub lease: Duration,
    /// How long a stopping worker lets running jobs finish.
    #[serde(rename = "drain_seconds", deserialize_with = "seconds")]
    pub drain: Duration,
    /// Worker deaths that a job may be present at before it goes to the dead letters.
    pub max_crashes: u32,
    /// Largest envelope that is accepted, in bytes.
    pub max_payload_bytes: usize,
    /// Largest result that travels inside its completion, in bytes.
    pub inline_result_bytes: usize,
    /// How completions are written.
    pub completion_format: CompletionFormat,
    /// How long completions can be replayed.
    #[serde(rename = "completion_retention_seconds", deserialize_with = "seconds")]
    pub completion_retention: Duration,
    /// Most outcomes in one settlement.
    pub settle_batch: usize,
    /// Retries that a success earns its queue.
    pub retry_budget_ratio: f64,
    /// Retries that each second earns a queue.
    pub retry_budget_per_second: u32,
    /// Days after which dead letters are forgotten; 0 keeps them.
    pub dead_retention_days: u32,
    /// What "accepted" means for queues that say nothing themselves.
    pub durability: Durability,
}

/// How completions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CompletionFormat {
    /// MessagePack, named fields.
    Msgpack,
    /// JSON text.
    Json,
}

impl Worker {
    /// Partitions per queue: as set, or one per shard thread of the server.
    #[must_use]
    pub fn partitions(&self, dragonfly: &Dragonfly) -> u16 {
        if self.partitions_set == 0 { dragonfly.thread_count } else { self.partitions_set }
    }
}

const FORMATS: Shape = Shape::Choice { served: &["msgpack", "json"], reserved: &[] };
const DURABILITIES: Shape = Shape::Choice { served: &["memory", "replicated", "journaled"], reserved: &[] };

impl Section for Worker {
    const GROUP: &'static Group = &Group {
        section: "worker",
        prefix: "TRIPSAGE_WORKER_",
        title: "Worker",
        variables: &[
            Variable::new("queues", Shape::List, "queues to work on").unset("all"),
            Variable::new("concurrency", Shape::Integer { min: 1, max: 10_000 }, "running jobs per queue")
                .unset("64 per core, fewer where memory is short"),
            Variable::new(
                "partitions",
                Shape::Integer { min: 0, max: 64 },
                "partitions per queue; 0 is one per server thread",
            ),
            Variable::new(
                "lease_ms",
                Shape::Integer { min: 1000, max: 60_000 },
                "silence after which a worker counts as dead",
            ),
            Variable::new(
                "drain_seconds",
                Shape::Integer { min: 1, max: 600 },
                "time for running jobs to finish at a stop",
            ),
            Variable::new(
                "max_crashes",
                Shape::Integer { min: 1, max: 10 },
                "worker deaths, one of them while it ran alone, after which a job is a dead letter; more spare what is killed from outside",
            ),
            Variable::new(
                "max_payload_bytes",
                Shape::Integer { min: 1024, max: 16_777_216 },
                "largest job that is accepted",
            ),
            Variable::new(
                "inline_result_bytes",
                Shape::Integer { min: 0, max: 1_048_576 },
                "largest result inside a completion",
            ),
            Variable::new("completion_format", FORMATS, "how completions are written"),
            Variable::new(
                "completion_retention_seconds",
                Shape::Integer { min: 60, max: 604_800 },
                "how long completions can be replayed",
            ),
            Variable::new("settle_batch", Shape::Integer { min: 1, max: 2048 }, "most outcomes in one settlement"),
            Variable::new(
                "retry_budget_ratio",
                Shape::Decimal { min: 0.0, max: 1.0 },
                "retries that each success allows a queue; beyond, waits are stretched",
            ),
            Variable::new(
                "retry_budget_per_second",
                Shape::Integer { min: 1, max: 10_000 },
                "retries a second that are allowed a queue in any case, each worker",
            ),
            Variable::new(
                "dead_retention_days",
                Shape::Integer { min: 0, max: 3650 },
                "days after which dead letters are forgotten, with what is in them; 0 keeps them",
            ),
            Variable::new("durability", DURABILITIES, "what has to survive before a job counts as accepted"),
        ],
    };

    fn check(&self, _draft: &mut Draft) {}
}
