//! The harness of the tests that need servers.
//!
//! Promise: every test has a database and a key prefix of its own, so that all run side by side; servers
//! come from the environment, or are brought up for the run. Nothing here sleeps for luck: what has to
//! happen is waited for, with a deadline.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a harness may panic: that is how a test fails")]

mod binary;
pub mod chaos;
mod clients;
pub mod conformance;
pub mod fakes;
mod fixture;
mod manners;
pub mod model;
mod proxy;
mod redis_server;
pub mod resp;
mod servers;
mod wait;
mod worker;

pub use self::{
    binary::{Said, WorkerProcess, bare, binary, file, said},
    clients::Clients,
    fixture::{Fixture, database, empty_database},
    manners::Manners,
    proxy::{Proxy, authority},
    redis_server::RedisServer,
    servers::{Servers, repository},
    wait::{Pace, eventually, patience},
    worker::{RunningWorker, WorkerOptions},
};
