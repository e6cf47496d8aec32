//! The harness of the tests that need servers.
//!
//! Promise: every test has a database and a key prefix of its own, so that all run side by side; servers
//! come from the environment, or are brought up for the run. Nothing here sleeps for luck: what has to
//! happen is waited for, with a deadline.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a harness may panic: that is how a test fails")]

pub mod fakes;
mod fixture;
mod proxy;
mod servers;
mod wait;
mod worker;

pub use self::{
    fixture::Fixture,
    proxy::{Proxy, authority},
    servers::{Servers, repository},
    wait::eventually,
    worker::{RunningWorker, WorkerOptions},
};
