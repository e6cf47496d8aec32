//! The wire format's documents agree with the code that reads and writes it, old with new and new with old.

use bytes::{Bytes, BytesMut};
use engine::{
    completion::{Completion, Ending, Format, Timings, read_batch},
    dedup::{Dedup, Mode},
    envelope::{Envelope, Options, Reading, encode_payload},
    job::{JobId, Kind, Priority, QueueName},
    outcome::{AttemptError, Status},
};
use jsonschema::Validator;
use serde_json::{Value, json};

use super::blocks;

fn schema(name: &str) -> Validator {
    let (_, text) = workers::schemas::all().into_iter().find(|(file, _)| file == name).unwrap();
    let options = jsonschema::options().should_validate_formats(true);
    options.build(&serde_json::from_str(&text).unwrap()).unwrap()
}

fn read(value: &Value) -> Result<Reading, engine::envelope::EnvelopeError> {
    let json = Bytes::from(value.to_string());
    let packed = Bytes::from(rmp_serde::to_vec(value).unwrap());
    let (from_json, from_packed) = (Envelope::read(&json, JobId::generate), Envelope::read(&packed, JobId::generate));
    assert_eq!(from_json.is_ok(), from_packed.is_ok(), "JSON and MessagePack are judged alike: {value}");
    from_json
}

fn full() -> Value {
    json!({
        "v": 1, "id": "0198c0de-0000-7000-8000-000000000001", "kind": "a.b", "payload": {"n": 1}, "user_id": "ann",
        "priority": "high", "run_at": 1, "deadline": 2, "timeout_ms": 3, "max_attempts": 4, "attempt": 1,
        "errors": [{"attempt": 1, "at_ms": 5, "class": "error", "chain": ["x"], "worker": "w"}], "redriven": 0,
        "notify": ["job", "reply:x"], "traceparent": "00-0-0-00", "tracestate": "a=b"
    })
}

/// Values of every sort that a producer could put into a field by mistake or on purpose.
fn values() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(4_294_967_296_u64),
        json!(""),
        json!("a.b"),
        json!("A B"),
        json!("high"),
        json!([]),
        json!(["job"]),
        json!([1]),
        json!({}),
    ]
}

#[test]
fn the_readmes_examples_decode_and_validate() {
    let (mut n_envelopes, mut n_completions) = (0, 0);
    for block in blocks("json") {
        let value: Value = serde_json::from_str(&block).unwrap();
        if value.is_array() {
            n_completions += read_batch(block.as_bytes()).unwrap().len();
            let each = schema("completion.json");
            value.as_array().unwrap().iter().for_each(|completion| each.validate(completion).unwrap());
            continue;
        }
        n_envelopes += 1;
        schema("envelope.json").validate(&value).unwrap();
        let Ok(Reading::Whole(envelope)) = read(&value) else { panic!("{value}") };
        schema(&format!("{}.payload.json", envelope.kind)).validate(&value["payload"]).unwrap();
        workers::kinds::registry().check(&envelope).unwrap();
    }
    assert!(n_envelopes > 0 && n_completions > 0);
}

#[test]
fn what_the_envelopes_schema_allows_is_read() {
    let allowed = schema("envelope.json");
    assert!(allowed.is_valid(&full()) && read(&full()).is_ok());
    for field in full().as_object().unwrap().keys() {
        for value in values() {
            let mut envelope = full();
            envelope[field] = value;
            let (valid, reading) = (allowed.is_valid(&envelope), read(&envelope));
            assert!(!valid || reading.is_ok(), "allowed and not read: {envelope}: {reading:?}");
        }
    }
}

#[test]
fn what_is_not_read_the_schema_does_not_allow() {
    let allowed = schema("envelope.json");
    for wrong in [
        json!({}),
        json!([]),
        json!({"kind": "A B"}),
        json!({"kind": "a", "id": "x"}),
        json!({"kind": "a", "priority": "urgent"}),
        json!({"kind": "a", "max_attempts": -1}),
        json!({"kind": "a", "run_at": "tomorrow"}),
        json!({"kind": "a", "notify": "job"}),
    ] {
        assert!(read(&wrong).is_err() && !allowed.is_valid(&wrong), "{wrong}");
    }
}

#[test]
fn every_field_that_is_written_is_in_the_schema() {
    let error = AttemptError { attempt: 1, at_ms: 5, class: "c".into(), chain: vec!["x".into()], worker: "w".into() };
    let options = Options {
        user_id: Some("ann".into()),
        priority: Priority::Low,
        run_at_ms: Some(1),
        deadline_ms: Some(2),
        timeout_ms: Some(3),
        max_attempts: Some(4),
        failed_attempts: 1,
        errors: vec![error],
        notify: vec!["job".into()],
        n_redriven: 1,
        dedup: Some(Dedup { key: "k".into(), window_ms: 5, mode: Mode::Throttle }),
        journaled: true,
        traceparent: Some("00-0-0-00".into()),
        tracestate: Some("a=b".into()),
    };
    let envelope = Envelope::new(Kind::from_static("a.b"), encode_payload(&json!({"n": 1})).unwrap(), options);
    let written: Value = rmp_serde::from_slice(&envelope.write()).unwrap();
    schema("envelope.json").validate(&written).unwrap();
    let (_, text) = workers::schemas::all().into_iter().find(|(name, _)| name == "envelope.json").unwrap();
    let documented: Value = serde_json::from_str(&text).unwrap();
    let mut names: Vec<&String> = written.as_object().unwrap().keys().collect();
    let mut listed: Vec<&String> = documented["properties"].as_object().unwrap().keys().collect();
    names.sort();
    listed.sort();
    assert_eq!(names, listed);
}

#[test]
fn an_old_reader_takes_new_envelopes_and_a_new_reader_old_ones() {
    let old = read(&json!({"kind": "a.b"})).unwrap();
    assert!(matches!(old, Reading::Whole(envelope) if envelope.options == Options::default()));
    let mut newer = full();
    newer["tenant"] = json!({"name": "x"});
    let Reading::Whole(envelope) = read(&newer).unwrap() else { panic!("of this version") };
    let again: Value = rmp_serde::from_slice(&envelope.write()).unwrap();
    assert_eq!(again["tenant"], newer["tenant"], "what this version does not know survives a retry");
    newer["v"] = json!(2);
    assert!(matches!(read(&newer).unwrap(), Reading::Newer { version: 2, .. }));
}

fn completion() -> Completion {
    Completion {
        id: JobId::generate(),
        kind: Kind::from_static("a.b"),
        queue: QueueName::from_static("search"),
        status: Status::Failed,
        attempt: 2,
        result: Some(json!({"n": 1})),
        result_ref: Some("job_results/1".into()),
        error: Some(AttemptError {
            attempt: 2,
            at_ms: 1,
            class: "c".into(),
            chain: vec!["x".into()],
            worker: "w".into(),
        }),
        timings: Timings { queued_ms: 1, started_ms: 2, finished_ms: 3 },
        user_id: Some("ann".into()),
        worker: "w".into(),
        traceparent: Some("00-0-0-00".into()),
        partition: "search~0".into(),
        seq: 7,
    }
}

#[test]
fn completions_are_what_their_schema_says_in_both_formats() {
    let completion = completion();
    let [mut json, mut packed] = [BytesMut::new(), BytesMut::new()];
    Ending::of(&completion).write_open(Format::Json, &mut json);
    json.extend(b"7}");
    let json: Value = serde_json::from_slice(&json).unwrap();
    Ending::of(&completion).write_open(Format::MsgPack, &mut packed);
    packed.extend(7_u64.to_be_bytes());
    let packed: Value = rmp_serde::from_slice(&packed).unwrap();
    assert_eq!(json, packed);
    schema("completion.json").validate(&json).unwrap();
}

#[test]
fn an_old_subscriber_takes_new_completions_and_a_new_one_old_ones() {
    let mut newer = serde_json::to_value(completion()).unwrap();
    newer["cost"] = json!(3);
    schema("completion.json").validate(&newer).unwrap();
    assert_eq!(read_batch(json!([newer]).to_string().as_bytes()).unwrap(), [serde_json::from_value(newer).unwrap()]);
    let mut oldest = serde_json::to_value(completion()).unwrap();
    for optional in ["result", "result_ref", "error", "user_id", "traceparent", "seq"] {
        oldest.as_object_mut().unwrap().remove(optional);
    }
    schema("completion.json").validate(&oldest).unwrap();
    assert_eq!(read_batch(json!([oldest]).to_string().as_bytes()).unwrap()[0].seq, 0);
}
