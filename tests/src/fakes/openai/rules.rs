//! What the fake takes and how it refuses the rest: the real API's checks, in its words.
//! Promise: a request that passes here has the method, headers, fields and sizes the real API documents.
//! Never guesses: an unknown field or a null is an error.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// The limits of an endpoint. One token is four bytes here, rounded up.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The key that is asked for; none means anybody may come.
    pub api_key: Option<String>,
    /// The models there are.
    pub models: Vec<String>,
    /// Values in a vector when the request does not say.
    pub dimensions: usize,
    /// Inputs in one request. Where `flat_errors` is set, more are refused as text-embeddings-inference does.
    pub max_inputs: usize,
    /// Tokens in one input.
    pub max_input_tokens: usize,
    /// Tokens in one request.
    pub max_tokens: usize,
    /// Whether errors are flat, as text-embeddings-inference writes them.
    pub flat_errors: bool,
    /// A text that is refused without being named, as servers do that cannot tokenize it.
    pub poison: Option<String>,
}

impl Default for Rules {
    /// OpenAI's.
    fn default() -> Self {
        Self {
            api_key: Some("sk-test-abcdefghijklmnopqrstuvwx".to_owned()),
            models: vec!["text-embedding-3-small".to_owned()],
            dimensions: 1536,
            max_inputs: 2048,
            max_input_tokens: 8192,
            max_tokens: 300_000,
            flat_errors: false,
            poison: None,
        }
    }
}

/// A request that passed.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) model: String,
    pub(super) input: Vec<String>,
    pub(super) dimensions: usize,
    pub(super) base64: bool,
    pub(super) n_tokens: usize,
}

/// An error answer.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    code: Option<&'static str>,
    param: Option<String>,
    message: String,
    flat: bool,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).expect("the rules give statuses");
        let kind = "invalid_request_error";
        let body = if self.flat {
            json!({"message": self.message, "code": self.status, "type": "Validation"})
        } else {
            let error = json!({"message": self.message, "type": kind, "param": self.param, "code": self.code});
            json!({"error": error})
        };
        (status, axum::Json(body)).into_response()
    }
}

impl Rules {
    pub(super) fn check(&self, headers: &HeaderMap, body: &[u8]) -> Result<Request, Refusal> {
        self.check_headers(headers)?;
        let body: Map<String, Value> = serde_json::from_slice(body)
            .map_err(|error| self.bad(&format!("We could not parse the JSON body: {error}")))?;
        self.check_fields(&body)?;
        let model = body["model"].as_str().unwrap_or_default().to_owned();
        if !self.models.contains(&model) {
            return Err(self.refuse(404, Some("model_not_found"), &format!("The model `{model}` does not exist")));
        }
        let input = self.check_input(&body["input"])?;
        let n_tokens = input.iter().map(|text| tokens(text)).sum();
        if n_tokens > self.max_tokens {
            let message = format!("Requested {n_tokens} tokens, max {} tokens per request", self.max_tokens);
            return Err(self.refuse(400, Some("max_tokens_per_request"), &message));
        }
        let dimensions = body.get("dimensions").and_then(Value::as_u64);
        let dimensions =
            dimensions.map_or(Ok(self.dimensions), usize::try_from).expect("a test's dimensions are small");
        let base64 = body.get("encoding_format").is_some_and(|format| format == "base64");
        Ok(Request { model, input, dimensions, base64, n_tokens })
    }

    fn check_headers(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if text(header::CONTENT_TYPE) != "application/json" {
            return Err(self.bad("you must send content-type: application/json"));
        }
        let Some(key) = &self.api_key else {
            return Ok(());
        };
        let authorization = text(header::AUTHORIZATION);
        if authorization == format!("Bearer {key}") {
            return Ok(());
        }
        let given = authorization.strip_prefix("Bearer ").unwrap_or_default();
        let (head, tail) = (given.get(..8).unwrap_or_default(), given.get(given.len().saturating_sub(4)..));
        let echo = format!("{head}********{}", tail.unwrap_or_default());
        let message = format!("Incorrect API key provided: {echo}. You can find your API key at https://host.");
        Err(self.refuse(401, Some("invalid_api_key"), &message))
    }

    fn check_fields(&self, body: &Map<String, Value>) -> Result<(), Refusal> {
        let known = ["model", "input", "encoding_format", "dimensions", "user"];
        for (name, value) in body {
            if !known.contains(&name.as_str()) {
                return Err(self.bad(&format!("Unrecognized request argument supplied: {name}")));
            }
            let fits = match name.as_str() {
                "input" => true,
                "dimensions" => value.as_u64().is_some_and(|value| value > 0),
                "encoding_format" => value == "float" || value == "base64",
                _ => value.is_string(),
            };
            if !fits {
                let mut refusal = self.bad(&format!("Invalid value for '{name}'"));
                refusal.param = Some(name.clone());
                return Err(refusal);
            }
        }
        if body.contains_key("model") && body.contains_key("input") {
            return Ok(());
        }
        Err(self.bad("you must provide model and input"))
    }

    fn check_input(&self, input: &Value) -> Result<Vec<String>, Refusal> {
        let texts: Option<Vec<String>> = match input {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        let invalid = "'$.input' is invalid. Please check the API reference.";
        let texts = texts.filter(|texts| !texts.is_empty() && texts.iter().all(|text| !text.is_empty()));
        let texts = texts.ok_or_else(|| self.bad(invalid))?;
        let (n, max) = (texts.len(), self.max_inputs);
        if n > max && self.flat_errors {
            return Err(self.refuse(422, None, &format!("batch size {n} > maximum allowed batch size {max}")));
        }
        if n > max || texts.iter().any(|text| Some(text) == self.poison.as_ref()) {
            return Err(self.bad(invalid));
        }
        match texts.iter().position(|text| tokens(text) > self.max_input_tokens) {
            Some(place) => Err(self
                .bad(&format!("Invalid 'input[{place}]': maximum input length is {} tokens.", self.max_input_tokens))),
            None => Ok(texts),
        }
    }

    fn bad(&self, message: &str) -> Refusal {
        self.refuse(400, None, message)
    }

    fn refuse(&self, status: u16, code: Option<&'static str>, message: &str) -> Refusal {
        Refusal { status, code, param: None, message: message.to_owned(), flat: self.flat_errors }
    }
}

/// The tokens of `text`, as the fake counts them.
fn tokens(text: &str) -> usize {
    text.len().div_ceil(4)
}
