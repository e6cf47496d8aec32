//! Metrics as events: call sites say what happened, names and labels live here alone.
//!
//! Promise: labels come from closed sets (queues, kinds, outcomes); never an id, a URL or an error's text.
#![allow(clippy::disallowed_macros, reason = "the one place that may name the raw macros")]

use std::{collections::HashMap, time::Duration};

use metrics::{Counter, Histogram, counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::{
    broker::sampling::Depths,
    job::{Kind, QueueName},
    store::Backlog,
};

/// One metric, as it is documented: name, type, labels, meaning.
pub type Documented = (&'static str, &'static str, &'static str, &'static str);

/// Every metric of the service.
pub const METRICS: &[Documented] = &[
    ("tripsage_jobs_taken_total", "counter", "queue", "Jobs handed to this worker, again after a crash included"),
    (
        "tripsage_jobs_finished_total",
        "counter",
        "kind, outcome",
        "Attempts that ended, by outcome: done, retried, snoozed, failed, dead, cancelled, known, abandoned",
    ),
    ("tripsage_job_run_seconds", "histogram", "kind", "How long attempts ran"),
    ("tripsage_job_wait_seconds", "histogram", "queue", "How long jobs stood in their stream before an attempt began"),
    (
        "tripsage_jobs_reclaimed_total",
        "counter",
        "queue",
        "Jobs claimed from dead workers or handed back by leaving ones",
    ),
    ("tripsage_jobs_released_total", "counter", "queue", "Jobs handed back unstarted"),
    (
        "tripsage_retries_stretched_total",
        "counter",
        "queue",
        "Retries that wait longer than their policy says because the queue's retry budget is exhausted",
    ),
    (
        "tripsage_schedule_slots_total",
        "counter",
        "outcome",
        "Slots of schedules that passed: fired (a job was accepted) or skipped (missed, and left out by the policy)",
    ),
    (
        "tripsage_dead_letters_expired_total",
        "counter",
        "queue",
        "Dead letters forgotten because they were older than TRIPSAGE_WORKER_DEAD_RETENTION_DAYS",
    ),
    ("tripsage_jobs_promoted_total", "counter", "queue", "Delayed and retrying jobs that became ready"),
    (
        "tripsage_settlements_total",
        "counter",
        "verdict",
        "Deliveries settled, not_owned any more, or refused for want of memory",
    ),
    ("tripsage_settle_batch_jobs", "histogram", "", "Jobs a settlement"),
    (
        "tripsage_settle_seconds",
        "histogram",
        "step",
        "How long settlements took: commit (Postgres), acknowledge (Dragonfly)",
    ),
    ("tripsage_journal_relayed_total", "counter", "", "Journaled jobs that this worker brought to Dragonfly"),
    (
        "tripsage_journal_reconciliations_total",
        "counter",
        "",
        "Times that this worker found Dragonfly with another memory, and had the journal brought there again",
    ),
    (
        "tripsage_journal_backlog_jobs",
        "gauge",
        "",
        "Journaled jobs that are not in Dragonfly's memory yet; counted up to 100,000",
    ),
    ("tripsage_journal_backlog_oldest_seconds", "gauge", "", "How long the oldest of them has been accepted"),
    ("tripsage_queue_ready_jobs", "gauge", "queue", "Jobs that nobody has taken yet"),
    ("tripsage_queue_in_flight_jobs", "gauge", "queue", "Jobs taken and not yet settled, by all workers"),
    ("tripsage_queue_later_jobs", "gauge", "queue", "Delayed and retrying jobs"),
    ("tripsage_queue_dead_jobs", "gauge", "queue", "Dead letters"),
    ("tripsage_queue_oldest_seconds", "gauge", "queue", "Age of the oldest job still in a stream"),
    ("tripsage_queue_workers", "gauge", "queue", "Workers whose heart beat lately"),
    ("tripsage_queue_slots", "gauge", "queue", "How many jobs this worker runs at once at most"),
    ("tripsage_queue_paused", "gauge", "queue", "1 while an operator has paused the queue, else 0"),
    ("tripsage_errors_total", "counter", "role", "Failures of Dragonfly or Postgres that a role met and went on from"),
    ("tripsage_database_connections", "gauge", "state", "Connections to Postgres: open, idle"),
    (
        "tripsage_broker_call_seconds",
        "histogram",
        "command, outcome",
        "How long Dragonfly took to answer a command or a pipeline of one, blocking reads aside: ok, error",
    ),
    ("tripsage_broker_reconnections_total", "counter", "", "Times that a connection to Dragonfly was made anew"),
    ("tripsage_cache_reads_total", "counter", "namespace, outcome", "Cache reads: hit, stale, miss, off"),
    ("tripsage_cache_load_seconds", "histogram", "namespace", "How long it took to load what the cache did not have"),
    ("tripsage_cache_bytes_total", "counter", "namespace", "Bytes written to the cache"),
    (
        "tripsage_cache_refreshes_total",
        "counter",
        "namespace, outcome",
        "Refreshes behind stale values: done, failed, elsewhere (another worker does or did it), cut_short",
    ),
    ("tripsage_cache_refused_total", "counter", "namespace, reason", "Values not kept: too_large, not_encodable"),
    (
        "tripsage_cache_errors_total",
        "counter",
        "step",
        "Times that the cache server did not answer or refused: read, write, claim, release",
    ),
];

/// The README's table of metrics.
pub fn markdown_table() -> String {
    let mut table = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for (name, kind, labels, meaning) in METRICS {
        let labels = if labels.is_empty() { "–" } else { labels };
        table.push_str(&format!("| `{name}` | {kind} | {labels} | {meaning} |\n"));
    }
    table
}

/// Buckets from a quarter of a millisecond to two minutes.
const SECONDS: &[f64] =
    &[0.000_25, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];
const JOBS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Installs the recorder; the handle renders what Prometheus scrapes.
///
/// # Errors
/// When a recorder is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_jobs".to_owned()), JOBS)?;
    let handle = builder.install_recorder()?;
    describe();
    Ok(handle)
}

fn describe() {
    for (name, kind, _, meaning) in METRICS {
        match *kind {
            "counter" => metrics::describe_counter!(*name, *meaning),
            "gauge" => metrics::describe_gauge!(*name, *meaning),
            _ => metrics::describe_histogram!(*name, *meaning),
        }
    }
}

/// Jobs came in from a stream.
pub fn jobs_taken(queue: &QueueName, n_jobs: usize) {
    counter!("tripsage_jobs_taken_total", "queue" => queue.to_string()).increment(n_jobs as u64);
}

/// An attempt ended.
pub fn job_finished(kind: &Kind, outcome: &'static str) {
    counter!("tripsage_jobs_finished_total", "kind" => kind.to_string(), "outcome" => outcome).increment(1);
}

/// What is measured at every job of a queue, looked up once a kind instead of once a job.
pub struct JobMeters {
    waited: Histogram,
    of_kind: HashMap<Kind, (Histogram, Counter)>,
}

impl JobMeters {
    /// The meters of a queue's kinds, in the recorder that is installed by now.
    pub fn new<'a>(queue: &QueueName, kinds: impl Iterator<Item = &'a Kind>) -> Self {
        let of_kind = kinds.map(|kind| {
            let ran = histogram!("tripsage_job_run_seconds", "kind" => kind.to_string());
            (
                kind.clone(),
                (ran, counter!("tripsage_jobs_finished_total", "kind" => kind.to_string(), "outcome" => "done")),
            )
        });
        Self {
            waited: histogram!("tripsage_job_wait_seconds", "queue" => queue.to_string()),
            of_kind: of_kind.collect(),
        }
    }

    /// An attempt ran this long, after its job had waited.
    pub fn ran(&self, kind: &Kind, waited: Duration, ran: Duration) {
        self.waited.record(waited.as_secs_f64());
        if let Some((histogram, _)) = self.of_kind.get(kind) {
            histogram.record(ran.as_secs_f64());
        }
    }

    /// An attempt ended.
    pub fn finished(&self, kind: &Kind, outcome: &'static str) {
        match self.of_kind.get(kind) {
            Some((_, done)) if outcome == "done" => done.increment(1),
            _ => job_finished(kind, outcome),
        }
    }
}

/// Jobs were claimed from a dead or leaving worker.
pub fn jobs_reclaimed(queue: &QueueName, n_jobs: usize) {
    counter!("tripsage_jobs_reclaimed_total", "queue" => queue.to_string()).increment(n_jobs as u64);
}

/// Jobs were handed back unstarted.
pub fn jobs_released(queue: &QueueName, n_jobs: usize) {
    counter!("tripsage_jobs_released_total", "queue" => queue.to_string()).increment(n_jobs as u64);
}

/// Delayed jobs became ready.
pub fn jobs_promoted(queue: &QueueName, n_jobs: usize) {
    counter!("tripsage_jobs_promoted_total", "queue" => queue.to_string()).increment(n_jobs as u64);
}

/// A retry waits longer than its policy says.
pub fn retry_stretched(queue: &QueueName) {
    counter!("tripsage_retries_stretched_total", "queue" => queue.to_string()).increment(1);
}

/// Slots of a schedule passed.
pub fn schedule_slots(n_fired: usize, n_skipped: usize) {
    counter!("tripsage_schedule_slots_total", "outcome" => "fired").increment(n_fired as u64);
    counter!("tripsage_schedule_slots_total", "outcome" => "skipped").increment(n_skipped as u64);
}

/// Dead letters were forgotten for their age.
pub fn dead_letters_expired(queue: &QueueName, n_letters: usize) {
    counter!("tripsage_dead_letters_expired_total", "queue" => queue.to_string()).increment(n_letters as u64);
}

/// Deliveries were settled, or could not be.
pub fn settled(verdict: &'static str, n_jobs: usize) {
    counter!("tripsage_settlements_total", "verdict" => verdict).increment(n_jobs as u64);
}

/// A settlement's step took this long for so many jobs.
#[allow(clippy::cast_precision_loss, reason = "a batch has at most thousands")]
pub fn settle_step(step: &'static str, n_jobs: usize, took: Duration) {
    histogram!("tripsage_settle_seconds", "step" => step).record(took.as_secs_f64());
    if step == "commit" {
        histogram!("tripsage_settle_batch_jobs").record(n_jobs as f64);
    }
}

/// What stands in a queue, all its partitions together.
#[allow(clippy::cast_precision_loss, reason = "counts of jobs are far below 2^52")]
pub fn queue_sampled(queue: &QueueName, depths: &[Depths], now_ms: u64) {
    let sum = |pick: fn(&Depths) -> u64| depths.iter().map(pick).sum::<u64>() as f64;
    let set = |name: &'static str, value: f64| gauge!(name, "queue" => queue.to_string()).set(value);
    set("tripsage_queue_ready_jobs", sum(Depths::ready));
    set("tripsage_queue_in_flight_jobs", sum(|depths| depths.in_flight));
    set("tripsage_queue_later_jobs", sum(|depths| depths.later));
    set("tripsage_queue_dead_jobs", sum(|depths| depths.dead));
    set("tripsage_queue_workers", depths.iter().map(|depths| depths.live).max().unwrap_or_default() as f64);
    let oldest = depths.iter().filter_map(|depths| depths.oldest_ms).min();
    set("tripsage_queue_oldest_seconds", oldest.map_or(0.0, |ms| now_ms.saturating_sub(ms) as f64 / 1000.0));
}

/// How this worker is told to run a queue.
#[allow(clippy::cast_precision_loss, reason = "at most a million")]
pub fn queue_governed(queue: &QueueName, n_slots: usize, is_paused: bool) {
    gauge!("tripsage_queue_slots", "queue" => queue.to_string()).set(n_slots as f64);
    gauge!("tripsage_queue_paused", "queue" => queue.to_string()).set(f64::from(u8::from(is_paused)));
}

/// Journaled jobs were brought to Dragonfly.
pub fn journal_relayed(n_jobs: usize) {
    counter!("tripsage_journal_relayed_total").increment(n_jobs as u64);
}

/// Dragonfly was found with another memory.
pub fn reconciled() {
    counter!("tripsage_journal_reconciliations_total").increment(1);
}

/// What is journaled and not in Dragonfly's memory yet.
#[allow(clippy::cast_precision_loss, reason = "counts of jobs are far below 2^52")]
pub fn journal_sampled(backlog: &Backlog) {
    gauge!("tripsage_journal_backlog_jobs").set(backlog.n_jobs as f64);
    gauge!("tripsage_journal_backlog_oldest_seconds").set(backlog.oldest.as_secs_f64());
}

/// A role met a failure of Dragonfly or Postgres and went on.
pub fn role_failed(role: &'static str) {
    counter!("tripsage_errors_total", "role" => role).increment(1);
}

/// Connections to Postgres.
#[allow(clippy::cast_precision_loss, reason = "a pool has at most thousands")]
pub fn database_connections(open: u32, idle: usize) {
    gauge!("tripsage_database_connections", "state" => "open").set(f64::from(open));
    gauge!("tripsage_database_connections", "state" => "idle").set(idle as f64);
}

/// Dragonfly answered, or did not.
pub fn broker_called(command: &'static str, took: Duration, ok: bool) {
    let outcome = if ok { "ok" } else { "error" };
    histogram!("tripsage_broker_call_seconds", "command" => command, "outcome" => outcome).record(took.as_secs_f64());
}

/// A connection to Dragonfly was lost and is there again.
pub fn broker_reconnected() {
    counter!("tripsage_broker_reconnections_total").increment(1);
}

/// A cache was asked.
pub fn cache_read(namespace: &'static str, outcome: &'static str) {
    counter!("tripsage_cache_reads_total", "namespace" => namespace, "outcome" => outcome).increment(1);
}

/// What a cache did not have was loaded.
pub fn cache_loaded(namespace: &'static str, took: Duration) {
    histogram!("tripsage_cache_load_seconds", "namespace" => namespace).record(took.as_secs_f64());
}

/// A cache entry of so many bytes was written.
pub fn cache_written(namespace: &'static str, size_bytes: usize) {
    counter!("tripsage_cache_bytes_total", "namespace" => namespace).increment(size_bytes as u64);
}

/// A refresh behind a stale value ended.
pub fn cache_refreshed(namespace: &'static str, outcome: &'static str) {
    counter!("tripsage_cache_refreshes_total", "namespace" => namespace, "outcome" => outcome).increment(1);
}

/// A value was not kept.
pub fn cache_refused(namespace: &'static str, reason: &'static str) {
    counter!("tripsage_cache_refused_total", "namespace" => namespace, "reason" => reason).increment(1);
}

/// The cache server did not answer, or refused.
pub fn cache_failed(step: &'static str) {
    counter!("tripsage_cache_errors_total", "step" => step).increment(1);
}
