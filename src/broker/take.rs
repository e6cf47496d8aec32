//! Takes ready jobs: at once by the script, or waiting until one comes.

use std::time::Duration;

use fred::types::Value;

use super::{
    MAX_PER_SCRIPT,
    connection::{BrokerError, text},
    partition::{Deaths, Entry, Partition},
    reply,
    script::Script,
};
use crate::{job::Priority, keys::GROUP};

static TAKE: Script = Script::new("take", include_str!("take.lua"));

/// How long a read waits at the server. Well under the command time limit, never for ever: a blocked reader may
/// not be woken when its stream is deleted.
const BLOCK: Duration = Duration::from_millis(2_000);

/// What there was to take.
#[derive(Clone, Debug)]
pub enum Taken {
    /// These jobs; none when none is ready.
    Jobs(Vec<Entry>),
    /// The queue is paused: nothing is handed out, whatever is ready.
    Paused,
}

impl Taken {
    /// The jobs; none while the queue is paused.
    pub fn jobs(self) -> Vec<Entry> {
        match self {
            Self::Jobs(jobs) => jobs,
            Self::Paused => Vec::new(),
        }
    }
}

impl Partition {
    /// Takes up to `limit` ready jobs, high before normal before low, without waiting.
    ///
    /// # Errors
    /// `NoGroup` when the streams are gone; otherwise that the server could not be asked.
    pub async fn take(&self, consumer: &str, limit: usize) -> Result<Taken, BrokerError> {
        let limit = i64::try_from(limit.clamp(1, MAX_PER_SCRIPT)).expect("at most 128");
        let args = vec![text(GROUP), text(consumer), Value::from(limit)];
        let [high, normal, low] = self.lane_keys();
        let taken = TAKE.run(&self.commands, &[high, normal, low, &self.keys.control], args).await?;
        if reply::bytes(&taken).is_some() {
            return Ok(Taken::Paused);
        }
        Ok(Taken::Jobs(reply::array(&taken).iter().filter_map(Entry::read).collect()))
    }

    /// Waits up to two seconds for a job to come and takes it: at most one of each priority. It may be one of a
    /// queue that was paused meanwhile: whoever waits hands that back.
    ///
    /// # Errors
    /// As [`Partition::take`].
    pub async fn wait(&self, consumer: &str) -> Result<Vec<Entry>, BrokerError> {
        let block = BLOCK.as_millis().to_string();
        let mut args = ["GROUP", GROUP, consumer, "COUNT", "1", "BLOCK", &block, "STREAMS"].map(text).to_vec();
        args.extend(self.lane_keys().map(text));
        args.extend([">"; 3].map(text));
        let streams = self.reader.call_blocking("XREADGROUP", args).await?;
        Ok(self.entries(&streams))
    }

    fn entries(&self, streams: &Value) -> Vec<Entry> {
        let mut entries = Vec::new();
        for stream in pairs(streams) {
            let [name, list] = stream else { continue };
            let lane = Priority::ALL
                .into_iter()
                .find(|&lane| reply::bytes(name).is_some_and(|name| name == self.keys.lane(lane)));
            for entry in reply::array(list) {
                if let ([id, fields], Some(priority)) = (reply::array(entry), lane) {
                    entries.push(Entry::of_fields(priority, id, fields, Deaths::default()));
                }
            }
        }
        entries
    }
}

/// `[[stream, entries], …]`
fn pairs(streams: &Value) -> impl Iterator<Item = &[Value]> {
    reply::array(streams).iter().map(reply::array)
}
