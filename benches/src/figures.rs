//! What the samples are called: for people, in the JSON line, and which ratios and targets are made of them.

use serde_json::{Map, Value, json};

use crate::{
    peers::{PEERS, Peer},
    plan::Plan,
    rounds::scaled,
    samples::{Samples, Spread},
};

/// A line of the report.
pub(crate) struct Row {
    /// In the JSON line.
    pub(crate) key: String,
    /// For people.
    pub(crate) what: String,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// The figures.
    pub(crate) spread: Spread,
}

/// Name of the samples, what they are, unit, name in the JSON line.
type Named = (&'static str, &'static str, &'static str, &'static str);

const FIGURES: [Named; 42] = [
    ("cycle", "raw cycle: add, read, acknowledge, delete; one stream", "jobs/s", "raw_cycle_per_s"),
    ("xadd", "raw XADD, pipelined, bare socket", "/s", "raw_xadd_per_s"),
    ("xadd_client", "raw XADD, pipelined, plain client", "/s", "client_xadd_per_s"),
    ("xadd_awaited", "raw XADD, each awaited, bare socket", "/s", "raw_xadd_awaited_per_s"),
    ("unnest", "Postgres alone: UNNEST of 500 results", "rows/s", "unnest_rows_per_s"),
    ("copy_500", "Postgres alone: COPY of 500 results", "rows/s", "copy_500_rows_per_s"),
    ("copy_5000", "Postgres alone: COPY of 5,000 results", "rows/s", "copy_5000_rows_per_s"),
    ("enqueue_bulk", "enqueue, bulk", "jobs/s", "enqueue_bulk_per_s"),
    ("enqueue_single", "enqueue, each awaited", "jobs/s", "enqueue_single_per_s"),
    ("enqueue_dedup", "enqueue, bulk, each with a dedup key", "jobs/s", "enqueue_dedup_per_s"),
    ("enqueue_journaled", "enqueue, bulk, journaled", "jobs/s", "enqueue_journaled_per_s"),
    ("enqueue_sql", "enqueue in SQL, 500 a transaction", "jobs/s", "enqueue_sql_per_s"),
    ("enqueue_delayed", "enqueue, delayed, bulk", "jobs/s", "enqueue_delayed_per_s"),
    ("drain", "drain, result committed", "jobs/s", "drain_jobs_per_s"),
    ("drain_bare", "drain, no result kept", "jobs/s", "drain_bare_jobs_per_s"),
    ("drain_1k", "drain, payload of 1 KiB", "jobs/s", "drain_1k_jobs_per_s"),
    ("drain_32k", "drain, payload of 32 KiB", "jobs/s", "drain_32k_jobs_per_s"),
    ("drain_1ms", "drain, handler of 1 ms", "jobs/s", "drain_1ms_jobs_per_s"),
    ("drain_20ms", "drain, handler of 20 ms", "jobs/s", "drain_20ms_jobs_per_s"),
    ("drain_two", "drain, two workers, two partitions", "jobs/s", "drain_two_jobs_per_s"),
    ("drain_journaled", "drain, journaled", "jobs/s", "drain_journaled_jobs_per_s"),
    ("retries", "retry storm: each job fails once", "jobs/s", "retries_jobs_per_s"),
    ("cpu_a_job", "worker's processor time a job", "µs", "cpu_us_a_job"),
    ("latency_start_p50", "submission → handler start at 500/s, p50", "ms", "start_p50_ms"),
    ("latency_start_p99", "submission → handler start at 500/s, p99", "ms", "start_p99_ms"),
    ("latency_completion_p50", "submission → completion at 500/s, p50", "ms", "completion_p50_ms"),
    ("latency_completion_p99", "submission → completion at 500/s, p99", "ms", "completion_p99_ms"),
    ("half_load", "half load: half of what is borne, submissions included", "jobs/s", "half_load_per_s"),
    ("latency_half_start_p50", "submission → handler start at half load, p50", "ms", "half_start_p50_ms"),
    ("latency_half_start_p99", "submission → handler start at half load, p99", "ms", "half_start_p99_ms"),
    ("latency_half_completion_p99", "submission → completion at half load, p99", "ms", "half_completion_p99_ms"),
    ("latency_idle_start_p50", "submission → handler start from idle, p50", "ms", "idle_start_p50_ms"),
    ("latency_idle_start_p99", "submission → handler start from idle, the longest", "ms", "idle_start_p99_ms"),
    ("latency_idle_completion_p50", "submission → completion from idle, p50", "ms", "idle_completion_p50_ms"),
    ("enqueue_deep", "enqueue until all of the deep queue wait", "jobs/s", "enqueue_deep_per_s"),
    ("drain_short", "drain of a short queue, beside the deep one", "jobs/s", "drain_short_jobs_per_s"),
    ("drain_deep", "drain of the first of the deep queue", "jobs/s", "drain_deep_jobs_per_s"),
    ("bytes_a_job", "server's memory a waiting job", "B", "bytes_per_waiting_job"),
    ("idle_rss", "worker's memory, idle", "MB", "rss_idle_mb"),
    ("busy_rss", "worker's memory, most in the drain", "MB", "rss_busy_mb"),
    ("idle_core", "idle worker's share of a core", "", "idle_core"),
    ("idle_commands", "idle worker's commands", "/s", "idle_commands"),
];

/// Of each peer: figure, what it is, unit, end of the name in the JSON line.
const OF_PEERS: [Named; 4] = [
    ("drain", "drain", "jobs/s", "drain_jobs_per_s"),
    ("enqueue", "enqueue, bulk", "jobs/s", "enqueue_bulk_per_s"),
    ("p50", "submission → handler start at 500/s, p50", "ms", "start_p50_ms"),
    ("p99", "submission → handler start at 500/s, p99", "ms", "start_p99_ms"),
];

/// Name in the JSON line, what is divided by what.
const RATIOS: [(&str, &str, &str); 13] = [
    ("drain_committed_to_unnest", "drain", "unnest"),
    ("drain_to_cycle", "drain_bare", "cycle"),
    ("drain_committed_to_awa", "drain", "best_awa_drain"),
    ("drain_committed_to_bullmq", "drain", "peer_bullmq_drain"),
    ("enqueue_bulk_to_xadd", "enqueue_bulk", "xadd"),
    ("enqueue_single_to_xadd", "enqueue_single", "xadd_awaited"),
    ("enqueue_dedup_to_xadd", "enqueue_dedup", "xadd"),
    ("enqueue_journaled_to_unnest", "enqueue_journaled", "unnest"),
    ("drain_journaled_to_memory", "drain_journaled", "drain"),
    ("start_p50_peer_to_ours", "best_peer_p50", "latency_start_p50"),
    ("start_p99_peer_to_ours", "best_peer_p99", "latency_start_p99"),
    ("drain_deep_to_short", "drain_deep", "drain_short"),
    ("scale_2_to_1", "drain_two", "drain"),
];

/// A ratio that is a figure of its own: it has two sides in each round already.
const MEMORY: &str = "memory_per_job";

/// What is wanted of a ratio or a figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// No less.
    AtLeast(f64),
    /// No more.
    AtMost(f64),
}

impl Target {
    /// Whether it is met.
    pub(crate) fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

const TARGETS: [(&str, Target); 19] = [
    ("drain_committed_to_unnest", Target::AtLeast(0.5)),
    ("drain_to_cycle", Target::AtLeast(0.5)),
    ("drain_committed_to_awa", Target::AtLeast(5.0)),
    ("drain_committed_to_bullmq", Target::AtLeast(2.0)),
    ("enqueue_bulk_to_xadd", Target::AtLeast(0.5)),
    ("enqueue_single_to_xadd", Target::AtLeast(0.7)),
    ("enqueue_dedup_to_xadd", Target::AtLeast(0.25)),
    ("enqueue_journaled_to_unnest", Target::AtLeast(0.5)),
    ("drain_journaled_to_memory", Target::AtLeast(0.5)),
    ("start_p50_peer_to_ours", Target::AtLeast(1.0)),
    ("start_p99_peer_to_ours", Target::AtLeast(1.0)),
    ("drain_deep_to_short", Target::AtLeast(0.9)),
    ("scale_2_to_1", Target::AtLeast(1.0)),
    (MEMORY, Target::AtMost(1.5)),
    ("completion_p99_ms", Target::AtMost(10.0)),
    ("rss_idle_mb", Target::AtMost(60.0)),
    ("rss_busy_mb", Target::AtMost(150.0)),
    ("idle_core", Target::AtMost(0.01)),
    ("idle_commands", Target::AtMost(20.0)),
];

/// What is wanted of this key, if anything is.
pub(crate) fn target(key: &str) -> Option<Target> {
    TARGETS.iter().find(|(of, _)| *of == key).map(|&(_, target)| target)
}

/// Everything that was measured, in the order of the report.
pub(crate) struct Report {
    /// Rates, times, sizes: they belong to the machine.
    pub(crate) figures: Vec<Row>,
    /// What means something elsewhere too.
    pub(crate) ratios: Vec<Row>,
}

impl Report {
    /// Of all rounds.
    pub(crate) fn of(samples: &mut Samples, plan: &Plan) -> Self {
        let peers = |figure: &str| PEERS.iter().map(|peer| peer.figure(figure)).collect::<Vec<_>>();
        samples.best("best_peer_p50", &peers("p50"), f64::min);
        samples.best("best_peer_p99", &peers("p99"), f64::min);
        let awa: Vec<String> = peers("drain").into_iter().filter(|name| name.starts_with("peer_awa")).collect();
        samples.best("best_awa_drain", &awa, f64::max);
        let figures = FIGURES.iter().filter_map(|&(name, what, unit, key)| row(samples, name, (what, unit, key)));
        let figures = figures.chain(of_grid(samples, plan)).chain(PEERS.iter().flat_map(|peer| of_peer(samples, peer)));
        let ratio = |&(key, of, to): &(&str, &str, &str)| {
            Some(Row { key: key.to_owned(), what: key.to_owned(), unit: "", spread: samples.ratio(of, to)? })
        };
        let ratios = RATIOS.iter().filter_map(ratio).chain(row(samples, MEMORY, (MEMORY, "", MEMORY)));
        Self { figures: figures.collect(), ratios: ratios.collect() }
    }

    /// The line for programs.
    pub(crate) fn line(&self) -> Value {
        let medians = |rows: &[Row]| {
            let medians = rows.iter().map(|row| (row.key.clone(), json!(rounded(row.spread.median()))));
            Value::Object(medians.collect::<Map<_, _>>())
        };
        json!({ "bench": "throughput", "ratios": medians(&self.ratios), "figures": medians(&self.figures) })
    }

    /// The median of a figure or ratio, if it was measured.
    pub(crate) fn median(&self, key: &str) -> Option<f64> {
        let mut rows = self.ratios.iter().chain(&self.figures);
        rows.find(|row| row.key == key).map(|row| row.spread.median())
    }
}

fn row(samples: &Samples, name: &str, (what, unit, key): (&str, &'static str, &str)) -> Option<Row> {
    let spread = samples.get(name)?;
    Some(Row { key: key.to_owned(), what: what.to_owned(), unit, spread })
}

fn of_peer(samples: &Samples, peer: &Peer) -> Vec<Row> {
    let of = |&(figure, what, unit, key): &Named| {
        let (what, key) = (format!("{}: {what}", peer.title), peer.figure(key));
        row(samples, &peer.figure(figure), (&what, unit, &key))
    };
    OF_PEERS.iter().filter_map(of).collect()
}

fn of_grid(samples: &Samples, plan: &Plan) -> Vec<Row> {
    let (workers, partitions) = plan.grid;
    let cells = workers.iter().flat_map(|&n_workers| partitions.iter().map(move |&n| (n_workers, n)));
    let of = |(n_workers, n_partitions)| {
        let what = format!("drain, workers: {n_workers}, partitions: {n_partitions}");
        let name = scaled(n_workers, n_partitions);
        row(samples, &name, (&what, "jobs/s", &format!("{name}_jobs_per_s")))
    };
    cells.filter_map(of).collect()
}

/// Three decimals are more than any of this deserves.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(figures: &[(&str, f64)]) -> Report {
        let mut samples = Samples::default();
        samples.next_round();
        for &(name, value) in figures {
            samples.add(name, value);
        }
        Report::of(&mut samples, &Plan::default_for_tests())
    }

    #[test]
    fn the_line_names_ratios_and_figures_by_their_keys() {
        let line = report(&[("drain", 30_000.0), ("unnest", 60_000.0), ("memory_per_job", 1.23456)]).line();
        let expected = json!({
            "bench": "throughput",
            "ratios": { "drain_committed_to_unnest": 0.5, "memory_per_job": 1.235 },
            "figures": { "unnest_rows_per_s": 60_000.0, "drain_jobs_per_s": 30_000.0 },
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn we_are_compared_with_the_best_peer_and_the_faster_awa() {
        let report = report(&[
            ("drain", 40.0),
            ("peer_awa_drain", 5.0),
            ("peer_awa_python_drain", 8.0),
            ("peer_bullmq_p50", 2.0),
            ("peer_taskiq_p50", 1.0),
            ("latency_start_p50", 0.5),
        ]);
        assert_eq!(report.median("drain_committed_to_awa"), Some(5.0));
        assert_eq!(report.median("start_p50_peer_to_ours"), Some(2.0));
        assert_eq!(report.median("start_p99_peer_to_ours"), None);
    }

    #[test]
    fn every_target_is_of_a_key_that_the_report_can_have() {
        let ratios = RATIOS.iter().map(|(key, ..)| *key).chain([MEMORY]);
        let keys: Vec<&str> = ratios.chain(FIGURES.iter().map(|&(.., key)| key)).collect();
        for (key, _) in TARGETS {
            assert!(keys.contains(&key), "{key}");
        }
    }

    #[test]
    fn a_target_is_met_at_its_very_bound() {
        assert!(Target::AtLeast(0.5).is_met(0.5) && !Target::AtLeast(0.5).is_met(0.499));
        assert!(Target::AtMost(10.0).is_met(10.0) && !Target::AtMost(10.0).is_met(10.1));
    }
}
