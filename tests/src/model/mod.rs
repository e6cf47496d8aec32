//! The service as a model small enough that every order of events can be tried: two workers, three jobs, and a few things
//! that go wrong anywhere.
//!
//! Promise: what the scripts and transactions do in one step is one step here ([`actions`] has the table), so that a crash,
//! a pause or a loss of memory can come between any two. [`properties`] are the invariants of ARCHITECTURE.md; each way to
//! break the [`Service`] that is written down is caught by one of them, which shows that they say something. Never talks to
//! a server: that the scripts do what the model says is shown by `tests/it/sequences.rs`.

pub mod actions;
pub mod explorer;
pub mod properties;
pub mod service;
pub mod state;

pub use self::{
    explorer::{Counterexample, Explored, explore},
    properties::{Property, Sight},
    service::Service,
    state::{Durability, State},
};
