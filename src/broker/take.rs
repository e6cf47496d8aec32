//! Takes ready jobs: at once, or waiting until one comes.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

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

/// Fewer than these are taken in strict order, whatever that costs.
const FEW: usize = 16;

/// Most for the first lane that gave something the last time, a part for the others: an eighth for those below high, and
/// for high itself, a sixteenth for low. So one question is enough while jobs keep coming as they came, and a lane that
/// had nothing is served first again from the call on after the one that finds something there.
fn shares(limit: usize, gave: [bool; 3]) -> [Share; 3] {
    let (eighth, sixteenth) = (limit / 8, limit / 16);
    let asked = match gave {
        [false, true, _] if limit >= FEW => [eighth, limit - eighth - sixteenth, sixteenth],
        [false, false, true] if limit >= FEW => [eighth, sixteenth, limit - eighth - sixteenth],
        _ => [limit - eighth, eighth - sixteenth, sixteenth],
    };
    let share = |lane: Priority, asked| Share { lane, asked, came: 0 };
    let [high, normal, low] = asked;
    [share(Priority::High, high), share(Priority::Normal, normal), share(Priority::Low, low)]
}

/// Which lanes gave something at the last call.
#[derive(Default)]
pub(super) struct Gave([AtomicBool; 3]);

impl Gave {
    fn last(&self) -> [bool; 3] {
        self.0.each_ref().map(|gave| gave.load(Ordering::Relaxed))
    }

    fn note(&self, shares: &[Share; 3]) {
        for (gave, share) in self.0.iter().zip(shares) {
            gave.store(share.came > 0, Ordering::Relaxed);
        }
    }
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
                share.came += entries.len();
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
        let mut shares = shares(limit, self.gave.last());
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
        // What is left of a call that brought much can wait for the next.
        let enough = if limit < FEW { 0 } else { limit / 2 };
        for share in &mut shares {
            let left = limit.saturating_sub(taken.jobs.len());
            if left > enough && share.may_hold_more() {
                share.asked += left;
                let answer = self.commands.call("XREADGROUP", self.read(consumer, share.lane, left)).await;
                taken.add(share, Some(answer.map(|streams| self.entries(&streams))));
            }
        }
        self.gave.note(&shares);
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
        let asked = |limit, gave| shares(limit, gave).map(|share| share.asked);
        assert_eq!(asked(128, [false; 3]), [112, 8, 8]);
        assert_eq!(asked(128, [true, true, false]), [112, 8, 8]);
        assert_eq!(asked(128, [false, true, true]), [16, 104, 8]);
        assert_eq!(asked(128, [false, false, true]), [16, 8, 104]);
        assert_eq!(asked(7, [false, true, false]), [7, 0, 0]);
        for limit in 1..=MAX_PER_SCRIPT {
            for gave in [[false, false, false], [false, true, false], [false, false, true]] {
                assert_eq!(asked(limit, gave).iter().sum::<usize>(), limit);
            }
        }
    }

    #[test]
    fn what_came_is_kept_though_another_lane_failed() {
        let [mut high, mut normal, _] = shares(8, [false; 3]);
        let mut taken = Gathered::default();
        taken.add(&mut normal, Some(Err(BrokerError::odd("XREADGROUP", &Value::Null))));
        assert!(Gathered { error: taken.error.clone(), ..Gathered::default() }.into_jobs().is_err());
        let entry = Entry::of_fields(Priority::High, &Value::from("1-0"), &Value::Null, Deaths::default());
        taken.add(&mut high, Some(Ok(vec![entry])));
        assert_eq!(taken.into_jobs().map(|jobs| jobs.len()).ok(), Some(1));
    }
}
