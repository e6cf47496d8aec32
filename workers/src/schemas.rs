//! The JSON Schemas of everything that travels, generated from the types.

use engine::{completion::Completion, dedup::Dedup, outcome::AttemptError};
use schemars::{Schema, schema_for};
use serde_json::{Value, json};

use crate::kinds;

/// Every schema: file name and text. `schemas/` in the repository holds the same.
pub fn all() -> Vec<(String, String)> {
    let registry = kinds::registry();
    let mut files = vec![
        ("completion.json".to_owned(), text(&schema_for!(Completion))),
        ("envelope.json".to_owned(), pretty(&envelope())),
    ];
    for spec in registry.specs() {
        files.push((format!("{}.payload.json", spec.kind), text(&spec.payload)));
        files.push((format!("{}.result.json", spec.kind), text(&spec.output)));
    }
    files
}

fn text(schema: &Schema) -> String {
    pretty(schema.as_value())
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The envelope is read by hand, field by field; a test holds this against the reader.
fn envelope() -> Value {
    let ms = |meaning: &str| json!({ "type": "integer", "minimum": 0, "description": meaning });
    let text = |meaning: &str| json!({ "type": "string", "description": meaning });
    let count = |least: u32, meaning: &str| json!({ "type": "integer", "minimum": least, "maximum": u32::MAX, "description": meaning });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Envelope",
        "description": "The value of a stream entry's field `job`: a MessagePack map with string keys, or the same as JSON. Unknown fields survive a retry untouched.",
        "type": "object",
        "required": ["kind"],
        "properties": {
            "v": { "type": "integer", "minimum": 1, "maximum": u32::MAX, "default": 1, "description": "version of the envelope" },
            "id": { "type": "string", "format": "uuid", "description": "UUID, version 7 preferred; text or 16 bytes; derived from the entry's id when absent" },
            "kind": { "type": "string", "maxLength": 64, "pattern": "^[a-z][a-z0-9_]*(\\.[a-z0-9_]+)*$", "description": "what to do, such as search.places" },
            "payload": { "description": "what the kind's own schema says", "default": {} },
            "user_id": text("whose job it is"),
            "priority": { "enum": ["high", "normal", "low"], "default": "normal", "description": "which jobs it goes before, among those that are put back or delayed; a producer chooses the stream" },
            "run_at": ms("not before this time, ms since 1970 by the server's clock"),
            "deadline": ms("not begun after this time, ms since 1970 by the server's clock"),
            "timeout_ms": ms("the longest that one attempt may run, where it is shorter than the kind's own limit"),
            "max_attempts": count(1, "attempts in all; the kind's policy otherwise"),
            "attempt": count(0, "attempts that have failed already; written by workers"),
            "errors": { "type": "array", "items": schema_for!(AttemptError), "description": "what those attempts said; written by workers" },
            "redriven": count(0, "how often it was put back from the dead letters; written by workers"),
            "dedup": schema_for!(Dedup),
            "journaled": { "type": "boolean", "description": "it has a row in the journal; written by `tripsage.enqueue` and clients of a journaled queue" },
            "notify": { "type": "array", "items": { "type": "string" }, "description": "where the completion goes besides the queue's and the kind's channel: `job`, `user`, `reply:<name>`" },
            "traceparent": text("W3C Trace Context"),
            "tracestate": text("W3C Trace Context")
        },
        "additionalProperties": true
    })
}
