//! The published report: `docs/benchmarks.md` and its charts, made of the same figures as the table.
//!
//! Promise: says what was measured on, how to do it again, and which targets are missed as plainly as which are met.

use std::{fmt::Write as _, path::Path};

use anyhow::Context as _;

use crate::{
    chart::{self, Bar, Line, Scale},
    figures::{Report, Row, Target, target},
    peers::{PEERS, Peer},
    plan::Plan,
    report::shown,
    rounds::scaled,
};

const HEAD: &str = "\
# Benchmarks

Jobs per second with a committed result each, latency, and what it costs, beside what the servers themselves can do and
beside other job systems, in the same rounds of one run. Only ratios mean something on another machine.

Ours counts a job as done when its result is committed in Postgres, its completion is published and its entry is
acknowledged and deleted. Peers count it when the last handler has ended; most of them keep nothing of it
([what each does](../benches/peers/README.md)). Latency is open loop: a job counts from the moment that its submission was
meant to happen, whatever became of those before.
";

const AGAIN: &str = "
## Do it again

```sh
make bench                                # everything, five rounds after a warm-up
QUICK=1 make bench                        # one short round
make bench NAMES=\"drain unnest peers\"     # some of it
WRITE_DOCS=1 make bench                   # and write this page anew
```

Servers are started for the run and stopped after it; `TRIPSAGE_DRAGONFLY_URL` and `TRIPSAGE_DB_URL` name others. Peers
are installed into `.dev/peers` in the versions of their lock files; one whose runtime is missing is skipped and said so.
Nothing else should run on the machine: the servers, the submitter and the workers share its cores already.
";

/// A chart: name of its file, what it shows, its SVG.
type Chart = (&'static str, &'static str, String);

/// Writes page and charts under the folder of the documents.
pub(crate) fn write(docs: &Path, host: &str, report: &Report, plan: &Plan) -> anyhow::Result<()> {
    let charts = charts(report, plan)?;
    let folder = docs.join("benchmarks");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    for (name, _, svg) in &charts {
        std::fs::write(folder.join(name), svg).with_context(|| format!("write {name}"))?;
    }
    std::fs::write(docs.join("benchmarks.md"), page(host, report, &charts)?).context("write benchmarks.md")
}

fn page(host: &str, report: &Report, charts: &[Chart]) -> anyhow::Result<String> {
    let mut page = HEAD.to_owned();
    write!(page, "\n## What it was measured on\n\n```text\n{}\n```\n", host.trim())?;
    for (name, shows, _) in charts {
        write!(page, "\n![{shows}](benchmarks/{name})\n")?;
    }
    page.push_str("\n## Ratios\n\n| ratio | median | min – max | target | |\n|---|---:|---|---|---|\n");
    for row in &report.ratios {
        writeln!(page, "{}", targeted(row, &format!("`{}`", row.key)))?;
    }
    page.push_str("\n## Figures\n\n| figure | median | min – max | target | |\n|---|---:|---|---|---|\n");
    for row in &report.figures {
        writeln!(page, "{}", targeted(row, &row.what))?;
    }
    page.push_str(AGAIN);
    Ok(page)
}

fn targeted(row: &Row, what: &str) -> String {
    let Row { key, unit, spread, .. } = row;
    let (wanted, verdict) = match target(key) {
        Some(target) => (words(target), if target.is_met(spread.median()) { "met" } else { "**missed**" }),
        None => (String::new(), ""),
    };
    let (median, least, most) = (shown(spread.median()), shown(spread.min()), shown(spread.max()));
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    format!("| {what} | {median}{unit} | {least} – {most} | {wanted} | {verdict} |")
}

fn words(target: Target) -> String {
    match target {
        Target::AtLeast(least) => format!("at least {least}"),
        Target::AtMost(most) => format!("at most {most}"),
    }
}

/// Those that there are figures for.
fn charts(report: &Report, plan: &Plan) -> anyhow::Result<Vec<Chart>> {
    let mut charts = Vec::new();
    let drains = compared(report, &[("drain_jobs_per_s", "ours, result committed")], "drain_jobs_per_s");
    if !drains.is_empty() {
        let svg = chart::bars("Drain of jobs that do nothing, jobs/s", Scale::Linear, &drains)?;
        charts.push(("drain.svg", "Jobs drained per second, ours and peers", svg));
    }
    let added = compared(report, &[("enqueue_bulk_per_s", "ours")], "enqueue_bulk_per_s");
    if !added.is_empty() {
        let svg = chart::bars("Enqueue in bulk, jobs/s", Scale::Linear, &added)?;
        charts.push(("enqueue.svg", "Jobs enqueued per second, ours and peers", svg));
    }
    let waits = waits(report);
    if !waits.is_empty() {
        let title = "Submission to handler start at 500/s, ms (logarithmic)";
        charts.push((
            "start.svg",
            "Latency at 500 jobs a second, ours and peers",
            chart::bars(title, Scale::Logarithmic, &waits)?,
        ));
    }
    let limits = limits(report);
    if !limits.is_empty() {
        let svg = chart::bars("Drains and the servers' own limits, per second", Scale::Linear, &limits)?;
        charts.push(("limits.svg", "Our drains beside the limits of the servers", svg));
    }
    let grid = grid(report, plan);
    if !grid.is_empty() {
        let svg = chart::lines("Worker processes and partitions", ("partitions", "jobs/s"), &grid)?;
        charts.push(("scale.svg", "Jobs drained per second by worker processes and partitions", svg));
    }
    Ok(charts)
}

fn bar(report: &Report, key: &str, label: &str, is_ours: bool) -> Option<Bar> {
    // A chart shows lengths: what is nothing, or less, has none.
    let value = report.median(key).filter(|&value| value > 0.0)?;
    Some(Bar { label: label.to_owned(), value, is_ours })
}

/// Ours under their keys, then the same of each peer.
fn compared(report: &Report, ours: &[(&str, &str)], of_peer: &str) -> Vec<Bar> {
    let ours = ours.iter().filter_map(|(key, label)| bar(report, key, label, true));
    let peer = |peer: &Peer| bar(report, &peer.figure(of_peer), peer.title, false);
    ours.chain(PEERS.iter().filter_map(peer)).collect()
}

fn waits(report: &Report) -> Vec<Bar> {
    let quantile = |key: &str, name: &str| {
        let mut bars = compared(report, &[(key, "ours")], key);
        for bar in &mut bars {
            bar.label = format!("{}, {name}", bar.label);
        }
        bars
    };
    quantile("start_p50_ms", "p50").into_iter().chain(quantile("start_p99_ms", "p99")).collect()
}

fn limits(report: &Report) -> Vec<Bar> {
    const KEYS: [(&str, &str, bool); 11] = [
        ("drain_jobs_per_s", "drain, result committed", true),
        ("drain_1k_jobs_per_s", "drain, 1 KiB", true),
        ("drain_32k_jobs_per_s", "drain, 32 KiB", true),
        ("drain_1ms_jobs_per_s", "drain, handler of 1 ms", true),
        ("drain_20ms_jobs_per_s", "drain, handler of 20 ms", true),
        ("drain_journaled_jobs_per_s", "drain, journaled", true),
        ("retries_jobs_per_s", "drain, each job fails once", true),
        ("unnest_rows_per_s", "Postgres, UNNEST by 500", false),
        ("copy_500_rows_per_s", "Postgres, COPY by 500", false),
        ("copy_5000_rows_per_s", "Postgres, COPY by 5,000", false),
        ("raw_cycle_per_s", "broker, whole cycle of an entry", false),
    ];
    KEYS.iter().filter_map(|(key, label, is_ours)| bar(report, key, label, *is_ours)).collect()
}

fn grid(report: &Report, plan: &Plan) -> Vec<Line> {
    let (workers, partitions) = plan.grid;
    let line = |&n_workers: &u16| {
        let rate = |&n: &u16| Some((f64::from(n), report.median(&format!("{}_jobs_per_s", scaled(n_workers, n)))?));
        let points: Vec<_> = partitions.iter().filter_map(rate).collect();
        let plural = if n_workers == 1 { "" } else { "s" };
        (points.len() > 1).then(|| (format!("{n_workers} worker{plural}"), points))
    };
    workers.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::Samples;

    fn report(figures: &[(&str, f64)]) -> (Report, Plan) {
        let (mut samples, plan) = (Samples::default(), Plan::default_for_tests());
        samples.next_round();
        for &(name, value) in figures {
            samples.add(name, value);
        }
        (Report::of(&mut samples, &plan), plan)
    }

    #[test]
    fn a_missed_target_is_said_as_plainly_as_one_that_is_met() {
        let (report, _) = report(&[("drain", 10.0), ("unnest", 100.0), ("idle_rss", 20.0)]);
        let page = page("host 2 cores", &report, &[]).unwrap();
        assert!(
            page.contains("| `drain_committed_to_unnest` | 0.100 | 0.100 – 0.100 | at least 0.5 | **missed** |"),
            "{page}"
        );
        assert!(page.contains("| worker's memory, idle | 20.000 MB | 20.000 – 20.000 | at most 60 | met |"), "{page}");
        assert!(page.contains("host 2 cores") && page.contains("make bench"), "{page}");
    }

    #[test]
    fn a_chart_is_drawn_of_what_was_measured_alone() {
        let (report, plan) =
            report(&[("drain", 10.0), ("peer_bullmq_drain", 5.0), ("drain_w1_p1", 3.0), ("drain_w1_p2", 4.0)]);
        let charts = charts(&report, &plan).unwrap();
        assert_eq!(charts.iter().map(|(name, ..)| *name).collect::<Vec<_>>(), ["drain.svg", "limits.svg", "scale.svg"]);
        assert!(charts[0].2.contains("BullMQ (Node.js)"));
    }

    #[test]
    fn without_figures_there_is_no_chart() {
        let (report, plan) = report(&[]);
        assert!(charts(&report, &plan).unwrap().is_empty());
    }
}
