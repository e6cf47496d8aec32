//! The envelope of a stored value: version, flags, three times, the value in MessagePack.
//!
//! ```text
//! byte 0       version, 1
//! byte 1       flags: 1 = the value is lz4, its size before it; others unknown
//! bytes 2-9    created, 10-17 soft expiry, 18-25 hard expiry: ms since 1970, big-endian
//! bytes 26-    the value: MessagePack with named fields
//! ```
//! Promise: what cannot be read (another version, an unknown flag, bytes cut short, another shape) is none,
//! never an error and never a wrong value.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

use super::policy::Lifetime;

const VERSION: u8 = 1;
const LZ4: u8 = 1;
const HEADER_BYTES: usize = 26;

/// Smaller values are not worth compressing.
const COMPRESS_FROM_BYTES: usize = 1024;

/// A value that says it is larger than this when unpacked is not one of ours.
const MAX_UNPACKED_BYTES: usize = 64 << 20;

/// Seals a value.
///
/// # Errors
/// When the value cannot be MessagePack.
pub(super) fn seal<T: Serialize>(value: &T, lifetime: Lifetime) -> Result<Bytes, rmp_serde::encode::Error> {
    let plain = rmp_serde::to_vec_named(value)?;
    let packed = compressed(&plain);
    let (flags, body) = packed.as_ref().map_or((0, &plain), |packed| (LZ4, packed));
    let mut sealed = BytesMut::with_capacity(HEADER_BYTES + body.len());
    sealed.put_u8(VERSION);
    sealed.put_u8(flags);
    sealed.put_u64(lifetime.created_ms);
    sealed.put_u64(lifetime.soft_ms);
    sealed.put_u64(lifetime.hard_ms);
    sealed.put_slice(body);
    Ok(sealed.freeze())
}

fn compressed(plain: &[u8]) -> Option<Vec<u8>> {
    let worth_trying = plain.len() > COMPRESS_FROM_BYTES && plain.len() <= MAX_UNPACKED_BYTES;
    let packed = worth_trying.then(|| lz4_flex::compress_prepend_size(plain))?;
    (packed.len() < plain.len()).then_some(packed)
}

/// Opens what [`seal`] made; none of anything else.
pub(super) fn open<T: DeserializeOwned>(sealed: &[u8]) -> Option<(T, Lifetime)> {
    let (header, body) = sealed.split_at_checked(HEADER_BYTES)?;
    let flags = header[1];
    if header[0] != VERSION || flags & !LZ4 != 0 {
        return None;
    }
    let value = if flags & LZ4 == 0 { read(body) } else { read(&decompressed(body)?) };
    Some((value?, lifetime(header)))
}

/// When a sealed value expires; none of anything that is not sealed.
fn lifetime(header: &[u8]) -> Lifetime {
    let at = |from: usize| u64::from_be_bytes(header[from..from + 8].try_into().expect("a slice of eight bytes"));
    Lifetime { created_ms: at(2), soft_ms: at(10), hard_ms: at(18) }
}

/// The whole of the bytes as one value: what is left over means that they are something else.
fn read<T: DeserializeOwned>(mut plain: &[u8]) -> Option<T> {
    let value = T::deserialize(&mut rmp_serde::Deserializer::new(&mut plain)).ok()?;
    plain.is_empty().then_some(value)
}

/// The size is checked before it is believed: four bytes could ask for four gigabytes.
fn decompressed(packed: &[u8]) -> Option<Vec<u8>> {
    let (size, rest) = lz4_flex::block::uncompressed_size(packed).ok()?;
    (size <= MAX_UNPACKED_BYTES).then(|| lz4_flex::decompress(rest, size).ok())?
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Offer {
        name: String,
        price: Option<f64>,
        tags: Vec<String>,
    }

    const LIFETIME: Lifetime = Lifetime { created_ms: 1, soft_ms: 2, hard_ms: u64::MAX };

    fn offer(n: usize) -> Offer {
        Offer { name: "x".repeat(n), price: Some(1.5), tags: vec![String::new()] }
    }

    #[test]
    fn a_large_value_is_compressed_only_where_it_helps() {
        assert!(seal(&offer(100_000), LIFETIME).unwrap().len() < 1_000);
        let small = seal(&offer(500), LIFETIME).unwrap();
        assert_eq!((small[1], small.len() > 500), (0, true));
        let mut seed = 1_u64;
        let noise: Vec<u64> = (0..1_000)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                seed ^ (seed >> 29)
            })
            .collect();
        assert_eq!(seal(&noise, LIFETIME).unwrap()[1], 0);
        assert_eq!(open::<Vec<u64>>(&seal(&noise, LIFETIME).unwrap()).unwrap().0, noise);
    }

    #[test]
    fn another_version_flag_or_shape_is_a_miss() {
        let sealed = seal(&offer(2_000), LIFETIME).unwrap();
        let with = |at: usize, byte: u8| {
            let mut other = sealed.to_vec();
            other[at] = byte;
            other
        };
        assert!(open::<Offer>(&sealed).is_some());
        assert!(open::<Offer>(&with(0, 2)).is_none());
        assert!(open::<Offer>(&with(1, LZ4 | 2)).is_none());
        assert!(open::<Vec<u8>>(&sealed).is_none());
        // The first byte of the size before the compressed value: three gigabytes more.
        assert!(open::<Offer>(&with(HEADER_BYTES + 3, 0xC0)).is_none());
        assert!(open::<String>(b"a plain string that somebody else has written").is_none());
        assert!(open::<()>(b"").is_none());
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_as_it_was(
            name in "\\PC{0,2000}", price in any::<Option<f64>>(), tags in prop::collection::vec(".{0,20}", 0..50),
            created_ms: u64, soft_ms: u64, hard_ms: u64
        ) {
            let (offer, lifetime) = (Offer { name, price: price.filter(|p| !p.is_nan()), tags }, Lifetime { created_ms, soft_ms, hard_ms });
            let sealed = seal(&offer, lifetime).unwrap();
            prop_assert_eq!(open::<Offer>(&sealed), Some((offer, lifetime)));
        }

        #[test]
        fn what_is_cut_short_is_a_miss(size in 0_usize..5_000, keep in 0.0..1.0) {
            let sealed = seal(&offer(size), LIFETIME).unwrap();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a part of a length")]
            let cut = &sealed[..(sealed.len() as f64 * keep) as usize];
            prop_assert!(open::<Offer>(cut).is_none());
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = open::<Offer>(&[&[VERSION, bytes.first().map_or(0, |byte| byte & LZ4)], bytes.as_slice()].concat());
        }
    }
}
