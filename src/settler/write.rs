//! What a settlement writes: a result's row, a dead letter, the envelope of the next attempt, a completion.
//!
//! Pure: the same settlement gives the same bytes, however often it is tried.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};

use crate::{
    broker::{Finish, SettleContext, Settling, Verb, with_lane},
    completion::{Ending, channels},
    dedup::Mode,
    handler::Produced,
    job::Kind,
    keys::Keys,
    letter::Letter,
    outcome::{AttemptError, Status},
    settlement::{Delivery, Settlement, Verdict},
    store::{DeadRow, ResultRow, StoredResult},
};

/// The row of a job that is done and keeps its result.
pub(super) fn result_row(settlement: &Settlement) -> Option<ResultRow<'_>> {
    let Verdict::Done(produced @ Produced { is_kept: true, .. }) = &settlement.verdict else { return None };
    let delivery = &settlement.delivery;
    Some(ResultRow {
        id: delivery.envelope.id,
        kind: delivery.envelope.kind.as_str(),
        user_id: delivery.envelope.options.user_id.as_deref(),
        attempt: delivery.attempt(),
        result: &produced.result,
        timings: settlement.timings,
        is_journaled: delivery.envelope.options.journaled,
    })
}

/// The mirror of a job that is given up.
pub(super) fn dead_row(settlement: &Settlement) -> Option<DeadRow> {
    let Verdict::Dead(status, error) = &settlement.verdict else { return None };
    let delivery = &settlement.delivery;
    let options = &delivery.envelope.options;
    Some(DeadRow {
        id: delivery.envelope.id,
        queue: delivery.holding.partition.queue.to_string(),
        partition: delivery.holding.partition.tag.to_string(),
        kind: kind_of(delivery),
        user_id: options.user_id.clone(),
        status: status.as_str(),
        class: error.class.clone(),
        error: error.chain.join(": "),
        attempt: error.attempt,
        letter: letter(delivery, *status, error).to_vec(),
        traceparent: options.traceparent.clone(),
    })
}

fn kind_of(delivery: &Delivery) -> String {
    if delivery.unreadable.is_some() { String::new() } else { delivery.envelope.kind.to_string() }
}

fn letter(delivery: &Delivery, status: Status, error: &AttemptError) -> Bytes {
    let mut errors = delivery.envelope.options.errors.clone();
    errors.push(error.clone());
    let letter = Letter {
        id: delivery.envelope.id,
        queue: delivery.holding.partition.queue.clone(),
        kind: delivery.unreadable.is_none().then(|| delivery.envelope.kind.clone()),
        status,
        errors,
        died_at_ms: error.at_ms,
        envelope: delivery.unreadable.clone().unwrap_or_else(|| delivery.envelope.write()).to_vec(),
    };
    letter.write()
}

/// Writes what the settle script is told, one settlement after the other; what they share is made once.
pub(super) struct Writer<'a> {
    context: &'a SettleContext,
    keys: &'a Keys,
    inline_result_bytes: usize,
    /// Every completion is a part of it.
    completions: BytesMut,
    /// The kind of the last one, and its channel.
    kind_channel: Option<(Kind, Arc<str>)>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(context: &'a SettleContext, keys: &'a Keys, inline_result_bytes: usize, n_jobs: usize) -> Self {
        let completions = BytesMut::with_capacity(n_jobs * USUAL_BYTES);
        Self { context, keys, inline_result_bytes, completions, kind_channel: None }
    }

    pub(super) fn settling(&mut self, settlement: &Settlement) -> Settling {
        let delivery = &settlement.delivery;
        let verb = match &settlement.verdict {
            Verdict::Done(_) | Verdict::Known(_) => Verb::Done,
            Verdict::Retry(delay, error) => {
                Verb::Later(*delay, with_lane(delivery.held.priority, &next_attempt(delivery, error)))
            }
            Verdict::Snooze(delay) => Verb::Later(*delay, with_lane(delivery.held.priority, &as_it_came(delivery))),
            // Not confirmed by Postgres, or it would be known: it runs again.
            Verdict::Cancelled => Verb::Later(Duration::ZERO, with_lane(delivery.held.priority, &as_it_came(delivery))),
            Verdict::Dead(status, error) => Verb::Dead(letter(delivery, *status, error)),
        };
        let finish = ending(settlement, self.context).map(|ending| self.finish(ending, settlement));
        let dedup_key = freed(settlement);
        let (held, n_crashes) = (delivery.held.clone(), delivery.deaths.total());
        Settling { held, id: delivery.envelope.id, verb, finish, n_crashes, dedup_key }
    }

    fn finish(&mut self, ending: Ending<'_>, Settlement { delivery, verdict, .. }: &Settlement) -> Finish {
        let kind_channel = self.kind_channel(ending.kind);
        let further = channels(delivery.envelope.id, &delivery.envelope.options, self.keys);
        ending.write_open(self.context.format, &mut self.completions);
        if self.completions.len() > self.inline_result_bytes + OVERHEAD_BYTES && ending.result.is_some() {
            let is_kept = !matches!(verdict, Verdict::Done(Produced { is_kept: false, .. }));
            let result_ref = is_kept.then(|| format!("job_results/{}", ending.id));
            self.completions.clear();
            Ending { result: None, result_ref, ..ending }.write_open(self.context.format, &mut self.completions);
        }
        Finish { open: self.completions.split().freeze(), kind_channel, further }
    }

    fn kind_channel(&mut self, kind: &Kind) -> Arc<str> {
        match &self.kind_channel {
            Some((last, channel)) if last == kind => Arc::clone(channel),
            _ => {
                let channel: Arc<str> = self.keys.kind_channel(kind).into();
                self.kind_channel = Some((kind.clone(), Arc::clone(&channel)));
                channel
            }
        }
    }
}

/// The dedup key of a job that is over, unless time alone frees it.
fn freed(Settlement { delivery, verdict, .. }: &Settlement) -> Option<String> {
    let over = matches!(verdict, Verdict::Done(_) | Verdict::Known(_) | Verdict::Dead(..));
    let dedup = delivery.envelope.options.dedup.as_ref().filter(|dedup| over && dedup.mode != Mode::Throttle)?;
    Some(delivery.holding.partition.keys.dedup(&dedup.key))
}

fn next_attempt(delivery: &Delivery, error: &AttemptError) -> Bytes {
    let mut envelope = delivery.envelope.clone();
    envelope.options.failed_attempts += 1;
    envelope.options.errors.push(error.clone());
    envelope.write()
}

fn as_it_came(delivery: &Delivery) -> Bytes {
    delivery.unreadable.clone().unwrap_or_else(|| delivery.envelope.write())
}

fn ending<'a>(settlement: &'a Settlement, context: &'a SettleContext) -> Option<Ending<'a>> {
    let Settlement { delivery, verdict, timings, .. } = settlement;
    let (status, attempt, result, error) = match verdict {
        Verdict::Done(Produced { result, .. }) => (Status::Done, delivery.attempt(), Some(result), None),
        Verdict::Known(StoredResult { status, attempt, result, .. }) => {
            (*status, *attempt, (*status == Status::Done).then_some(result), None)
        }
        Verdict::Dead(status, error) => (*status, error.attempt, None, Some(error)),
        Verdict::Retry(..) | Verdict::Snooze(_) | Verdict::Cancelled => return None,
    };
    let (timings, worker) = match verdict {
        Verdict::Known(stored) => (stored.timings, &*stored.worker),
        _ => (*timings, &*context.consumer),
    };
    let Delivery { envelope, holding, .. } = &**delivery;
    Some(Ending {
        id: envelope.id,
        kind: &envelope.kind,
        queue: &holding.partition.queue,
        status,
        attempt,
        result,
        result_ref: None,
        error,
        timings,
        user_id: envelope.options.user_id.as_deref(),
        worker,
        traceparent: envelope.options.traceparent.as_deref(),
        partition: holding.partition.tag.as_str(),
    })
}

/// Room for everything in a completion but its result.
const OVERHEAD_BYTES: usize = 1_024;

/// What a completion has when nothing in it is large.
const USUAL_BYTES: usize = 384;
