//! One request to the API, sent until it is answered, refused, or not worth another try.
//! Promise: pauses as `retry` says, bounds the requests in flight, and gives every failure provider, status and
//! request id.
//! Never shows the key, follows a redirect with it, or holds a place in flight while it pauses.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, StatusCode, Url, redirect};
use secrecy::ExposeSecret;
use tokio::sync::Semaphore;

use super::verdict::{Verdict, verdict};
use super::wire::{self, Answer, AnswerError, Request};
use super::{OpenAiConfig, Pacing, SET_KEY, address, error_body, retry, scrub};
use crate::embedders::{EmbedError, Failure};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The connection to one endpoint.
#[derive(Debug)]
pub(super) struct Exchange {
    client: Client,
    endpoint: Url,
    provider: String,
    config: OpenAiConfig,
    pacing: Pacing,
    in_flight: Semaphore,
}

/// A request that failed for good or for now.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    pub(super) verdict: Verdict,
    pub(super) failure: Failure,
    wish: Option<Duration>,
}

impl From<Failed> for EmbedError {
    fn from(failed: Failed) -> Self {
        let Failed { verdict, failure, wish: retry_after } = failed;
        match verdict {
            Verdict::Retry | Verdict::Later => Self::Retryable { failure, retry_after },
            _ => Self::Permanent { failure },
        }
    }
}

impl Exchange {
    pub(super) fn new(config: OpenAiConfig, pacing: Pacing) -> Result<Self, EmbedError> {
        let provider = address::provider(&config.base_url);
        let permanent = |message: String| EmbedError::Permanent {
            failure: Failure { provider: provider.clone(), status: None, request_id: None, message },
        };
        let endpoint = address::endpoint(&config.base_url).ok_or_else(|| {
            permanent("the base URL cannot carry a path; expected one like https://api.openai.com/v1".to_owned())
        })?;
        let headers = address::headers(&config).map_err(|what| {
            permanent(format!("the {what} holds characters that no HTTP header can; check for a line break"))
        })?;
        let client = Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(config.timeout)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| permanent(chain(&error)))?;
        let in_flight = Semaphore::new(config.max_parallel.max(1));
        Ok(Self { client, endpoint, provider, config, pacing, in_flight })
    }

    pub(super) fn config(&self) -> &OpenAiConfig {
        &self.config
    }

    /// Sends `texts` until an answer comes that no retry would better.
    pub(super) async fn post(&self, texts: &[&str]) -> Result<Answer, Failed> {
        let mut n_retries = 0;
        loop {
            let failed = match self.send(texts).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let Some(pause) = self.pause(&failed, n_retries) else {
                return Err(failed);
            };
            tracing::debug!(failure = %failed.failure, pause_ms = pause.as_millis(), "embeddings request is retried");
            (self.pacing.wait)(pause).await;
            n_retries += 1;
        }
    }

    /// How long to wait before another try, or nothing when there shall be none.
    fn pause(&self, failed: &Failed, n_retries: u32) -> Option<Duration> {
        let again = failed.verdict == Verdict::Retry && n_retries < self.config.max_retries;
        again.then(|| retry::pause(failed.wish, n_retries, (self.pacing.random)())).flatten()
    }

    async fn send(&self, texts: &[&str]) -> Result<Answer, Failed> {
        let _place = self.in_flight.acquire().await.expect("the semaphore is never closed");
        let request = Request {
            model: &self.config.model,
            input: texts,
            encoding_format: "base64",
            dimensions: self.config.send_dimensions.then_some(self.config.dimensions),
        };
        let sent = self.client.post(self.endpoint.clone()).json(&request).send().await;
        let response = sent.map_err(|error| self.unanswered(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(|error| self.unanswered(&error))?;
        if !status.is_success() {
            return Err(self.refused(status, &headers, &body));
        }
        wire::read_answer(&body, texts.len(), self.config.dimensions)
            .map_err(|error| self.misread(status, &headers, &error))
    }

    /// No answer came, or only a part of one.
    fn unanswered(&self, error: &reqwest::Error) -> Failed {
        let verdict = if error.is_builder() { Verdict::Stop } else { Verdict::Retry };
        Failed { verdict, failure: self.failure(None, None, &chain(error)), wish: None }
    }

    /// The answer is an error.
    fn refused(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failed {
        let body = error_body::read_error(body);
        let verdict = verdict(status, &body, retry::should_retry(headers));
        let mut failure = self.failure(Some(status), request_id(headers), &body.message);
        if status == StatusCode::UNAUTHORIZED && self.config.has_no_key() {
            failure.message = format!("{}; {SET_KEY}", failure.message);
        }
        Failed { verdict, failure, wish: retry::wish(headers, (self.pacing.now)()) }
    }

    /// The answer says it is none, but cannot be used.
    fn misread(&self, status: StatusCode, headers: &HeaderMap, error: &AnswerError) -> Failed {
        let verdict = match error {
            // Something between us and the model spoke in its place, which passes.
            AnswerError::Undecodable(_) => Verdict::Later,
            AnswerError::Count { .. } | AnswerError::Dimensions { .. } => Verdict::Stop,
        };
        let failure = self.failure(Some(status), request_id(headers), &error.to_string());
        Failed { verdict, failure, wish: None }
    }

    fn failure(&self, status: Option<StatusCode>, request_id: Option<String>, message: &str) -> Failure {
        let key = self.config.api_key.as_ref().map(ExposeSecret::expose_secret);
        Failure {
            provider: self.provider.clone(),
            status: status.map(|status| status.as_u16()),
            request_id,
            message: scrub::scrub(message, key),
        }
    }
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    headers.get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned)
}

/// The error and its causes on one line, without the URL, which may hold a password.
fn chain(error: &reqwest::Error) -> String {
    let what = match error {
        error if error.is_timeout() => "no answer in time",
        error if error.is_connect() => "cannot connect",
        _ => "the connection failed",
    };
    let mut cause = std::error::Error::source(error);
    let mut causes = String::new();
    while let Some(error) = cause {
        causes = format!("{causes}: {error}");
        cause = error.source();
    }
    format!("{what}{causes}")
}
