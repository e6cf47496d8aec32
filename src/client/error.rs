//! Why a job was not accepted, or may have been all the same.

use std::time::Duration;

use crate::{
    broker::{BrokerError, BrokerErrorKind},
    job::{JobId, QueueName},
    store::StoreError,
};

/// Why a job was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The payload is not what the kind expects.
    #[error("submit a job: {0}")]
    Invalid(String),
    /// The server refused it: it was not accepted.
    #[error("submit a job: refused: {0}")]
    Refused(#[source] BrokerError),
    /// The server did not answer: it may or may not have been accepted. Submit the same again.
    #[error(
        "submit a job: no answer, so it may or may not have been accepted; submitting the same id again is safe: {0}"
    )]
    Unknown(#[source] BrokerError),
    /// The queue holds as much as it may: it was not accepted. Submit it again later.
    #[error("submit a job: the queue `{queue}` is full; it may have room in {retry_after:?}, submit it again then")]
    Busy {
        /// Which queue.
        queue: QueueName,
        /// When it is worth trying again, by the rate at which jobs left lately.
        retry_after: Duration,
    },
    /// The queue takes no new jobs: it was not accepted.
    #[error("submit a job: the queue `{0}` takes no new jobs now; an operator has closed it")]
    Closed(QueueName),
    /// It is in the server's memory, yet too few replicas said in time that they have it: it may be lost with the server.
    #[error(
        "submit a job: it was added, but {got} of {wanted} replicas have it for certain; submitting the same id again is safe"
    )]
    NotReplicated {
        /// How many replicas were to have it.
        wanted: u32,
        /// How many have it.
        got: u32,
    },
    /// Another job has its dedup key: it was not accepted.
    #[error("submit a job: the job {owner} has the same dedup key and is not done yet, or its window is still open")]
    Duplicate {
        /// Which job.
        owner: JobId,
    },
    /// The queue's jobs are journaled, and this client has no Postgres: it was not accepted.
    #[error(
        "submit a job: the jobs of the queue `{0}` are journaled, and this client knows no Postgres: give it one (`Client::with_journal`), or enqueue in SQL (`select tripsage.enqueue(…)`)"
    )]
    NoJournal(QueueName),
    /// More is being journaled than Postgres can take in time: nothing was written. Submit it again later.
    #[error(
        "submit a job: the journal is busy, so nothing was written; its turn may come in {retry_after:?}, submit it again then"
    )]
    JournalBusy {
        /// When it is worth trying again, by how long submissions took lately.
        retry_after: Duration,
    },
    /// Postgres did not take it: it was not accepted.
    #[error("submit a job: not journaled, so not accepted: {0}")]
    NotJournaled(#[source] StoreError),
    /// Postgres did not answer: it may or may not have been accepted. Submit the same again.
    #[error(
        "submit a job: no answer from Postgres, so it may or may not have been accepted; submitting the same id again is safe: {0}"
    )]
    MaybeJournaled(#[source] StoreError),
    /// No completion came in time. The job goes on.
    #[error("await a completion: none came within {0:?}; the job goes on, and its result will be in job_results")]
    TimedOut(Duration),
}

impl From<BrokerError> for SubmitError {
    fn from(error: BrokerError) -> Self {
        match error.kind() {
            BrokerErrorKind::Unreachable => Self::Unknown(error),
            _ => Self::Refused(error),
        }
    }
}
