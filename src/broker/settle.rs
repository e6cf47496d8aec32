//! Settles deliveries whose results are committed.

use bytes::Bytes;
use std::time::Duration;

use super::{
    MAX_PER_SCRIPT,
    connection::{self, BrokerError, text},
    partition::Partition,
    pubsub::Scope,
    release::Held,
    reply,
    script::Script,
};
use crate::{
    completion::Format,
    job::JobId,
    keys::{BATCH_FIELD, GROUP, LETTER_FIELD},
};

static SETTLE: Script = Script::new("settle", include_str!("settle.lua"));

/// What is the same for every settlement of a worker.
#[derive(Clone, Debug)]
pub struct SettleContext {
    /// Who settles.
    pub consumer: String,
    /// How completions are written.
    pub format: Format,
    /// How they are published.
    pub scope: Scope,
    /// How long they can be replayed.
    pub retention: Duration,
}

/// One delivery to settle.
#[derive(Clone, Debug)]
pub struct Settling {
    /// The delivery.
    pub held: Held,
    /// Its job.
    pub id: JobId,
    /// What becomes of it.
    pub verb: Verb,
    /// What the world is told.
    pub finish: Option<Finish>,
    /// How often its worker died.
    pub n_crashes: u32,
    /// The dedup key that it frees, if it still has it.
    pub dedup_key: Option<String>,
}

/// What becomes of a delivery.
#[derive(Clone, Debug)]
pub enum Verb {
    /// It is over; its result is committed.
    Done,
    /// It runs again after a wait: the wait, lane digit and envelope.
    Later(Duration, Bytes),
    /// It goes to the dead letters: the letter.
    Dead(Bytes),
}

/// A completion to publish.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The completion without its number, as [`crate::completion::Ending::write_open`] gives it.
    pub open: Bytes,
    /// The channel of its kind.
    pub kind_channel: String,
    /// Further channels that it asked for.
    pub further: Vec<String>,
}

/// What the server made of one settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Acknowledged, and its completion published.
    Done,
    /// Somebody else owns it, or it is gone: nothing was done.
    NotOwned,
    /// The server's memory is full: it stays pending and is to be settled again.
    Refused,
}

impl Partition {
    /// Settles up to 128 deliveries; the answers stand in the same order.
    ///
    /// # Errors
    /// When the server could not be asked. It may have settled them all the same: asking again then
    /// answers `NotOwned`, which does no harm.
    pub async fn settle(
        &self,
        context: &SettleContext,
        queue_channel: &str,
        batch: &[Settling],
    ) -> Result<Vec<Settled>, BrokerError> {
        debug_assert!(batch.len() <= MAX_PER_SCRIPT, "a script call stays short");
        let [high, normal, low] = self.lane_keys();
        let keys = &self.keys;
        let mut keys = vec![
            high,
            normal,
            low,
            &keys.later,
            &keys.later_jobs,
            &keys.crashes,
            &keys.dead,
            &keys.done,
            &keys.control,
        ];
        let mut args = Vec::with_capacity(11 + 9 * batch.len());
        let retention = context.retention.as_millis().to_string();
        let publish = context.scope.publish();
        args.extend(
            [
                GROUP,
                &context.consumer,
                context.format.letter(),
                publish,
                queue_channel,
                &retention,
                LETTER_FIELD,
                BATCH_FIELD,
            ]
            .map(text),
        );
        let mut sorted: Vec<usize> = (0..batch.len()).collect();
        sorted.sort_by_key(|&place| (batch[place].held.priority.lane(), batch[place].held.entry.place()));
        let mut freeing = String::new();
        for (number, &place) in sorted.iter().enumerate() {
            if let Some(key) = &batch[place].dedup_key {
                keys.push(key);
                freeing.push_str(&format!("{} ", number + 1));
            }
        }
        args.extend([&freeing, &self.keys.words, &self.keys.due_word].map(text));
        for &place in &sorted {
            args.extend(arguments(&batch[place]));
        }
        let digits = SETTLE.run(&self.commands, &keys, args).await?;
        let digits = reply::bytes(&digits)
            .filter(|digits| digits.len() == batch.len())
            .ok_or_else(|| BrokerError::odd("settle", &digits))?;
        let mut verdicts = vec![Settled::NotOwned; batch.len()];
        for (&place, &digit) in sorted.iter().zip(&digits) {
            verdicts[place] = settled(digit);
        }
        Ok(verdicts)
    }
}

fn arguments(settling: &Settling) -> [fred::types::Value; 9] {
    let (verb, number, body) = match &settling.verb {
        Verb::Done => ("done", u128::from(settling.n_crashes), Bytes::new()),
        Verb::Later(delay, envelope) => ("later", delay.as_millis(), envelope.clone()),
        Verb::Dead(letter) => ("dead", u128::from(settling.n_crashes), letter.clone()),
    };
    let finish = settling.finish.as_ref();
    [
        text(settling.held.priority.lane().to_string()),
        connection::bytes(settling.held.entry.0.clone()),
        text(verb),
        text(settling.id.to_string()),
        text(number.to_string()),
        connection::bytes(body),
        connection::bytes(finish.map(|finish| finish.open.clone()).unwrap_or_default()),
        text(finish.map(|finish| finish.kind_channel.clone()).unwrap_or_default()),
        text(finish.map(|finish| finish.further.join(" ")).unwrap_or_default()),
    ]
}

fn settled(digit: u8) -> Settled {
    match digit {
        b'1' => Settled::Done,
        b'2' => Settled::Refused,
        _ => Settled::NotOwned,
    }
}
