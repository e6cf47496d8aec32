//! A job on its way in.

use std::time::Duration;

use serde::Serialize;

use super::error::SubmitError;
use crate::{
    envelope::{Envelope, Options, encode_payload},
    handler::{BatchJob, Job},
    job::{Kind, QueueName},
};

/// A job to submit.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Which queue it waits in.
    pub queue: QueueName,
    /// The job, its id given already.
    pub envelope: Envelope,
    /// Not before this long from now, by the server's clock.
    pub delay: Option<Duration>,
}

impl Submission {
    /// A job.
    ///
    /// # Errors
    /// When its payload cannot be represented or is refused by its own check.
    pub fn job<J: Job>(job: &J) -> Result<Self, SubmitError> {
        job.validate().map_err(SubmitError::Invalid)?;
        Self::of(Kind::from_static(J::KIND), J::QUEUE, job)
    }

    /// A batch job.
    ///
    /// # Errors
    /// As [`Submission::job`].
    pub fn batch_job<J: BatchJob>(job: &J) -> Result<Self, SubmitError> {
        job.validate().map_err(SubmitError::Invalid)?;
        Self::of(Kind::from_static(J::KIND), J::QUEUE, job)
    }

    /// A job whose type is not at hand.
    ///
    /// # Errors
    /// When its payload cannot be represented.
    pub fn of<P: Serialize>(kind: Kind, queue: QueueName, payload: &P) -> Result<Self, SubmitError> {
        let payload = encode_payload(payload).map_err(|error| SubmitError::Invalid(error.to_string()))?;
        Ok(Self { queue, envelope: Envelope::new(kind, payload, Options::default()), delay: None })
    }

    /// The same with these options.
    #[must_use]
    pub fn with(mut self, options: Options) -> Self {
        self.envelope.options = options;
        self
    }

    /// The same after a delay.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }
}
