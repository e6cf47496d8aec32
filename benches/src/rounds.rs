//! The rounds: everything once a round, so that limits and ours meet the same machine.

use std::time::Instant;

use crate::{
    corner::{Corner, Scratch, Servers},
    latency, limits, noop, ours,
    plan::{MEASURES, Plan},
    report::Samples,
};

/// The fastest limits are over in a tenth of a second: measured for longer, one hiccup does not decide.
const LONGER: usize = 4;

/// Measures as planned.
pub(crate) async fn run(servers: &Servers, plan: &Plan) -> anyhow::Result<Samples> {
    let scratch = Scratch::create(servers).await?;
    let taken = Box::pin(rounds(servers, &scratch, plan)).await;
    scratch.remove().await?;
    taken
}

async fn rounds(servers: &Servers, scratch: &Scratch, plan: &Plan) -> anyhow::Result<Samples> {
    if plan.warm_up {
        round(servers, scratch, ("warm-up", &plan.short()), &mut Samples::default()).await?;
    }
    let mut samples = Samples::default();
    for number in 1..=plan.n_rounds {
        let name = format!("round {number} of {}", plan.n_rounds);
        round(servers, scratch, (&name, plan), &mut samples).await?;
    }
    Ok(samples)
}

async fn round(
    servers: &Servers,
    scratch: &Scratch,
    (name, plan): (&str, &Plan),
    samples: &mut Samples,
) -> anyhow::Result<()> {
    for measure in MEASURES.into_iter().filter(|measure| plan.wants(measure)) {
        eprint!("{name}: {measure} … ");
        let begun = Instant::now();
        let n_partitions = if measure == "drain_two" { 2 } else { 1 };
        let mut corner = Corner::new(servers, scratch, n_partitions).await?;
        take(measure, plan, &mut corner, samples).await?;
        corner.remove().await?;
        eprintln!("{:.1} s", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

async fn take(measure: &'static str, plan: &Plan, corner: &mut Corner, samples: &mut Samples) -> anyhow::Result<()> {
    let n_jobs = plan.n_jobs;
    match measure {
        "cycle" => {
            let (cycle, added) = limits::cycle(corner, n_jobs).await?;
            samples.add("cycle", cycle);
            samples.add("xadd_client", added);
        }
        "xadd" => samples.add(measure, limits::xadd(corner, LONGER * n_jobs).await?),
        "xadd_awaited" => samples.add(measure, limits::xadd_awaited(corner, plan.n_single).await?),
        "unnest" => samples.add(measure, limits::unnest(corner, LONGER * n_jobs).await?),
        "enqueue" => {
            samples.add("enqueue_single", ours::enqueue_single(corner, plan.n_single).await?);
            samples.add("enqueue_bulk", ours::enqueue_bulk(corner, n_jobs, noop::SMALL).await?);
        }
        "drain" | "drain_1k" | "drain_two" => drain(measure, plan, corner, samples).await?,
        _ => {
            let (idle, latency) = latency::measure(corner, plan).await?;
            samples.add("idle_rss", idle.rss_mb);
            samples.add("idle_core", idle.core);
            samples.add("idle_commands", idle.commands_per_s);
            samples.add("completion_p50", latency.p50_ms);
            samples.add("completion_p99", latency.p99_ms);
        }
    }
    Ok(())
}

async fn drain(measure: &'static str, plan: &Plan, corner: &mut Corner, samples: &mut Samples) -> anyhow::Result<()> {
    let how = match measure {
        "drain_two" => (2, noop::SMALL),
        "drain_1k" => (1, noop::KIB),
        _ => (1, noop::SMALL),
    };
    let drained = ours::drain(corner, plan.n_jobs, how).await?;
    samples.add(measure, drained.jobs_per_s);
    if measure == "drain" {
        samples.add("busy_rss", drained.peak_rss_mb);
        samples.add("cpu_a_job", drained.cpu_us);
    }
    Ok(())
}
