//! Reads replies, whichever server they come from.
//!
//! Dragonfly gives integers and doubles where Redis gives strings (XPENDING's summary, ZSCORE inside a
//! script), an empty list where Redis gives nil. Promise: both read the same here.

use bytes::Bytes;
use fred::types::Value;

/// The elements of an array; none of anything else.
pub(crate) fn array(value: &Value) -> &[Value] {
    match value {
        Value::Array(elements) => elements,
        _ => &[],
    }
}

/// A whole number, given as integer, double or text.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(*number),
        #[allow(clippy::cast_possible_truncation, reason = "scripts return whole numbers of milliseconds or counts")]
        Value::Double(number) => Some(*number as i64),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Text or bytes, without copying.
pub(crate) fn bytes(value: &Value) -> Option<Bytes> {
    match value {
        Value::String(text) => Some(text.inner().clone()),
        Value::Bytes(bytes) => Some(bytes.clone()),
        _ => None,
    }
}

/// Text.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Integer(number) => Some(number.to_string()),
        other => String::from_utf8(bytes(other)?.to_vec()).ok(),
    }
}

/// Names and values, of a map in whichever protocol.
pub(crate) fn pairs(value: &Value) -> Vec<(String, String)> {
    let flat: Vec<String> = match value {
        Value::Map(map) => {
            map.iter().flat_map(|(name, value)| [name.as_str().map(str::to_owned), text(value)]).flatten().collect()
        }
        other => array(other).iter().filter_map(text).collect(),
    };
    flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_the_same_from_every_server() {
        for value in [Value::Integer(7), Value::Double(7.0), Value::from("7")] {
            assert_eq!(integer(&value), Some(7));
        }
        assert_eq!(integer(&Value::Null), None);
        assert!(array(&Value::Null).is_empty());
    }
}
