//! The engine: jobs, queues, caches and completions on Dragonfly streams and Postgres.
//!
//! It knows nothing of travel. Four layers, and a module uses only its own layer or a lower one:
//! *words* (pure), *edges* (Dragonfly, Postgres, settings, telemetry), *roles* (loops and clients),
//! *assembly* ([`engine`](crate::engine)).

// words
pub mod completion;
pub mod envelope;
pub mod job;
pub mod keys;
pub mod outcome;
pub mod partition;
pub mod queue;
pub mod retry;

// edges
pub mod broker;
pub mod shutdown;
pub mod store;
