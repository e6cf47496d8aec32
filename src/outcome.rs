//! What a handler says of an attempt, and the record kept of one that failed.
//!
//! In a job `?` means "try again"; anything else is said: [`JobError::discard`], [`JobError::snooze`].

use std::{borrow::Cow, error::Error, fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// Why an attempt did not end in a result, and what to do about it.
///
/// It is no `std::error::Error` itself, so that every error converts into it with `?`.
pub struct JobError {
    action: Action,
    class: Cow<'static, str>,
    source: Box<dyn Error + Send + Sync>,
}

/// What to do after an attempt without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Try again by the kind's retry policy, no sooner than the time given (a provider's Retry-After).
    Retry {
        /// The shortest wait.
        after: Option<Duration>,
    },
    /// Not now: run again after this time, at no cost of an attempt.
    Snooze(Duration),
    /// Never again: to the dead letters at once.
    Discard,
}

impl JobError {
    /// An error after which the job is tried again by its kind's policy.
    pub fn retry(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { action: Action::Retry { after: None }, class: Cow::Borrowed("error"), source: source.into() }
    }

    /// An error after which trying again cannot help: the job goes to the dead letters.
    pub fn discard(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { action: Action::Discard, class: Cow::Borrowed("refused"), source: source.into() }
    }

    /// Not now: the job runs again after `delay`; this costs no attempt.
    pub fn snooze(delay: Duration) -> Self {
        Self { action: Action::Snooze(delay), class: Cow::Borrowed("snoozed"), source: "snoozed".into() }
    }

    /// Waits at least `delay` before the next attempt.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.action = Action::Retry { after: Some(delay) };
        self
    }

    /// Names the error's class: one short word from a closed set, for filters and metrics.
    #[must_use]
    pub fn class(mut self, class: &'static str) -> Self {
        self.class = Cow::Borrowed(class);
        self
    }

    /// Its class, as [`Self::class`] named it.
    pub fn class_name(&self) -> &str {
        &self.class
    }

    /// What is to be done.
    pub fn action(&self) -> Action {
        self.action
    }

    /// The record of this failure, with the error's whole chain of sources.
    pub fn record(&self, attempt: u32, at_ms: u64, worker: &str) -> AttemptError {
        AttemptError {
            attempt,
            at_ms,
            class: self.class.to_string(),
            chain: chain(&*self.source),
            worker: worker.to_owned(),
        }
    }
}

impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({}): {}", self.action, self.class, chain(&*self.source).join(": "))
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for JobError {
    fn from(source: E) -> Self {
        Self::retry(source)
    }
}

/// `?` followed by a word: what a failed `Result` in a job shall mean.
pub trait OrElse<T> {
    /// The error sends the job to the dead letters.
    ///
    /// # Errors
    /// The error itself, as a [`JobError`].
    fn discard(self) -> Result<T, JobError>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> OrElse<T> for Result<T, E> {
    fn discard(self) -> Result<T, JobError> {
        self.map_err(JobError::discard)
    }
}

fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        // Many errors say their source themselves.
        if !texts.iter().any(|said| said.contains(&text)) {
            texts.push(text);
        }
        next = source.source();
    }
    texts
}

/// One failed attempt, as it is kept in the envelope, the dead letter and the completion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AttemptError {
    /// Which attempt it was; the first is 1.
    pub attempt: u32,
    /// When it failed, milliseconds since 1970.
    pub at_ms: u64,
    /// A short word for filters: `error`, `timeout`, `panic`, `refused`, …
    #[serde(default)]
    pub class: String,
    /// The error and its sources, outermost first.
    pub chain: Vec<String>,
    /// The worker that ran it.
    #[serde(default)]
    pub worker: String,
}

/// How a job ended, as its completion says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Its result is committed.
    Done,
    /// Its handler or its deadline ruled out another try; it is among the dead letters.
    Failed,
    /// An operator or a producer took it back; its result says so and nothing else of it is kept.
    Cancelled,
    /// Given up: attempts used up, its worker crashed too often, or it could not be read. It is among the dead letters.
    Dead,
}

impl Status {
    /// The word used on the wire and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::fmt::Error);

    fn asks(error: impl Into<JobError>) -> JobError {
        error.into()
    }

    #[test]
    fn a_question_mark_means_retry_and_keeps_the_whole_chain() {
        let error = asks(Outer(std::fmt::Error));
        assert_eq!(error.action(), Action::Retry { after: None });
        let record = error.record(2, 7, "w");
        assert_eq!(record.chain.len(), 2);
        assert_eq!(record.chain[0], "outer");
    }

    #[test]
    fn discard_and_snooze_say_so() {
        assert_eq!(JobError::discard("no").action(), Action::Discard);
        let delay = Duration::from_secs(3);
        assert_eq!(JobError::snooze(delay).action(), Action::Snooze(delay));
        assert_eq!(JobError::retry("x").after(delay).action(), Action::Retry { after: Some(delay) });
    }
}
