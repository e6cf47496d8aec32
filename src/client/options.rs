//! Where and how jobs are submitted, and what "accepted" then means.

use std::time::Duration;

use crate::{
    broker::{Address, Scope},
    keys::Keys,
    policy::Durability,
};

/// Where and how to submit.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Where Dragonfly is.
    pub address: Address,
    /// What every key begins with.
    pub keys: Keys,
    /// How completions are published.
    pub scope: Scope,
    /// What "accepted" means.
    pub guarantees: Guarantees,
}

impl ClientOptions {
    /// A server under ordinary circumstances.
    pub fn new(address: Address, keys: Keys) -> Self {
        Self { address, keys, scope: Scope::Global, guarantees: Guarantees::default() }
    }
}

/// What has to be so before a job counts as accepted.
#[derive(Clone, Copy, Debug)]
pub struct Guarantees {
    /// How safe jobs are of queues for which no operator has decided it.
    pub durability: Durability,
    /// How many replicas have a job of a replicated queue.
    pub min_replicas: u32,
    /// How long they are waited for.
    pub replicas_within: Duration,
}

impl Default for Guarantees {
    /// Memory alone; a replica, for a second, where an operator asks for replication.
    fn default() -> Self {
        Self { durability: Durability::Memory, min_replicas: 1, replicas_within: Duration::from_secs(1) }
    }
}
