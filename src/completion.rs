//! The message that tells the world how a job ended.
//!
//! One message on a channel, and one entry of the replay stream, is an array of completions. Promise:
//! a completion is made only of what is committed; `seq` counts a partition's completions without a
//! gap, so that a subscriber can tell that it missed one.

use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Serialize};

use crate::{
    envelope::Options,
    job::{JobId, Kind, QueueName},
    keys::Keys,
    outcome::{AttemptError, Status},
};

/// How one job ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Completion {
    /// Which job.
    pub id: JobId,
    /// Its kind.
    pub kind: Kind,
    /// Its queue.
    pub queue: QueueName,
    /// How it ended.
    pub status: Status,
    /// The attempt that ended it; the first is 1, 0 means that none was begun.
    pub attempt: u32,
    /// Its result, unless there is none or it is too large to travel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
    /// Where the result is when it is too large to travel: `job_results/<id>` in Postgres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_ref: Option<String>,
    /// Why it failed: its last attempt's error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<AttemptError>,
    /// When things happened.
    pub timings: Timings,
    /// Whose job it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The worker that settled it.
    pub worker: String,
    /// W3C Trace Context of the submitter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The partition that counted it.
    pub partition: String,
    /// The partition's number of this completion, from 1; 0 when the server's memory was too full to count.
    #[serde(default)]
    pub seq: u64,
}

/// When a job passed its stations, milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Timings {
    /// When it entered the stream that it was last taken from, by the server's clock.
    pub queued_ms: u64,
    /// When its last attempt began, by the worker's clock; 0 when none did.
    pub started_ms: u64,
    /// When that attempt ended, by the worker's clock.
    pub finished_ms: u64,
}

/// How completions are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// MessagePack maps with string keys.
    #[default]
    MsgPack,
    /// JSON objects.
    Json,
}

impl Format {
    /// `m` or `j`, as the settle script is told.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::MsgPack => "m",
            Self::Json => "j",
        }
    }
}

/// The channels that a submitter asked for besides the queue's and the kind's. A name with white space could not be
/// told from two.
pub fn channels(id: JobId, options: &Options, keys: &Keys) -> Vec<String> {
    let channel = |wish: &String| match wish.as_str() {
        "job" => Some(keys.job_channel(id)),
        "user" => options.user_id.as_deref().map(|user| keys.user_channel(user)),
        other => other.strip_prefix("reply:").map(|name| keys.reply_channel(name)),
    };
    options.notify.iter().filter_map(channel).filter(|channel| !channel.contains(char::is_whitespace)).collect()
}

/// Reads an array of completions in either format.
///
/// # Errors
/// When the bytes are neither.
pub fn read_batch(bytes: &[u8]) -> Result<Vec<Completion>, Unreadable> {
    match bytes.first() {
        Some(b'[') => serde_json::from_slice(bytes).map_err(|error| Unreadable(error.to_string())),
        _ => rmp_serde::from_slice(bytes).map_err(|error| Unreadable(error.to_string())),
    }
}

/// A message on a completion channel that is no array of completions.
#[derive(Debug, thiserror::Error)]
#[error("read completions: {0}")]
pub struct Unreadable(String);

/// All of a completion but its number, borrowed from what it speaks of; at most 14 entries. The fields are those
/// of [`Completion`].
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "they are the completion's")]
pub struct Ending<'a> {
    pub id: JobId,
    pub kind: &'a Kind,
    pub queue: &'a QueueName,
    pub status: Status,
    pub attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<&'a serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a AttemptError>,
    pub timings: Timings,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<&'a str>,
    pub worker: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<&'a str>,
    pub partition: &'a str,
}

impl<'a> Ending<'a> {
    /// What a completion says, but for its number.
    pub fn of(completion: &'a Completion) -> Self {
        Self {
            id: completion.id,
            kind: &completion.kind,
            queue: &completion.queue,
            status: completion.status,
            attempt: completion.attempt,
            result: completion.result.as_ref(),
            result_ref: completion.result_ref.clone(),
            error: completion.error.as_ref(),
            timings: completion.timings,
            user_id: completion.user_id.as_deref(),
            worker: &completion.worker,
            traceparent: completion.traceparent.as_deref(),
            partition: &completion.partition,
        }
    }

    /// Appends the completion in such a form that its number, appended too, completes it: MessagePack up to the marker of
    /// an unsigned 64-bit number, JSON up to `"seq":`.
    pub fn write_open(&self, format: Format, buffer: &mut BytesMut) {
        let begin = buffer.len();
        match format {
            Format::MsgPack => {
                let written = rmp_serde::encode::write_named(&mut buffer.writer(), self);
                written.expect("text, numbers and JSON values encode");
                // A map of up to 15 entries says their number in its first byte (0x80 + n); ours has one more to come.
                buffer[begin] += 1;
                buffer.extend_from_slice(b"\xa3seq\xcf");
            }
            Format::Json => {
                serde_json::to_writer(buffer.writer(), self).expect("text, numbers and JSON values encode");
                buffer.truncate(buffer.len() - 1);
                buffer.extend_from_slice(b",\"seq\":");
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn sample(seq: u64) -> Completion {
        Completion {
            id: JobId::generate(),
            kind: Kind::from_static("a.b"),
            queue: QueueName::from_static("search"),
            status: Status::Failed,
            attempt: 2,
            result: Some(serde_json::json!({ "deep": [1, null, "x"] })),
            result_ref: Some("job_results/1".into()),
            error: Some(AttemptError {
                attempt: 2,
                at_ms: 1,
                class: "c".into(),
                chain: vec!["x".into()],
                worker: "w".into(),
            }),
            timings: Timings { queued_ms: 1, started_ms: 2, finished_ms: 3 },
            user_id: Some("u".into()),
            worker: "w".into(),
            traceparent: Some("00-1-2-03".into()),
            partition: "search~0".into(),
            seq,
        }
    }

    #[test]
    fn a_number_appended_makes_it_whole_in_both_formats() {
        let full = sample(7);
        let bare =
            Completion { result: None, result_ref: None, error: None, user_id: None, traceparent: None, ..sample(7) };
        for completion in [full, bare] {
            let mut packed = BytesMut::from(&[0x91][..]);
            Ending::of(&completion).write_open(Format::MsgPack, &mut packed);
            packed.extend(7_u64.to_be_bytes());
            assert_eq!(read_batch(&packed).unwrap(), std::slice::from_ref(&completion));

            let mut json = BytesMut::from(&b"["[..]);
            Ending::of(&completion).write_open(Format::Json, &mut json);
            json.extend(b"7}]");
            assert_eq!(read_batch(&json).unwrap(), [completion]);
        }
    }
}
