//! A queue as a worker runs it: how many jobs at once, over how many partitions.

use crate::job::QueueName;

/// One queue's share of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: QueueName,
    /// How many of its jobs this worker runs at the same time.
    pub concurrency: usize,
    /// How many partitions it should have; it never has fewer than it already got.
    pub n_partitions: u16,
}
