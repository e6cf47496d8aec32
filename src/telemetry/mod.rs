//! What is told to operators: metrics and logs.

pub mod logs;
pub mod metrics;
mod rolling_file;
