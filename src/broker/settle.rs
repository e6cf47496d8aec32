//! Settles deliveries whose results are committed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use fred::types::Value;

use super::{
    MAX_PER_SCRIPT,
    connection::{BrokerError, bytes, text},
    partition::Partition,
    pubsub::Scope,
    release::Held,
    reply,
    script::Script,
};
use crate::{
    completion::Format,
    job::{JobId, Priority},
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
    /// The completion without its number, as [`crate::completion::Ending::write_open`] writes it.
    pub open: Bytes,
    /// The channel of its kind.
    pub kind_channel: Arc<str>,
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
        let Packed { order, freed, arguments } = Packed::of(batch);
        let keys: Vec<&str> = self.settle_keys().into_iter().chain(freed.iter().map(|(_, key)| *key)).collect();
        let retention = context.retention.as_millis().to_string();
        let freeing: String = freed.iter().map(|(number, _)| format!("{number} ")).collect();
        let head = [
            GROUP,
            &context.consumer,
            context.format.letter(),
            context.scope.publish(),
            queue_channel,
            &retention,
            LETTER_FIELD,
            BATCH_FIELD,
            &freeing,
            &self.keys.words,
            &self.keys.due_word,
        ];
        let args = head.into_iter().map(text).chain(arguments).collect();
        let digits = SETTLE.run(&self.commands, &keys, args).await?;
        let digits = reply::bytes(&digits)
            .filter(|digits| digits.len() == batch.len())
            .ok_or_else(|| BrokerError::odd("settle", &digits))?;
        let mut verdicts = vec![Settled::NotOwned; batch.len()];
        for (place, &digit) in order.into_iter().zip(&digits) {
            verdicts[place] = settled(digit);
        }
        Ok(verdicts)
    }

    fn settle_keys(&self) -> [&str; 9] {
        let [high, normal, low] = self.lane_keys();
        let keys = &self.keys;
        [high, normal, low, &keys.later, &keys.later_jobs, &keys.crashes, &keys.dead, &keys.done, &keys.control]
    }
}

/// A batch as the script takes it: every argument costs both sides, so what most deliveries share is said once.
struct Packed<'a> {
    /// The places in the batch in the order of the answers.
    order: Vec<usize>,
    /// Dedup keys to free, each with the number of its delivery among those that come one by one, from 1.
    freed: Vec<(usize, &'a str)>,
    arguments: Vec<Value>,
}

/// Deliveries of one lane and kind that are simply done.
struct Run<'a> {
    lane: u8,
    kind_channel: &'a str,
    places: Vec<usize>,
}

impl<'a> Packed<'a> {
    fn of(batch: &'a [Settling]) -> Self {
        let (runs, singles) = apart(batch);
        let mut arguments = Vec::with_capacity(9 + 2 * batch.len() + 4 * runs.len() + 7 * singles.len());
        for lane in Priority::ALL {
            arguments.extend(range(batch, lane));
        }
        for Run { lane, kind_channel, places } in &runs {
            let head = ["run", &lane.to_string(), kind_channel, &places.len().to_string()];
            arguments.extend(head.map(text));
            arguments.extend(places.iter().map(|&place| bytes(batch[place].held.entry.0.clone())));
            arguments.extend(places.iter().map(|&place| bytes(batch[place].open())));
        }
        let mut freed = Vec::new();
        for (number, &place) in (1..).zip(&singles) {
            arguments.extend(single(&batch[place]));
            freed.extend(batch[place].dedup_key.as_deref().map(|key| (number, key)));
        }
        let order = runs.into_iter().flat_map(|run| run.places).chain(singles).collect();
        Self { order, freed, arguments }
    }
}

/// What can be said for many at once, and what cannot.
fn apart(batch: &[Settling]) -> (Vec<Run<'_>>, Vec<usize>) {
    let (mut runs, mut singles): (Vec<Run<'_>>, Vec<usize>) = (Vec::new(), Vec::new());
    for (place, settling) in batch.iter().enumerate() {
        let Some(kind_channel) = settling.is_simply_done() else {
            singles.push(place);
            continue;
        };
        let lane = settling.held.priority.lane();
        match runs.iter_mut().find(|run| run.lane == lane && run.kind_channel == kind_channel) {
            Some(run) => run.places.push(place),
            None => runs.push(Run { lane, kind_channel, places: vec![place] }),
        }
    }
    (runs, singles)
}

/// The first and the last entry of a lane, and how many there are.
fn range(batch: &[Settling], lane: Priority) -> [Value; 3] {
    let of_lane = batch.iter().map(|settling| &settling.held).filter(|held| held.priority == lane);
    let entries = of_lane.map(|held| (held.entry.place(), &held.entry.0)).collect::<Vec<_>>();
    let id = |entry: Option<&((u64, u64), &Bytes)>| entry.map_or_else(|| text(""), |(_, id)| bytes((*id).clone()));
    [id(entries.iter().min()), id(entries.iter().max()), text(entries.len().to_string())]
}

impl Settling {
    /// The channel of its kind, where all there is to it is a completion.
    fn is_simply_done(&self) -> Option<&str> {
        let Self { verb: Verb::Done, finish: Some(finish), n_crashes: 0, dedup_key: None, .. } = self else {
            return None;
        };
        finish.further.is_empty().then_some(&finish.kind_channel)
    }

    fn open(&self) -> Bytes {
        self.finish.as_ref().map(|finish| finish.open.clone()).unwrap_or_default()
    }
}

fn single(settling: &Settling) -> [Value; 9] {
    let (verb, number, body) = match &settling.verb {
        Verb::Done => ("done", u128::from(settling.n_crashes), Bytes::new()),
        Verb::Later(delay, envelope) => ("later", delay.as_millis(), envelope.clone()),
        Verb::Dead(letter) => ("dead", u128::from(settling.n_crashes), letter.clone()),
    };
    let finish = settling.finish.as_ref();
    [
        text(verb),
        text(settling.held.priority.lane().to_string()),
        bytes(settling.held.entry.0.clone()),
        text(settling.id.to_string()),
        text(number.to_string()),
        bytes(body),
        bytes(settling.open()),
        text(finish.map_or("", |finish| &finish.kind_channel)),
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
