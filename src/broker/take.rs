//! Takes ready jobs: at once, or waiting until one comes.

use std::time::Duration;

use fred::types::Value;

use super::{
    MAX_PER_SCRIPT,
    connection::{BrokerError, text},
    partition::{Deaths, Entry, Partition},
    release::Held,
    reply,
};
use crate::{job::Priority, keys::GROUP};

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

/// What is asked of a lane, and what came.
struct Share {
    lane: Priority,
    asked: usize,
    came: usize,
}

impl Share {
    /// It gave all that was asked, were it nothing.
    fn may_hold_more(&self) -> bool {
        self.came == self.asked
    }
}

/// An eighth is kept for normal and low, a sixteenth for low; below eight jobs a call, order is strict.
fn shares(limit: usize) -> [Share; 3] {
    let (below_high, low) = (limit / 8, limit / 16);
    let share = |lane, asked| Share { lane, asked, came: 0 };
    [share(Priority::High, limit - below_high), share(Priority::Normal, below_high - low), share(Priority::Low, low)]
}

/// What the lanes gave. What is taken is taken, whether or not another lane answered.
#[derive(Default)]
struct Gathered {
    jobs: Vec<Entry>,
    error: Option<BrokerError>,
}

impl Gathered {
    fn add(&mut self, share: &mut Share, answer: Option<Result<Vec<Entry>, BrokerError>>) {
        match answer {
            Some(Ok(entries)) => {
                share.came = entries.len();
                self.jobs.extend(entries);
            }
            Some(Err(error)) => self.error = Some(error),
            None => {}
        }
    }

    fn into_jobs(self) -> Result<Vec<Entry>, BrokerError> {
        match self.error {
            Some(error) if self.jobs.is_empty() => Err(error),
            _ => Ok(self.jobs),
        }
    }
}

impl Partition {
    /// Takes up to `limit` ready jobs without waiting: high before normal before low, yet never all of them from one lane
    /// while another waits, so that a flood of urgent jobs cannot stop the rest.
    ///
    /// Plain reads: a script would turn every entry into values of its own language and back, which costs the server twice
    /// what the read itself costs.
    ///
    /// # Errors
    /// `NoGroup` when the streams are gone; otherwise that the server could not be asked.
    pub async fn take(&self, consumer: &str, limit: usize) -> Result<Taken, BrokerError> {
        let limit = limit.clamp(1, MAX_PER_SCRIPT);
        let mut shares = shares(limit);
        let paused = ("HGET", [&*self.keys.control, "paused"].map(text).to_vec());
        let asked = shares.iter().filter(|share| share.asked > 0);
        let reads = asked.map(|share| ("XREADGROUP", self.read(consumer, share.lane, share.asked)));
        let mut answers =
            self.commands.call_together(std::iter::once(paused).chain(reads).collect()).await?.into_iter();
        let paused = answers.next().transpose()?;
        let mut taken = Gathered::default();
        for share in shares.iter_mut().filter(|share| share.asked > 0) {
            taken.add(share, answers.next().map(|answer| answer.map(|streams| self.entries(&streams))));
        }
        if paused.is_some_and(|field| field != Value::Null) {
            let held: Vec<Held> = taken.jobs.into_iter().map(Entry::into_held).collect();
            return self.release(consumer, &held).await.map(|_| Taken::Paused);
        }
        for share in &mut shares {
            let left = limit.saturating_sub(taken.jobs.len());
            if left > 0 && share.may_hold_more() {
                let answer = self.commands.call("XREADGROUP", self.read(consumer, share.lane, left)).await;
                taken.add(share, Some(answer.map(|streams| self.entries(&streams))));
            }
        }
        taken.into_jobs().map(Taken::Jobs)
    }

    fn read(&self, consumer: &str, lane: Priority, count: usize) -> Vec<Value> {
        let count = count.to_string();
        ["GROUP", GROUP, consumer, "COUNT", &count, "STREAMS", self.keys.lane(lane), ">"].map(text).to_vec()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_has_a_share_of_a_large_call_and_order_is_strict_in_a_small_one() {
        assert_eq!(shares(128).map(|share| share.asked), [112, 8, 8]);
        assert_eq!(shares(7).map(|share| share.asked), [7, 0, 0]);
        for limit in 1..=MAX_PER_SCRIPT {
            assert_eq!(shares(limit).map(|share| share.asked).iter().sum::<usize>(), limit);
        }
    }

    #[test]
    fn what_came_is_kept_though_another_lane_failed() {
        let [mut high, mut normal, _] = shares(8);
        let mut taken = Gathered::default();
        taken.add(&mut normal, Some(Err(BrokerError::odd("XREADGROUP", &Value::Null))));
        assert!(Gathered { error: taken.error.clone(), ..Gathered::default() }.into_jobs().is_err());
        let entry = Entry::of_fields(Priority::High, &Value::from("1-0"), &Value::Null, Deaths::default());
        taken.add(&mut high, Some(Ok(vec![entry])));
        assert_eq!(taken.into_jobs().map(|jobs| jobs.len()).ok(), Some(1));
    }
}
