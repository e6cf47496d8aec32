//! From an envelope to MessagePack: fields at their defaults are left out, unknown ones written as they came.

use bytes::Bytes;
use rmp::{
    Marker,
    encode::{write_map_len, write_str},
};
use serde::Serialize;

use super::{Envelope, VERSION};
use crate::job::Priority;

pub(super) fn write(envelope: &Envelope) -> Bytes {
    let mut map = Map::with_room_for(160 + envelope.payload.len());
    map.number("v", u64::from(VERSION));
    map.text("id", envelope.id.0.as_hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()));
    map.text("kind", envelope.kind.as_str());
    map.raw("payload", &envelope.payload);
    write_options(&mut map, envelope);
    for (name, value) in &envelope.unknown {
        map.raw(name, value);
    }
    map.finish()
}

fn write_options(map: &mut Map, envelope: &Envelope) {
    let options = &envelope.options;
    let texts =
        [("user_id", &options.user_id), ("traceparent", &options.traceparent), ("tracestate", &options.tracestate)];
    for (name, text) in texts {
        if let Some(text) = text {
            map.text(name, text);
        }
    }
    if options.priority != Priority::Normal {
        map.text("priority", options.priority.as_str());
    }
    let counted = |n: u32| (n > 0).then_some(u64::from(n));
    let (attempt, redriven) = (counted(options.failed_attempts), counted(options.n_redriven));
    let times = [("run_at", options.run_at_ms), ("deadline", options.deadline_ms), ("timeout_ms", options.timeout_ms)];
    let numbers = times.into_iter().chain([("attempt", attempt), ("redriven", redriven)]);
    for (name, number) in numbers.chain([("max_attempts", options.max_attempts.map(u64::from))]) {
        if let Some(number) = number {
            map.number(name, number);
        }
    }
    if let Some(dedup) = &options.dedup {
        map.value("dedup", dedup);
    }
    if options.journaled {
        map.value("journaled", &true);
    }
    if !options.errors.is_empty() {
        map.value("errors", &options.errors);
    }
    if !options.notify.is_empty() {
        map.value("notify", &options.notify);
    }
}

struct Map {
    n_entries: u32,
    /// The first byte is kept for the number of entries.
    bytes: Vec<u8>,
}

/// The most entries of a map whose length takes one byte.
const SHORT: u8 = 15;

const TO_VEC: &str = "writing to a Vec cannot fail";

impl Map {
    fn with_room_for(n_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(n_bytes);
        bytes.push(0);
        Self { n_entries: 0, bytes }
    }

    fn key(&mut self, name: &str) {
        self.n_entries += 1;
        write_str(&mut self.bytes, name).expect(TO_VEC);
    }

    fn text(&mut self, name: &str, text: &str) {
        self.key(name);
        write_str(&mut self.bytes, text).expect(TO_VEC);
    }

    fn number(&mut self, name: &str, number: u64) {
        self.key(name);
        rmp::encode::write_uint(&mut self.bytes, number).expect(TO_VEC);
    }

    fn raw(&mut self, name: &str, value: &[u8]) {
        self.key(name);
        self.bytes.extend_from_slice(value);
    }

    fn value<T: Serialize>(&mut self, name: &str, value: &T) {
        self.key(name);
        rmp_serde::encode::write_named(&mut self.bytes, value).expect("lists of text and plain records encode");
    }

    fn finish(mut self) -> Bytes {
        match u8::try_from(self.n_entries) {
            Ok(n_entries @ ..=SHORT) => self.bytes[0] = Marker::FixMap(n_entries).to_u8(),
            _ => {
                let mut length = Vec::with_capacity(5);
                write_map_len(&mut length, self.n_entries).expect(TO_VEC);
                self.bytes.splice(..1, length);
            }
        }
        Bytes::from(self.bytes)
    }
}
