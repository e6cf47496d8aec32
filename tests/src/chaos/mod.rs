//! The fault harness: real servers and worker processes, a load, one fault, and then the books.
//!
//! Promise: what is counted is read from Postgres, the completions and a table of side effects, never from what a
//! worker says of itself; what has to happen is waited for under a deadline; a scenario that fails keeps its logs.
//! Never ends a process that it did not start.

mod cluster;
mod database;
mod documents;
mod fleet;
mod judge;
mod kinds;
mod load;
mod report;
mod run;
mod scenario;
mod scenarios;
mod shim;
mod stage;
mod tally;
mod witness;
mod worker_process;

pub use self::{
    documents::write_into,
    report::{Line, table},
    run::{Plan, run_all},
    scenario::{SCENARIOS, Scenario},
    worker_process::{Spec, work},
};
