//! From bytes to an envelope, field by field; values are slices of what came, never copies.

use bytes::Bytes;
use serde::Deserialize;

use super::{Envelope, EnvelopeError, Options, Reading, VERSION, span};
use crate::job::JobId;

/// An empty map, the payload of an envelope that names none.
const EMPTY_MAP: &[u8] = &[0x80];

pub(super) fn read(bytes: &Bytes, fallback: impl FnOnce() -> JobId) -> Result<Reading, EnvelopeError> {
    let bytes = as_messagepack(bytes)?;
    let fields = fields(&bytes)?;
    let version: u32 = optional(&fields, "v")?.unwrap_or(VERSION);
    if version > VERSION {
        let id = optional::<JobId>(&fields, "id").ok().flatten();
        return Ok(Reading::Newer { version, id: id.unwrap_or_else(fallback) });
    }
    let kind: &str = optional(&fields, "kind")?.ok_or(EnvelopeError::Missing("kind"))?;
    let id = optional::<JobId>(&fields, "id")?;
    let options = options(&fields)?;
    let unknown = fields.iter().filter(|(name, _)| !KNOWN.contains(name));
    Ok(Reading::Whole(Envelope {
        id: id.unwrap_or_else(fallback),
        kind: kind.parse()?,
        payload: find(&fields, "payload").map_or(Bytes::from_static(EMPTY_MAP), |payload| bytes.slice_ref(payload)),
        options,
        unknown: unknown.map(|&(name, value)| (name.to_owned(), bytes.slice_ref(value))).collect(),
    }))
}

/// The names that this version reads; all others are carried along.
const KNOWN: [&str; 18] = [
    "v",
    "id",
    "kind",
    "payload",
    "user_id",
    "priority",
    "run_at",
    "deadline",
    "timeout_ms",
    "max_attempts",
    "attempt",
    "errors",
    "notify",
    "redriven",
    "dedup",
    "journaled",
    "traceparent",
    "tracestate",
];

fn options(fields: &Fields<'_>) -> Result<Options, EnvelopeError> {
    Ok(Options {
        user_id: optional(fields, "user_id")?,
        priority: optional(fields, "priority")?.unwrap_or_default(),
        run_at_ms: optional(fields, "run_at")?,
        deadline_ms: optional(fields, "deadline")?,
        timeout_ms: optional(fields, "timeout_ms")?,
        max_attempts: optional(fields, "max_attempts")?,
        failed_attempts: optional(fields, "attempt")?.unwrap_or_default(),
        errors: optional(fields, "errors")?.unwrap_or_default(),
        notify: optional(fields, "notify")?.unwrap_or_default(),
        n_redriven: optional(fields, "redriven")?.unwrap_or_default(),
        dedup: optional(fields, "dedup")?,
        journaled: optional(fields, "journaled")?.unwrap_or_default(),
        traceparent: optional(fields, "traceparent")?,
        tracestate: optional(fields, "tracestate")?,
    })
}

/// JSON begins with `{`, a MessagePack map never does (0x7b is a number there); leading white space is JSON's.
fn as_messagepack(bytes: &Bytes) -> Result<Bytes, EnvelopeError> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if !matches!(first, Some(b'{' | b'[' | b'"')) {
        return Ok(bytes.clone());
    }
    let value: serde_json::Value = serde_json::from_slice(bytes)?;
    let encoded = rmp_serde::to_vec(&value).expect("every JSON value has a MessagePack form");
    Ok(Bytes::from(encoded))
}

/// Names and values, parts of the bytes that they came in.
type Fields<'a> = Vec<(&'a str, &'a [u8])>;

fn fields(bytes: &[u8]) -> Result<Fields<'_>, EnvelopeError> {
    let (n_fields, head) = span::map_head(bytes).ok_or(EnvelopeError::NotAMap)?;
    let mut rest = &bytes[head..];
    let mut fields = Fields::with_capacity(usize::try_from(n_fields.min(32)).unwrap_or(32));
    for _ in 0..n_fields {
        let name = rmp_serde::from_slice(take(&mut rest)?).map_err(|_| EnvelopeError::NotAMap)?;
        fields.push((name, take(&mut rest)?));
    }
    if !rest.is_empty() {
        return Err(EnvelopeError::Malformed(span::Malformed));
    }
    Ok(fields)
}

fn take<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], span::Malformed> {
    let (value, others) = rest.split_at(span::value_len(rest)?);
    *rest = others;
    Ok(value)
}

fn find<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a [u8]> {
    fields.iter().rev().find(|(field, _)| *field == name).map(|(_, value)| *value)
}

fn optional<'a, T: Deserialize<'a>>(fields: &Fields<'a>, name: &'static str) -> Result<Option<T>, EnvelopeError> {
    let Some(value) = find(fields, name) else { return Ok(None) };
    rmp_serde::from_slice(value).map_err(|error| EnvelopeError::Field { field: name, reason: error.to_string() })
}
