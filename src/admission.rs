//! Whether an entry from a stream is a job that this worker can run, and if not, what becomes of it.
//!
//! Pure. Promise: whatever an entry holds, the answer is a delivery; nothing stops the loop, and the
//! bytes of what cannot be read are kept.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    broker::{Entry, Held},
    envelope::{Envelope, Options, Reading},
    handler::{Handler, Payload},
    holding::Holding,
    job::Kind,
    outcome::{AttemptError, Status},
    registry::{Found, Registry},
    settlement::{Delivery, Verdict},
};

/// How long a job waits for a newer worker before it is offered again.
const PARKED: Duration = Duration::from_secs(30);

/// What is admitted.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) max_payload_bytes: usize,
    pub(crate) max_crashes: u32,
    pub(crate) worker: Arc<str>,
}

pub(crate) enum Admitted<C> {
    Run(Arc<dyn Handler<C>>, Payload),
    Settle(Verdict),
}

/// Reads an entry.
pub(crate) fn admit<C: Send + Sync + 'static>(
    holding: &Arc<Holding>,
    entry: Entry,
    registry: &Registry<C>,
    (limits, now_ms): (&Limits, u64),
) -> (Box<Delivery>, Admitted<C>) {
    let held = Held { priority: entry.priority, entry: entry.id.clone() };
    let refuse = |class: &str, reason: String| {
        Admitted::Settle(Verdict::Dead(Status::Dead, refusal(class, reason, (limits, now_ms))))
    };
    let stream = holding.partition.keys.lane(entry.priority);
    let fallback = || entry.derived_job_id(stream);
    let unread = |class: &str, reason: String| {
        let bytes = entry.job.clone().unwrap_or_else(|| Bytes::from(entry.fields.concat()));
        (Box::new(Delivery::unreadable(Arc::clone(holding), held.clone(), fallback(), bytes)), refuse(class, reason))
    };
    let Some(job) = &entry.job else {
        return unread("unreadable", "the entry has no field `job`".to_owned());
    };
    if job.len() > limits.max_payload_bytes {
        return unread(
            "oversized",
            format!("the envelope has {} bytes, at most {} are allowed", job.len(), limits.max_payload_bytes),
        );
    }
    let envelope = match Envelope::read(job, fallback) {
        Ok(Reading::Whole(envelope)) => envelope,
        Ok(Reading::Newer { id, .. }) => {
            let parked = Delivery::unreadable(Arc::clone(holding), held, id, job.clone());
            return (Box::new(parked), Admitted::Settle(Verdict::Snooze(PARKED)));
        }
        Err(error) => return unread("unreadable", error.to_string()),
    };
    let queued_ms = entry.id.ms();
    let mut delivery = Box::new(Delivery {
        holding: Arc::clone(holding),
        held,
        deaths: entry.deaths,
        noted_alone: false,
        queued_ms,
        envelope,
        unreadable: None,
    });
    let admitted = judge(&delivery, registry, (limits, now_ms), refuse);
    if let Admitted::Run(handler, _) = &admitted {
        // The same name, known for good: what is made of it later need not copy it.
        delivery.envelope.kind = handler.spec().kind.clone();
    }
    (delivery, admitted)
}

fn judge<C: Send + Sync + 'static>(
    delivery: &Delivery,
    registry: &Registry<C>,
    (limits, now_ms): (&Limits, u64),
    refuse: impl Fn(&str, String) -> Admitted<C>,
) -> Admitted<C> {
    let Envelope { kind, options, .. } = &delivery.envelope;
    // A death in company may have been a neighbour's doing: only one while it ran alone proves anything.
    if delivery.deaths.alone > 0 && delivery.deaths.total() >= limits.max_crashes {
        return refuse(
            "crashed",
            format!("its worker died {} times while it ran, the last time it ran alone", delivery.deaths.total()),
        );
    }
    match too_early_or_late(options, now_ms) {
        Some(Moment::Early(wait)) => return Admitted::Settle(Verdict::Snooze(wait)),
        Some(Moment::Late) => return Admitted::Settle(late(options, (limits, now_ms))),
        None => {}
    }
    let handler = match registry.find(kind) {
        Found::Known(handler) if handler.spec().queue == delivery.holding.partition.queue => handler,
        Found::Known(handler) => return refuse("misplaced", misplaced(kind, &handler, delivery)),
        Found::Newer => return Admitted::Settle(Verdict::Snooze(PARKED)),
        Found::Unknown => return refuse("unknown_kind", format!("no worker of this version knows the kind `{kind}`")),
    };
    match handler.decode(&delivery.envelope) {
        Ok(payload) => Admitted::Run(handler, payload),
        Err(reason) => refuse("bad_payload", format!("the payload is not what `{kind}` expects: {reason}")),
    }
}

fn misplaced<C>(kind: &Kind, handler: &Arc<dyn Handler<C>>, delivery: &Delivery) -> String {
    format!(
        "jobs of kind `{kind}` belong to the queue `{}`, this one came to `{}`",
        handler.spec().queue,
        delivery.holding.partition.queue
    )
}

enum Moment {
    Early(Duration),
    Late,
}

fn too_early_or_late(options: &Options, now_ms: u64) -> Option<Moment> {
    if options.deadline_ms.is_some_and(|deadline| now_ms > deadline) {
        return Some(Moment::Late);
    }
    let wait_ms = options.run_at_ms?.checked_sub(now_ms).filter(|&ms| ms > 0)?;
    Some(Moment::Early(Duration::from_millis(wait_ms)))
}

fn late(options: &Options, at: (&Limits, u64)) -> Verdict {
    let reason = format!("its deadline {} ms passed before it could begin", options.deadline_ms.unwrap_or_default());
    Verdict::Dead(Status::Failed, refusal("deadline", reason, at))
}

fn refusal(class: &str, reason: String, (limits, now_ms): (&Limits, u64)) -> AttemptError {
    AttemptError {
        attempt: 0,
        at_ms: now_ms,
        class: class.to_owned(),
        chain: vec![reason],
        worker: limits.worker.to_string(),
    }
}
