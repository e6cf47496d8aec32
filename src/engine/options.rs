//! How a worker works, and why it cannot start.

use std::time::Duration;

use crate::{
    broker::{Address, BrokerError, Scope, ServerVersion},
    completion::Format,
    keys::Keys,
    queue::Queue,
    retry_budget::RetryLimits,
};

/// How a worker works.
#[derive(Clone, Debug)]
pub struct Options {
    /// The worker's name, unique in the fleet: its consumer in every group.
    pub worker: String,
    /// Where Dragonfly is.
    pub address: Address,
    /// What every key begins with.
    pub keys: Keys,
    /// The queues to work on.
    pub queues: Vec<Queue>,
    /// The server's shard threads, for placing partitions.
    pub server_threads: u16,
    /// A worker whose heart was not heard for this long is dead.
    pub lease: Duration,
    /// How long running handlers may go on after stopping began.
    pub drain: Duration,
    /// How often a job's worker may die before the job is given up.
    pub max_crashes: u32,
    /// The largest envelope that is run.
    pub max_payload_bytes: usize,
    /// The largest result that travels inside its completion.
    pub inline_result_bytes: usize,
    /// How completions are written.
    pub completion_format: Format,
    /// How completions are published.
    pub scope: Scope,
    /// How long completions can be replayed.
    pub completion_retention: Duration,
    /// The most jobs a settlement.
    pub settle_batch: usize,
    /// After how long dead letters are forgotten; none keeps them.
    pub dead_retention: Option<Duration>,
    /// How much of each queue's work may be second tries.
    pub retry_limits: RetryLimits,
}

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Dragonfly cannot be reached or refuses.
    #[error("reach Dragonfly at {at}: {source}")]
    Broker {
        /// Host and port.
        at: String,
        /// What it said.
        #[source]
        source: BrokerError,
    },
    /// The server lacks what we use.
    #[error(
        "use the server at {at}: it is {} {}, whose streams speak like Redis {}.{}; expected Dragonfly, or Redis or Valkey 6.2 or later",
        version.product, version.version, version.compatible.0, version.compatible.1
    )]
    TooOld {
        /// Host and port.
        at: String,
        /// What it is.
        version: ServerVersion,
    },
    /// The server may delete what waits.
    #[error("use the server at {at}: {refusal}")]
    Unfit {
        /// Host and port.
        at: String,
        /// What is wrong, and what to do.
        refusal: String,
    },
}
