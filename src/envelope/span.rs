//! Finds where a MessagePack value ends, without decoding it.
//!
//! Promise: never reads past the bytes, never recurses (nesting costs a counter, not stack), ends on any input.

/// The bytes are not one MessagePack value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the MessagePack ends in the middle of a value, or holds a byte that begins none")]
pub struct Malformed;

/// The length in bytes of the value that `bytes` begins with.
///
/// # Errors
/// [`Malformed`] when no whole value stands there.
pub fn value_len(bytes: &[u8]) -> Result<usize, Malformed> {
    let mut position = 0_usize;
    let mut pending = 1_u64;
    while pending > 0 {
        let (header, body, children) = head(bytes.get(position..).ok_or(Malformed)?)?;
        position = position.checked_add(header).and_then(|p| p.checked_add(body)).ok_or(Malformed)?;
        if position > bytes.len() {
            return Err(Malformed);
        }
        pending = pending - 1 + children;
    }
    Ok(position)
}

/// (bytes of the head, bytes of the body, values inside) of the value that `bytes` begins with.
fn head(bytes: &[u8]) -> Result<(usize, usize, u64), Malformed> {
    let marker = *bytes.first().ok_or(Malformed)?;
    let size = |n: usize| -> Result<usize, Malformed> {
        let digits = bytes.get(1..=n).ok_or(Malformed)?;
        Ok(digits.iter().fold(0, |value, &byte| value << 8 | usize::from(byte)))
    };
    Ok(match marker {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (1, 0, 0),
        0x80..=0x8f => (1, 0, 2 * u64::from(marker & 0x0f)),
        0x90..=0x9f => (1, 0, u64::from(marker & 0x0f)),
        0xa0..=0xbf => (1, usize::from(marker & 0x1f), 0),
        0xc4 | 0xd9 => (2, size(1)?, 0),
        0xc5 | 0xda => (3, size(2)?, 0),
        0xc6 | 0xdb => (5, size(4)?, 0),
        0xc7 => (3, size(1)?, 0),
        0xc8 => (4, size(2)?, 0),
        0xc9 => (6, size(4)?, 0),
        0xcc | 0xd0 => (1, 1, 0),
        0xcd | 0xd1 => (1, 2, 0),
        0xca | 0xce | 0xd2 => (1, 4, 0),
        0xcb | 0xcf | 0xd3 => (1, 8, 0),
        0xd4..=0xd8 => (2, 1 << (marker - 0xd4), 0),
        0xdc => (3, 0, size(2)? as u64),
        0xdd => (5, 0, size(4)? as u64),
        0xde => (3, 0, 2 * size(2)? as u64),
        0xdf => (5, 0, 2 * size(4)? as u64),
        0xc1 => return Err(Malformed),
    })
}

/// The number of entries and the length of the head of the map that `bytes` begins with; none when it is no map.
pub(super) fn map_head(bytes: &[u8]) -> Option<(u64, usize)> {
    let (header, _, children) = head(bytes).ok()?;
    matches!(bytes[0], 0x80..=0x8f | 0xde | 0xdf).then_some((children / 2, header))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            ".{0,300}".prop_map(Into::into)
        ];
        leaf.prop_recursive(4, 64, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Into::into),
                prop::collection::hash_map(".{0,40}", inner, 0..20)
                    .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into())
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_is_measured_exactly(value in values(), rest in prop::collection::vec(any::<u8>(), 0..9)) {
            let mut bytes = rmp_serde::to_vec(&value).expect("JSON values encode");
            let length = bytes.len();
            bytes.extend(rest);
            prop_assert_eq!(value_len(&bytes), Ok(length));
            prop_assert_eq!(value_len(&bytes[..length - 1]), Err(Malformed));
        }

        #[test]
        fn no_bytes_make_it_panic_or_run_past_the_end(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(length) = value_len(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let bytes = vec![0x91; 1_000_000];
        assert_eq!(value_len(&bytes), Err(Malformed));
    }
}
