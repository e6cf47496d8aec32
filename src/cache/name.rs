//! The name of a cached value: `namespace:entity_type:operation_type:params_hash`.
//!
//! Promise: equal requests share a name, whatever the order of their fields, however a number is written
//! (1 or 1.0), and whether a missing field is left out or null; other requests have another. Never holds
//! a parameter itself: a name can be logged.

use std::fmt::{self, Write as _};

use serde::Serialize;
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

/// Bytes of the hash that are kept: 128 bits, 32 hex characters.
const HASH_BYTES: usize = 16;

/// The name of one cached value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheName {
    namespace: &'static str,
    text: String,
}

/// Parameters that JSON cannot hold, such as a map whose keys are no text.
#[derive(Debug, thiserror::Error)]
#[error("name a cached value of `{namespace}`: {source}")]
pub struct NameError {
    namespace: &'static str,
    #[source]
    source: serde_json::Error,
}

impl CacheName {
    /// The name of what `operation` on `entity` gives for `params`.
    ///
    /// The three words are lower-case names without colons. Whatever changes the answer belongs in `params`:
    /// the user whose data it is, the model that ranks it, the version of the answer's shape.
    ///
    /// # Errors
    /// When `params` cannot be JSON.
    pub fn new(
        namespace: &'static str,
        entity: &'static str,
        operation: &'static str,
        params: &impl Serialize,
    ) -> Result<Self, NameError> {
        let params = serde_json::to_value(params).map_err(|source| NameError { namespace, source })?;
        Ok(Self { namespace, text: format!("{namespace}:{entity}:{operation}:{}", params_hash(&params)) })
    }

    /// The first word, from a closed set: a label of metrics.
    pub fn namespace(&self) -> &'static str {
        self.namespace
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for CacheName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The first 128 bits of the SHA-256 of the canonical form, as 32 hex characters.
pub fn params_hash(params: &Value) -> String {
    let mut text = String::new();
    write_canonical(params, &mut text);
    let digest = Sha256::digest(text.as_bytes());
    let mut hex = String::with_capacity(2 * HASH_BYTES);
    for byte in &digest[..HASH_BYTES] {
        write!(hex, "{byte:02x}").expect("a string takes all that is written to it");
    }
    hex
}

/// JSON without spaces, its keys sorted, its nulls left out of objects, its numbers in one form.
fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => text.push_str(&canonical_number(number)),
        Value::String(string) => write_string(string, text),
        Value::Array(items) => {
            write_list('[', items.iter(), ']', text, write_canonical);
        }
        Value::Object(fields) => {
            let mut present: Vec<_> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
            present.sort_unstable_by_key(|(key, _)| *key);
            write_list('{', present.into_iter(), '}', text, |(key, value), text| {
                write_string(key, text);
                text.push(':');
                write_canonical(value, text);
            });
        }
    }
}

fn write_list<T>(
    open: char,
    items: impl Iterator<Item = T>,
    close: char,
    text: &mut String,
    write: impl Fn(T, &mut String),
) {
    text.push(open);
    for (at, item) in items.enumerate() {
        if at > 0 {
            text.push(',');
        }
        write(item, text);
    }
    text.push(close);
}

fn write_string(string: &str, text: &mut String) {
    text.push_str(&serde_json::to_string(string).expect("text is JSON"));
}

/// Whole numbers as integers, whichever type they came in; others in the shortest form that reads back the same.
fn canonical_number(number: &Number) -> String {
    // Every whole number that a double holds below 2^100 is exact in 128 bits.
    const EXACT: f64 = 1_267_650_600_228_229_401_496_703_205_376.0;
    match number.as_f64().filter(|_| number.is_f64()) {
        #[allow(clippy::cast_possible_truncation, reason = "whole and within range: exact")]
        Some(float) if float.fract() == 0.0 && float.abs() < EXACT => (float as i128).to_string(),
        Some(float) => format!("{float:e}"),
        None => number.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;

    #[test]
    fn equal_requests_share_a_hash() {
        let hash =
            params_hash(&json!({"to": "LIS", "adults": 1, "max": null, "price": {"currency": "EUR", "to": 2e3}}));
        assert_eq!(hash, params_hash(&json!({"price": {"to": 2000, "currency": "EUR"}, "adults": 1.0, "to": "LIS"})));
        assert_eq!(hash.len(), 32);
        assert!(hash.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()));
    }

    #[test]
    fn a_hash_stays_the_same_from_release_to_release() {
        assert_eq!(params_hash(&json!({"b": [1.0, null, "x"], "a": 0.1})), "4d7e6817b5af6883f2d6421823908d73");
    }

    #[test]
    fn other_requests_have_another_hash() {
        let others = [
            json!({"a": 1}),
            json!({"a": "1"}),
            json!({"a": true}),
            json!({"a": [1]}),
            json!({"a": {"1": 1}}),
            json!({"a": 1.5}),
            json!({"a": -1}),
            json!({"b": 1}),
            json!({"a": 1, "b": 1}),
            json!({"a": [null]}),
            json!({"a": []}),
            json!({"a": ["1,1"]}),
            json!({"a": ["1", "1"]}),
            json!({"a": "Lisbon"}),
            json!({"a": "lisbon"}),
            json!({}),
            json!(null),
        ];
        let hashes: std::collections::HashSet<_> = others.iter().map(params_hash).collect();
        assert_eq!(hashes.len(), others.len());
    }

    #[test]
    fn a_name_has_four_parts_and_shows_no_parameter() {
        let name = CacheName::new("memories", "memory", "search", &json!({"user": "ann", "query": "tea"})).unwrap();
        assert_eq!(name.as_str().split(':').count(), 4);
        assert!(name.as_str().starts_with("memories:memory:search:") && !name.as_str().contains("ann"));
        assert_eq!(name.namespace(), "memories");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            // Few digits: serde_json reads those of a long number back to within the last bit only.
            any::<i32>().prop_map(|number| Value::from(f64::from(number) / 1_000.0)),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec(("[a-c]{1,2}", inner), 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    /// The same request, written by somebody else: nulls added, whole numbers as floats.
    fn rewritten(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let mut other: Map<_, _> = fields.iter().rev().map(|(k, v)| (k.clone(), rewritten(v))).collect();
                other.insert("zz absent".to_owned(), Value::Null);
                other.into()
            }
            Value::Array(items) => items.iter().map(rewritten).collect(),
            #[allow(clippy::cast_precision_loss, reason = "only numbers that are exact")]
            Value::Number(number) => match number.as_i64() {
                Some(whole) if whole.abs() < 1 << 53 => json!(whole as f64),
                _ => value.clone(),
            },
            _ => value.clone(),
        }
    }

    proptest! {
        #[test]
        fn however_a_request_is_written_its_hash_is_one(value in any_json()) {
            prop_assert_eq!(params_hash(&value), params_hash(&rewritten(&value)));
        }

        #[test]
        fn what_is_hashed_reads_back_as_the_same_request(value in any_json()) {
            let mut text = String::new();
            write_canonical(&value, &mut text);
            let read: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(params_hash(&read), params_hash(&value));
        }
    }
}
