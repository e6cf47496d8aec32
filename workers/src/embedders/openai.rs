//! Embeds texts by any endpoint that speaks OpenAI's embeddings API: OpenAI, text-embeddings-inference, Ollama, vLLM.
//! Promise: requests within the API's limits, a few at a time, retried by its rules; one text that the API refuses
//! costs only itself its vector.
//! Never repeats what cannot succeed (a wrong key, an exhausted quota) and never shows the key.

mod address;
mod batch;
mod error_body;
mod exchange;
mod pacing;
mod retry;
mod scrub;
mod solve;
mod verdict;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub use pacing::Pacing;

use super::{EmbedError, Embedded, Failure};
use solve::Solver;

/// Where and how to get embeddings.
#[derive(Clone)]
pub struct OpenAiConfig {
    /// The API's root, as `https://api.openai.com/v1`; `/embeddings` is added to it.
    pub base_url: Url,
    /// Sent as bearer token; servers of one's own may need none.
    pub api_key: Option<SecretString>,
    /// Sent as `OpenAI-Organization`.
    pub organization: Option<String>,
    /// The model's name at the endpoint.
    pub model: String,
    /// Values in each vector; an answer of another size is an error.
    pub dimensions: usize,
    /// Whether to ask for `dimensions`: models that cannot shorten their vectors refuse the field.
    pub send_dimensions: bool,
    /// For one request, from connecting to the last byte.
    pub timeout: Duration,
    /// Tries after the first, for each request.
    pub max_retries: u32,
    /// Texts in one request; at most 2048 are sent whatever this says.
    pub max_batch_inputs: usize,
    /// Requests in flight at a time, over all callers of this embedder.
    pub max_parallel: usize,
}

/// What to do where a key is missing.
const SET_KEY: &str = "no key is set: set TRIPSAGE_EXTERNAL_OPENAI_API_KEY, or use a model on this machine by TRIPSAGE_MEM0_EMBEDDER=local";

impl OpenAiConfig {
    /// Whether the endpoint is OpenAI's own service, which answers nobody without a key, and there is none.
    #[must_use]
    pub fn lacks_key(&self) -> bool {
        self.has_no_key() && self.base_url.host_str().is_some_and(|host| host.ends_with("api.openai.com"))
    }

    fn has_no_key(&self) -> bool {
        self.api_key.as_ref().is_none_or(|key| key.expose_secret().is_empty())
    }
}

// A URL may hold a password, so only its host is shown.
impl fmt::Debug for OpenAiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAiConfig")
            .field("provider", &address::provider(&self.base_url))
            .field("model", &self.model)
            .field("dimensions", &self.dimensions)
            .finish_non_exhaustive()
    }
}

/// A client of one embeddings endpoint. Cheap to clone: clones share connections and the limit on requests.
#[derive(Debug, Clone)]
pub struct OpenAiEmbedder {
    solver: Arc<Solver>,
}

impl OpenAiEmbedder {
    /// A client with the real clock and timer. Connects when it is first used.
    ///
    /// # Errors
    /// When the base URL cannot carry a path or a header value is not one.
    pub fn new(config: OpenAiConfig) -> Result<Self, EmbedError> {
        Self::with_pacing(config, Pacing::system())
    }

    /// A client whose time and chance are the caller's.
    ///
    /// # Errors
    /// As [`OpenAiEmbedder::new`].
    pub fn with_pacing(config: OpenAiConfig, pacing: Pacing) -> Result<Self, EmbedError> {
        Ok(Self { solver: Arc::new(Solver::new(config, pacing)?) })
    }

    /// Embeds `texts`; see [`Embedder::embed`](super::Embedder::embed). The first request that fails as a whole
    /// ends the call; those still in flight are dropped.
    ///
    /// # Errors
    /// When the provider fails or refuses the request as such; at once where OpenAI's own service is asked without a key.
    pub async fn embed(&self, texts: &[String]) -> Result<Embedded, EmbedError> {
        self.check_key()?;
        let batches = batch::batches(texts, self.solver.batch_limit());
        let solutions: Vec<_> = batches.into_iter().map(|batch| self.solver.solve(texts, batch)).collect();
        let mut vectors: Vec<_> = texts.iter().map(|text| batch::refusal(text).map(Err)).collect();
        let mut tokens = 0;
        let mut done = stream::iter(solutions).buffer_unordered(self.solver.config().max_parallel.max(1));
        while let Some(solution) = done.try_next().await? {
            tokens += solution.tokens;
            for (place, result) in solution.results {
                vectors[place] = Some(result);
            }
        }
        let settled = |result: Option<_>| result.expect("every text is refused at once or part of one batch");
        Ok(Embedded { vectors: vectors.into_iter().map(settled).collect(), tokens })
    }

    fn check_key(&self) -> Result<(), EmbedError> {
        let config = self.solver.config();
        if !config.lacks_key() {
            return Ok(());
        }
        let (provider, message) = (address::provider(&config.base_url), SET_KEY.to_owned());
        Err(EmbedError::Permanent { failure: Failure { provider, status: None, request_id: None, message } })
    }

    /// The model's name at the endpoint.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.solver.config().model
    }

    /// How many values each vector has.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.solver.config().dimensions
    }
}
