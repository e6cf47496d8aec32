//! The edge to Dragonfly: the only place that names its client library; its Lua scripts stand beside it.
//!
//! Promise: only commands and options that Dragonfly has; every script's keys are declared and share one
//! hash tag. Each script has one Rust function of the same name, its only caller.

mod add;
mod beat;
mod budget;
mod cancel;
mod connection;
pub mod dead_letters;
mod enqueue;
mod fitness;
mod free;
mod generation;
mod govern;
mod group;
mod hasten;
mod keyspace;
mod note;
mod partition;
mod peek;
mod promote;
mod pubsub;
mod pulse;
mod reclaim;
pub mod redrive;
mod register;
mod release;
pub mod replay;
mod replicas;
mod reply;
pub mod sampling;
mod script;
mod settle;
pub mod sightings;
mod strays;
mod submit;
mod tag_lock;
mod take;
mod version;

#[cfg(test)]
pub(crate) use self::pulse::Sent;
pub use self::{
    budget::Budgets,
    cancel::{Cancelling, Place, cancel},
    connection::{Address, BrokerError, BrokerErrorKind, COMMAND_TIMEOUT, Connection},
    dead_letters::StoredLetter,
    enqueue::{Door, Due, Enqueue, Enqueued},
    fitness::Fitness,
    free::free,
    generation::{Memory, mark_memory, memory},
    govern::{govern, policies},
    hasten::hasten,
    keyspace::Expiring,
    partition::{Deaths, Entry, EntryId, Partition},
    promote::Promoted,
    pubsub::{Message, Publisher, Scope, Subscriber},
    pulse::{Pulse, SILENT_AFTER, Silence},
    reclaim::Reclaimed,
    redrive::Redrive,
    register::{QueueTags, register, registered},
    release::Held,
    replay::Replayed,
    replicas::{Replicas, Writes},
    sampling::Depths,
    settle::{Finish, SettleContext, Settled, Settling, Verb},
    strays::Stray,
    submit::Submitter,
    take::Taken,
    version::ServerVersion,
};
pub(crate) use self::{enqueue::with_lane, pulse::warn_unless_silent};

/// The target of the client library's log lines. It tells of every connection that is lost; the roles say what follows.
pub const CLIENT: &str = "fred";

/// The most deliveries that one script call handles: a script holds up its thread, so it stays short.
pub const MAX_PER_SCRIPT: usize = 128;
