//! What can go wrong when texts are embedded, sorted by what the caller can do about it.
//! Promise: a text says provider, status and request id, so that it can be taken to the provider's support.
//! Never holds a key, a part of one, or a text that was to be embedded.

use std::fmt;
use std::time::Duration;

/// Why a whole call failed. Display reads after "failed to".
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EmbedError {
    /// The same call may work later: overload, rate limit, network.
    #[error("get embeddings from {failure}")]
    Retryable {
        /// What happened.
        failure: Failure,
        /// How long the provider asked to be left alone, if it said so.
        retry_after: Option<Duration>,
    },
    /// The same call will not work until somebody changes something: key, quota, model, dimensions.
    #[error("get embeddings from {failure}")]
    Permanent {
        /// What happened.
        failure: Failure,
    },
}

impl EmbedError {
    /// Whether the same call may work later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Retryable { .. })
    }

    /// How long the provider asked to be left alone, if it said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Retryable { retry_after, .. } => *retry_after,
            Self::Permanent { .. } => None,
        }
    }

    /// What happened.
    #[must_use]
    pub fn failure(&self) -> &Failure {
        match self {
            Self::Retryable { failure, .. } | Self::Permanent { failure } => failure,
        }
    }
}

/// What a provider said when it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The provider's host (and port), or the local model's name.
    pub provider: String,
    /// The HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// The provider's id of the request, when it gave one.
    pub request_id: Option<String>,
    /// The provider's words, shortened and free of keys.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.provider)?;
        match (self.status, &self.request_id) {
            (Some(status), Some(id)) => write!(f, " (HTTP {status}, request {id})")?,
            (Some(status), None) => write!(f, " (HTTP {status})")?,
            (None, _) => {}
        }
        write!(f, ": {}", self.message)
    }
}

/// Why one text has no vector. The other texts of its batch have theirs. Display reads after "failed to".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// Nothing but white space and control characters.
    #[error("embed an empty text; give it at least one word")]
    Empty,
    /// More than the model takes. `limit` says what it takes.
    #[error("embed a text of {size_bytes} bytes; the model takes {limit}: shorten or split it")]
    TooLong {
        /// The text's size.
        size_bytes: usize,
        /// The model's limit, in its own unit.
        limit: String,
    },
    /// The local model knows none of its tokens.
    #[error("embed a text in which the model knows no token; use words of a language it was trained on")]
    Unknown,
    /// The model's answer for this text has no direction (zero or not finite), so no index can hold it.
    #[error("embed a text that the model maps to no direction; rephrase it")]
    NoDirection,
    /// The provider refuses this very text, in its own words.
    #[error("embed a text that the provider refuses: {message}")]
    Refused {
        /// The provider's words, shortened and free of keys.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_provider_status_and_request() {
        let failure = Failure {
            provider: "api.openai.com".into(),
            status: Some(429),
            request_id: Some("req_1".into()),
            message: "slow down".into(),
        };
        let error = EmbedError::Retryable { failure, retry_after: Some(Duration::from_secs(3)) };
        assert_eq!(error.to_string(), "get embeddings from api.openai.com (HTTP 429, request req_1): slow down");
        assert!(error.is_retryable());
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
    }
}
