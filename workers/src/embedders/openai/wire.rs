//! The embeddings API's request and answer, as OpenAI and the servers compatible with it write them.
//! Promise: takes floats and base64 and items in any order; never takes an answer that does not fit its request.
//! Never sends a field that was not asked for: some servers refuse what they do not know, and nulls too.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// The body of `POST {base}/embeddings`.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a> {
    pub(super) model: &'a str,
    pub(super) input: &'a [&'a str],
    /// Always base64: a quarter of the size of JSON floats. Servers that ignore it answer with floats.
    pub(super) encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dimensions: Option<usize>,
}

/// The vectors of one request in the order of its inputs, and the tokens they took.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) vectors: Vec<Vec<f32>>,
    pub(super) tokens: u64,
}

/// What is wrong with an answer that says it is one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AnswerError {
    #[error("the answer is not an embeddings list: {0}")]
    Undecodable(String),
    #[error("the answer holds {found} vectors for {expected} inputs")]
    Count { found: usize, expected: usize },
    #[error(
        "the model gives vectors of {found} dimensions, {expected} were expected; set TRIPSAGE_MEM0_EMBEDDING_DIMENSIONS to {found}, \
         or change the model"
    )]
    Dimensions { found: usize, expected: usize },
}

/// Reads an answer to `n_inputs` inputs, each of which must have become `dimensions` values.
pub(super) fn read_answer(body: &[u8], n_inputs: usize, dimensions: usize) -> Result<Answer, AnswerError> {
    let list: List = serde_json::from_slice(body).map_err(|error| AnswerError::Undecodable(error.to_string()))?;
    let mut data = list.data;
    data.sort_by_key(|item| item.index);
    // Sorted, complete and free of repetitions is the same as: each index is its place.
    let in_place = data.iter().enumerate().all(|(place, item)| item.index == place);
    if data.len() != n_inputs || !in_place {
        return Err(AnswerError::Count { found: data.len(), expected: n_inputs });
    }
    if let Some(item) = data.iter().find(|item| item.embedding.0.len() != dimensions) {
        return Err(AnswerError::Dimensions { found: item.embedding.0.len(), expected: dimensions });
    }
    let vectors = data.into_iter().map(|item| item.embedding.0).collect();
    Ok(Answer { vectors, tokens: list.usage.total_tokens.max(list.usage.prompt_tokens) })
}

#[derive(Deserialize)]
struct List {
    data: Vec<Item>,
    #[serde(default)]
    usage: Usage,
}

#[derive(Deserialize)]
struct Item {
    index: usize,
    embedding: Floats,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

/// A vector, written as a list of numbers or as base64 of little-endian single-precision floats.
struct Floats(Vec<f32>);

impl<'de> Deserialize<'de> for Floats {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FloatsVisitor).map(Self)
    }
}

struct FloatsVisitor;

impl<'de> Visitor<'de> for FloatsVisitor {
    type Value = Vec<f32>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers or base64 of 32-bit floats")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let bytes = STANDARD.decode(text).map_err(E::custom)?;
        let (floats, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            return Err(E::invalid_length(bytes.len(), &"a multiple of 4 bytes"));
        }
        Ok(floats.iter().map(|float| f32::from_le_bytes(*float)).collect())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut floats = Vec::with_capacity(items.size_hint().unwrap_or(1536));
        while let Some(float) = items.next_element()? {
            floats.push(float);
        }
        Ok(floats)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_holds_no_nulls() {
        let mut request = Request { model: "m", input: &["a"], encoding_format: "base64", dimensions: None };
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(json, r#"{"model":"m","input":["a"],"encoding_format":"base64"}"#);
        request.dimensions = Some(2);
        assert!(serde_json::to_string(&request).unwrap().ends_with(r#","dimensions":2}"#));
    }

    #[test]
    fn answers_out_of_order_are_put_in_order() {
        let body = br#"{"data":[{"index":1,"embedding":[3,4]},{"index":0,"embedding":"AACAPwAAAEA="}],
            "usage":{"prompt_tokens":7,"total_tokens":7}}"#;
        let answer = read_answer(body, 2, 2).unwrap();
        assert_eq!(answer, Answer { vectors: vec![vec![1.0, 2.0], vec![3.0, 4.0]], tokens: 7 });
    }

    #[test]
    fn missing_repeated_and_wrongly_sized_vectors_are_refused() {
        let one = br#"{"data":[{"index":0,"embedding":[3,4]}]}"#;
        assert_eq!(read_answer(one, 2, 2), Err(AnswerError::Count { found: 1, expected: 2 }));
        assert_eq!(read_answer(one, 1, 3), Err(AnswerError::Dimensions { found: 2, expected: 3 }));
        let twice = br#"{"data":[{"index":0,"embedding":[3,4]},{"index":0,"embedding":[3,4]}]}"#;
        assert_eq!(read_answer(twice, 2, 2), Err(AnswerError::Count { found: 2, expected: 2 }));
        let odd = br#"{"data":[{"index":0,"embedding":"AAA="}]}"#;
        assert!(matches!(read_answer(odd, 1, 1), Err(AnswerError::Undecodable(_))));
    }

    proptest! {
        #[test]
        fn base64_and_floats_give_the_same_vector(vector in proptest::collection::vec(-1.0f32..1.0, 1..40)) {
            let bytes: Vec<u8> = vector.iter().flat_map(|float| float.to_le_bytes()).collect();
            let forms = [serde_json::json!(STANDARD.encode(bytes)), serde_json::json!(vector)];
            for form in forms {
                let body = serde_json::json!({"data": [{"index": 0, "embedding": form}]}).to_string();
                let answer = read_answer(body.as_bytes(), 1, vector.len()).unwrap();
                prop_assert_eq!(&answer.vectors[0], &vector);
            }
        }

        #[test]
        fn no_answer_is_too_strange_to_refuse(body in any::<Vec<u8>>()) {
            prop_assert!(read_answer(&body, 1, 1).is_err());
        }
    }
}
