//! How each scenario is played, by what the fault is done to.

pub(super) mod brokers;
pub(super) mod databases;
pub(super) mod jobs;
pub(super) mod networks;
pub(super) mod workers;
