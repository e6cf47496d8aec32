//! What the rounds gave: a table of medians and spreads, then one line of JSON.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};

/// Figures by name, one a round.
#[derive(Default)]
pub(crate) struct Samples(BTreeMap<&'static str, Vec<f64>>);

impl Samples {
    /// One round's figure.
    pub(crate) fn add(&mut self, name: &'static str, value: f64) {
        self.0.entry(name).or_default().push(value);
    }

    fn get(&self, name: &str) -> Option<&[f64]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Round by round, so that both sides met the same machine.
    fn ratio(&self, of: &str, to: &str) -> Option<Vec<f64>> {
        let pairs = self.get(of)?.iter().zip(self.get(to)?);
        Some(pairs.map(|(of, to)| of / to).collect())
    }
}

/// So many in such a time.
pub(crate) fn per_second(n: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX)) / took.as_secs_f64().max(1e-9)
}

/// Name of the samples, what they are, unit, name in the JSON line.
type Row = (&'static str, &'static str, &'static str, &'static str);

const ROWS: [Row; 17] = [
    ("cycle", "raw cycle: add, read, acknowledge, delete; one stream", "jobs/s", "raw_cycle_per_s"),
    ("xadd", "raw XADD, pipelined, bare socket", "/s", "raw_xadd_per_s"),
    ("xadd_client", "raw XADD, pipelined, plain client", "/s", "client_xadd_per_s"),
    ("xadd_awaited", "raw XADD, each awaited, bare socket", "/s", "raw_xadd_awaited_per_s"),
    ("unnest", "Postgres alone: UNNEST of 500 results", "rows/s", "unnest_rows_per_s"),
    ("enqueue_bulk", "enqueue, bulk", "jobs/s", "enqueue_bulk_per_s"),
    ("enqueue_single", "enqueue, each awaited", "jobs/s", "enqueue_single_per_s"),
    ("drain", "drain, result committed", "jobs/s", "drain_jobs_per_s"),
    ("drain_1k", "drain, payload of 1 KiB", "jobs/s", "drain_1k_jobs_per_s"),
    ("drain_two", "drain, two workers, two partitions", "jobs/s", "drain_two_jobs_per_s"),
    ("cpu_a_job", "worker's processor time a job", "µs", "cpu_us_a_job"),
    ("completion_p50", "submission → completion at 500/s, p50", "ms", "completion_p50_ms"),
    ("completion_p99", "submission → completion at 500/s, p99", "ms", "completion_p99_ms"),
    ("idle_rss", "worker's memory, idle", "MB", "rss_idle_mb"),
    ("busy_rss", "worker's memory, most in the drain", "MB", "rss_busy_mb"),
    ("idle_core", "idle worker's share of a core", "", "idle_core"),
    ("idle_commands", "idle worker's commands", "/s", "idle_commands"),
];

/// Name in the JSON line, what is divided by what.
const RATIOS: [(&str, &str, &str); 5] = [
    ("drain_committed_to_unnest", "drain", "unnest"),
    ("drain_committed_to_cycle", "drain", "cycle"),
    ("enqueue_bulk_to_xadd", "enqueue_bulk", "xadd"),
    ("enqueue_single_to_xadd", "enqueue_single", "xadd_awaited"),
    ("scale_2_to_1", "drain_two", "drain"),
];

/// Prints the table and the line.
pub(crate) fn print(host: &str, samples: &Samples) {
    println!("\n{host}\n");
    println!("{:<56}{:>12}   {:<25}", "", "median", "min – max");
    let mut figures = Map::new();
    for (name, what, unit, key) in ROWS {
        if let Some(values) = samples.get(name) {
            println!("{:<56}{}", what, line(values, unit));
            figures.insert(key.to_owned(), json!(rounded(median(values))));
        }
    }
    println!();
    let mut ratios = Map::new();
    for (key, of, to) in RATIOS {
        if let Some(values) = samples.ratio(of, to) {
            println!("{:<56}{}", key, line(&values, ""));
            ratios.insert(key.to_owned(), json!(rounded(median(&values))));
        }
    }
    println!();
    println!(
        "{}",
        json!({ "bench": "throughput", "ratios": Value::Object(ratios), "figures": Value::Object(figures) })
    );
}

fn line(values: &[f64], unit: &str) -> String {
    let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(least, most), &v| (least.min(v), most.max(v)));
    format!("{:>12}   {} – {} {unit}", shown(median(values)), shown(least), shown(most))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

fn shown(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

/// Three decimals are more than any of this deserves.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_compare_within_a_round() {
        let mut samples = Samples::default();
        for (of, to) in [(1.0, 2.0), (3.0, 3.0), (8.0, 2.0)] {
            samples.add("drain", of);
            samples.add("unnest", to);
        }
        assert_eq!(median(&samples.ratio("drain", "unnest").unwrap()), 1.0);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
    }
}
