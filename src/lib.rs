//! The engine: jobs, queues, caches and completions on Dragonfly streams and Postgres.
//!
//! It knows nothing of travel. Four layers, and a module uses only its own layer or a lower one:
//! *words* (pure), *edges* (Dragonfly, Postgres, settings, telemetry), *roles* (loops and clients),
//! *assembly* (`engine`).

// words
pub mod completion;
pub mod dedup;
pub mod envelope;
pub mod job;
pub mod keys;
pub mod letter;
pub mod outcome;
pub mod partition;
pub mod policy;
pub mod progress;
pub mod queue;
pub mod retry;
pub mod retry_budget;
pub mod schedule;

// edges
pub mod broker;
pub mod clock;
pub mod config;
pub mod cycles;
pub mod shutdown;
pub mod store;
pub mod telemetry;

// roles
mod admission;
pub mod cache;
mod cancellations;
pub mod client;
mod collector;
pub mod completions;
mod consumer;
pub mod dead_letters;
mod executor;
mod expirer;
mod finder;
mod gate;
pub mod handler;
mod heart;
mod holding;
pub mod listener;
mod observer;
pub mod operator;
mod placer;
mod promoter;
mod reclaimer;
mod reconciler;
mod registrar;
pub mod registry;
mod relay;
mod reporter;
mod runner;
mod sampler;
mod settlement;
mod settler;
mod slots;
mod solitude;
mod sweeper;
mod ticker;

// assembly
pub mod engine;
pub mod http;
