//! The envelope: a job as it travels, the contract with every producer in every language.
//!
//! A stream entry's field `job` holds a MessagePack map with string keys, or the same map as JSON.
//! Promise: what this version does not know survives a retry untouched; the payload is never decoded
//! here, only carried. Never does I/O.

mod read;
mod span;
mod write;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

pub use self::span::{Malformed, value_len};
use crate::{
    dedup::Dedup,
    job::{BadName, JobId, Kind, Priority},
    outcome::AttemptError,
};

/// The envelope version that this code writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// A job with its options, as it stands in a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The job's id; an entry without one gets an id derived from its place in the stream.
    pub id: JobId,
    /// What to do.
    pub kind: Kind,
    /// The job's own data, MessagePack.
    pub payload: Bytes,
    /// Everything else.
    pub options: Options,
    /// Fields that this version does not know: names and MessagePack values as they came.
    pub unknown: Vec<(String, Bytes)>,
}

/// What a producer may say about a job besides its kind and payload. Every field has a default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Whose job it is; their completion channel and limits.
    pub user_id: Option<String>,
    /// Which stream it waits in.
    pub priority: Priority,
    /// Not before this time: milliseconds since 1970, by the server's clock.
    pub run_at_ms: Option<u64>,
    /// Not begun after this time: milliseconds since 1970.
    pub deadline_ms: Option<u64>,
    /// The longest that one attempt may run, milliseconds; the kind's own limit otherwise.
    pub timeout_ms: Option<u64>,
    /// How many attempts in all; the kind's policy otherwise.
    pub max_attempts: Option<u32>,
    /// Attempts that have failed already.
    pub failed_attempts: u32,
    /// What those attempts said.
    pub errors: Vec<AttemptError>,
    /// Where the completion goes besides the queue's and the kind's channel: `job`, `user`, `reply:<name>`.
    pub notify: Vec<String>,
    /// How often it was put back from the dead letters.
    pub n_redriven: u32,
    /// What makes it the same job as another one.
    pub dedup: Option<Dedup>,
    /// It has a row in the journal, which goes with its settlement.
    pub journaled: bool,
    /// W3C Trace Context of the submitter.
    pub traceparent: Option<String>,
    /// W3C Trace Context of the submitter.
    pub tracestate: Option<String>,
}

/// Why bytes are no envelope, or an envelope is no job.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Neither MessagePack nor JSON.
    #[error("read the envelope: {0}")]
    Malformed(#[from] Malformed),
    /// Begins like JSON and is none.
    #[error("read the envelope as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Something else than a map.
    #[error("read the envelope: expected a map with string keys such as {{\"kind\": …, \"payload\": …}}")]
    NotAMap,
    /// A required field is missing.
    #[error("read the envelope: the field `{0}` is missing")]
    Missing(&'static str),
    /// A field has the wrong type or value.
    #[error("read the envelope's field `{field}`: {reason}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The kind is not a name.
    #[error("read the envelope's field `kind`: {0}")]
    Kind(#[from] BadName),
}

/// An envelope as far as this version can read it.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "it is taken apart at once; a box would cost every job an allocation")]
pub enum Reading {
    /// A whole envelope.
    Whole(Envelope),
    /// Written by a newer version: to be left for a newer worker.
    Newer {
        /// The version it names.
        version: u32,
        /// Its id, when it could be read.
        id: JobId,
    },
}

impl Envelope {
    /// A job of `kind` with a new id.
    pub fn new(kind: Kind, payload: Bytes, options: Options) -> Self {
        Self { id: JobId::generate(), kind, payload, options, unknown: Vec::new() }
    }

    /// Reads an envelope; `fallback` gives the id of one that has none.
    ///
    /// # Errors
    /// [`EnvelopeError`] says which field is wrong and what was expected.
    pub fn read(bytes: &Bytes, fallback: impl FnOnce() -> JobId) -> Result<Reading, EnvelopeError> {
        read::read(bytes, fallback)
    }

    /// The envelope as MessagePack, ready for a stream.
    pub fn write(&self) -> Bytes {
        write::write(self)
    }

    /// Decodes the payload.
    ///
    /// # Errors
    /// The decoder's own words: which field, what was expected.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, rmp_serde::decode::Error> {
        rmp_serde::from_slice(&self.payload)
    }
}

/// Encodes a payload as MessagePack with named fields.
///
/// # Errors
/// When the type cannot be represented, such as a map with keys that are no strings.
pub fn encode_payload<T: Serialize>(payload: &T) -> Result<Bytes, rmp_serde::encode::Error> {
    rmp_serde::to_vec_named(payload).map(Bytes::from)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::dedup::{Dedup, Mode};
    use proptest::prelude::*;

    fn whole(bytes: impl Into<Bytes>) -> Result<Envelope, EnvelopeError> {
        let fixed = || JobId(uuid::Uuid::from_u128(7));
        match Envelope::read(&bytes.into(), fixed)? {
            Reading::Whole(envelope) => Ok(envelope),
            Reading::Newer { .. } => panic!("not newer"),
        }
    }

    #[test]
    fn json_and_messagepack_say_the_same() {
        let json =
            br#"{"kind":"a.b","payload":{"n":1,"s":"x"},"priority":"high","notify":["job"],"later_field":[1,2]}"#;
        let from_json = whole(Bytes::from_static(json)).unwrap();
        let value: serde_json::Value = serde_json::from_slice(json).unwrap();
        let from_msgpack = whole(rmp_serde::to_vec_named(&value).unwrap()).unwrap();
        assert_eq!(from_json, from_msgpack);
        assert_eq!(from_json.options.priority, Priority::High);
        assert_eq!(from_json.unknown[0].0, "later_field");
    }

    #[test]
    fn the_smallest_envelope_is_a_kind() {
        let envelope = whole(Bytes::from_static(b"{\"kind\":\"a.b\"}")).unwrap();
        assert_eq!(envelope.id, JobId(uuid::Uuid::from_u128(7)));
        assert_eq!(envelope.options, Options::default());
        assert_eq!(envelope.payload::<serde_json::Value>().unwrap(), serde_json::json!({}));
    }

    #[test]
    fn an_id_may_be_text_or_bytes() {
        let id = uuid::Uuid::now_v7();
        let text = whole(format!("{{\"kind\":\"a\",\"id\":\"{id}\"}}")).unwrap();
        let mut bytes = vec![0x82, 0xa4];
        bytes.extend(b"kind\xa1a\xa2id\xc4\x10");
        bytes.extend(id.as_bytes());
        assert_eq!(text.id, whole(bytes).unwrap().id);
    }

    #[test]
    fn each_wrong_field_is_named() {
        for (json, word) in [
            ("{}", "kind"),
            ("[]", "map"),
            ("{\"kind\":\"A\"}", "kind"),
            ("{\"kind\":\"a\",\"id\":\"x\"}", "id"),
            ("{\"kind\":\"a\",\"priority\":\"urgent\"}", "priority"),
            ("{\"kind\":\"a\",\"max_attempts\":-1}", "max_attempts"),
            ("{\"kind\":\"a\"", "JSON"),
        ] {
            let error = whole(Bytes::from(json.to_owned())).unwrap_err().to_string();
            assert!(error.contains(word), "{json}: {error}");
        }
    }

    #[test]
    fn a_newer_version_is_recognised_and_not_read() {
        let reading = Envelope::read(&Bytes::from_static(b"{\"v\":2,\"surprise\":true}"), JobId::generate).unwrap();
        assert!(matches!(reading, Reading::Newer { version: 2, .. }));
    }

    /// Options of every kind, each there or not.
    fn options() -> impl Strategy<Value = Options> {
        let error = (0_u32..9, any::<u32>(), "\\PC{0,20}", prop::collection::vec("\\PC{0,40}", 0..4));
        let error = error.prop_map(|(attempt, at_ms, class, chain)| AttemptError {
            attempt,
            at_ms: u64::from(at_ms),
            class,
            chain,
            worker: "w".into(),
        });
        let dedup = ("\\PC{1,40}", any::<u64>(), prop::sample::select(Mode::ALL.to_vec()));
        let dedup = dedup.prop_map(|(key, window_ms, mode)| Dedup { key, window_ms, mode });
        let times = [(); 3].map(|()| prop::option::of(any::<u64>()));
        let texts = [(); 3].map(|()| prop::option::of("\\PC{0,40}"));
        let counts = (prop::option::of(1_u32..99), 0_u32..9, 0_u32..9, any::<bool>());
        let lists = (prop::collection::vec(error, 0..4), prop::collection::vec("\\PC{1,9}", 0..4));
        let rest = (prop::sample::select(Priority::ALL.to_vec()), prop::option::of(dedup));
        (times, texts, counts, lists, rest).prop_map(|(times, texts, counts, (errors, notify), (priority, dedup))| {
            let [run_at_ms, deadline_ms, timeout_ms] = times;
            let [user_id, traceparent, tracestate] = texts;
            let (max_attempts, failed_attempts, n_redriven, journaled) = counts;
            Options {
                user_id,
                priority,
                run_at_ms,
                deadline_ms,
                timeout_ms,
                max_attempts,
                failed_attempts,
                errors,
                notify,
                n_redriven,
                dedup,
                journaled,
                traceparent,
                tracestate,
            }
        })
    }

    /// Fields that no version knows yet.
    fn unknown() -> impl Strategy<Value = Vec<(String, Bytes)>> {
        let value = prop_oneof![
            any::<i64>().prop_map(serde_json::Value::from),
            "\\PC{0,60}".prop_map(serde_json::Value::from),
            prop::collection::vec(any::<bool>(), 0..20).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[a-z]{1,4}", any::<u32>(), 0..4).prop_map(|map| serde_json::json!(map)),
        ];
        let value = value.prop_map(|value| Bytes::from(rmp_serde::to_vec(&value).unwrap()));
        prop::collection::btree_map("x_[a-z]{1,9}", value, 0..4).prop_map(|fields| fields.into_iter().collect())
    }

    fn envelope() -> impl Strategy<Value = Envelope> {
        (options(), unknown(), any::<i64>()).prop_map(|(options, unknown, number)| {
            let payload = encode_payload(&serde_json::json!({ "n": number })).unwrap();
            Envelope { unknown, ..Envelope::new(Kind::from_static("a.b"), payload, options) }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(envelope in envelope()) {
            prop_assert_eq!(whole(envelope.write()).unwrap(), envelope);
        }

        #[test]
        fn the_same_envelope_as_json_reads_the_same(envelope in envelope()) {
            let map: serde_json::Value = rmp_serde::from_slice(&envelope.write()).unwrap();
            let mut from_json = whole(serde_json::to_vec(&map).unwrap()).unwrap();
            from_json.unknown.sort();
            prop_assert_eq!(from_json, envelope);
        }

        #[test]
        fn unknown_fields_survive_any_number_of_retries(envelope in envelope(), n_retries in 1..5) {
            let mut travelling = envelope.clone();
            for _ in 0..n_retries {
                travelling = whole(travelling.write()).unwrap();
                travelling.options.failed_attempts += 1;
            }
            prop_assert_eq!((travelling.unknown, travelling.payload), (envelope.unknown, envelope.payload));
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Envelope::read(&Bytes::from(bytes), JobId::generate);
        }
    }
}
