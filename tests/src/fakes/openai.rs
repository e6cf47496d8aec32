//! A strict stand-in for OpenAI's embeddings API, with the limits and error texts of the real one.
//! Promise: refuses what the real API refuses (unknown fields, nulls, wrong key, too much); the same text always
//! gets the same unit vector ([`vector`]); answers can be scripted, one a request.
//! Never accepts a request that the real API would not.

mod rules;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use rules::Request;
pub use rules::Rules;

/// What the next request gets instead of the ordinary answer.
#[derive(Debug, Clone)]
pub enum Reply {
    /// An answer made up by the test: status, headers, body.
    Raw(u16, Vec<(&'static str, String)>, String),
    /// The ordinary answer with its items in reverse order.
    Reversed,
    /// The ordinary answer with floats, as a server that ignores `encoding_format` gives.
    Floats,
    /// The ordinary answer without its last item.
    Short,
    /// The ordinary answer with vectors of this many values.
    Sized(usize),
    /// The ordinary answer with a zero vector for the first input.
    Zero,
}

impl Reply {
    /// An error in OpenAI's form.
    #[must_use]
    pub fn error(status: u16, kind: &str, code: &str, message: &str) -> Self {
        let error = json!({"message": message, "type": kind, "param": null, "code": code});
        Self::Raw(status, Vec::new(), json!({"error": error}).to_string())
    }

    /// The same answer with a header more.
    #[must_use]
    pub fn with(self, name: &'static str, value: &str) -> Self {
        match self {
            Self::Raw(status, mut headers, body) => {
                headers.push((name, value.to_owned()));
                Self::Raw(status, headers, body)
            }
            other => other,
        }
    }
}

/// A running fake. Stops when dropped.
#[derive(Debug)]
pub struct FakeOpenAi {
    base_url: String,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    rules: Rules,
    script: Mutex<VecDeque<Reply>>,
    requests: Mutex<Vec<Seen>>,
    in_flight: AtomicUsize,
    peak: AtomicUsize,
}

/// A request that arrived, whether or not it was answered well.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The texts; none when the body could not be read.
    pub inputs: Vec<String>,
    /// The headers, names in lower case.
    pub headers: HeaderMap,
}

impl FakeOpenAi {
    /// Starts a fake with the real API's limits.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start() -> anyhow::Result<Self> {
        Self::with_rules(Rules::default()).await
    }

    /// Starts a fake with other limits.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn with_rules(rules: Rules) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base_url = format!("http://{}/v1", listener.local_addr()?);
        let (script, requests) = (Mutex::default(), Mutex::default());
        let (in_flight, peak) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let shared = Arc::new(Shared { rules, script, requests, in_flight, peak });
        let router = Router::new()
            .route("/v1/embeddings", post(embeddings))
            .method_not_allowed_fallback(not_found)
            .fallback(not_found)
            .layer(axum::extract::DefaultBodyLimit::max(64 << 20))
            .with_state(Arc::clone(&shared));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.expect("axum serves until aborted") });
        Ok(Self { base_url, shared, _server: server })
    }

    /// Where it listens, as the setting wants it.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Answers the next requests by `replies`, one each, whatever the requests hold; ordinary ones follow.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.script.lock().expect("no test panics with the lock").extend(replies);
    }

    /// The requests so far, in the order of their arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.requests.lock().expect("no test panics with the lock").clone()
    }

    /// The most requests that were there at one time.
    #[must_use]
    pub fn peak(&self) -> usize {
        self.shared.peak.load(Ordering::SeqCst)
    }

    /// How many inputs each request had.
    #[must_use]
    pub fn sizes(&self) -> Vec<usize> {
        self.requests().iter().map(|request| request.inputs.len()).collect()
    }
}

impl Shared {
    /// Holds a request for some turns of the runtime, so that requests sent together overlap.
    async fn linger(&self) {
        let in_flight = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(in_flight, Ordering::SeqCst);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The unit vector that the fake gives for `text`.
#[must_use]
pub fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    // FNV-1a, then a linear congruence for each value: spread well enough to tell texts apart.
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let mut state = text.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, fnv);
    let values: Vec<f32> = (0..dimensions)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f32::from(u16::try_from(state >> 48).expect("16 bits")) / 65_536.0 - 0.5
        })
        .collect();
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.iter().map(|value| value / length).collect()
}

async fn not_found(uri: Uri) -> Response {
    let message = format!("Invalid URL ({uri}) or method");
    let error = json!({"message": message, "type": "invalid_request_error", "param": null, "code": null});
    (StatusCode::NOT_FOUND, axum::Json(json!({"error": error}))).into_response()
}

async fn embeddings(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    shared.linger().await;
    let request = shared.rules.check(&headers, &body);
    let inputs = texts(&body);
    shared.requests.lock().expect("no test panics with the lock").push(Seen { inputs, headers });
    let reply = shared.script.lock().expect("no test panics with the lock").pop_front();
    let mut response = match (reply, request) {
        (Some(Reply::Raw(status, headers, body)), _) => raw(status, headers, body),
        (_, Err(refusal)) => refusal.into_response(),
        (reply, Ok(request)) => axum::Json(answer(&request, reply.as_ref())).into_response(),
    };
    response.headers_mut().insert("x-request-id", HeaderValue::from_static("req_fake"));
    response
}

/// The texts in a body, however wrong the rest of it is.
fn texts(body: &[u8]) -> Vec<String> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let items = body["input"].as_array().cloned().unwrap_or_default();
    items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn raw(status: u16, headers: Vec<(&'static str, String)>, body: String) -> Response {
    let status = StatusCode::from_u16(status).expect("the test gives a status");
    let mut response = (status, body).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    for (name, value) in headers {
        let value = HeaderValue::from_str(&value).expect("the test gives a header value");
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}

fn answer(request: &Request, reply: Option<&Reply>) -> Value {
    let dimensions = if let Some(Reply::Sized(size)) = reply { *size } else { request.dimensions };
    let base64 = request.base64 && !matches!(reply, Some(Reply::Floats));
    let item = |(index, text): (usize, &String)| {
        let zero = index == 0 && matches!(reply, Some(Reply::Zero));
        let vector = if zero { vec![0.0; dimensions] } else { vector(text, dimensions) };
        json!({"object": "embedding", "index": index, "embedding": form(&vector, base64)})
    };
    let mut data: Vec<_> = request.input.iter().enumerate().map(item).collect();
    match reply {
        Some(Reply::Reversed) => data.reverse(),
        Some(Reply::Short) => drop(data.pop()),
        _ => {}
    }
    let n_tokens = request.n_tokens;
    let usage = json!({"prompt_tokens": n_tokens, "total_tokens": n_tokens});
    json!({"object": "list", "data": data, "model": request.model, "usage": usage})
}

fn form(vector: &[f32], base64: bool) -> Value {
    if !base64 {
        return json!(vector);
    }
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    json!(STANDARD.encode(bytes))
}
