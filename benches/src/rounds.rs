//! The rounds: everything once a round, so that limits, peers and ours meet the same machine.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::{
    copy,
    corner::{Corner, Scratch, Servers},
    deep,
    latency::{self, Arrivals, Latency},
    limits,
    noop::{self, Work},
    ours::{self, Load},
    peers::Peers,
    plan::Plan,
    samples::{Samples, Spread},
};

/// The fastest limits are over in a tenth of a second: measured for longer, one hiccup does not decide.
const LONGER: usize = 4;

/// Drains of a deep queue, and as many of short ones.
const DEEP_DRAINS: usize = 5;

/// Where it is measured, and how much.
struct Run<'a> {
    servers: &'a Servers,
    scratch: &'a Scratch,
    plan: &'a Plan,
}

/// Measures as planned.
pub(crate) async fn run(servers: &Servers, plan: &Plan, peers: &mut Peers) -> anyhow::Result<Samples> {
    let scratch = Scratch::create(servers).await?;
    let taken = Box::pin(rounds(servers, &scratch, (plan, peers))).await;
    scratch.remove().await?;
    taken
}

async fn rounds(servers: &Servers, scratch: &Scratch, (plan, peers): (&Plan, &mut Peers)) -> anyhow::Result<Samples> {
    if plan.warm_up {
        let run = Run { servers, scratch, plan: &plan.short() };
        Box::pin(run.round(("warm-up", 1), &mut Samples::default(), peers)).await?;
    }
    let mut samples = Samples::default();
    let run = Run { servers, scratch, plan };
    for number in 1..=plan.n_rounds {
        samples.next_round();
        Box::pin(run.round((&format!("round {number} of {}", plan.n_rounds), number), &mut samples, peers)).await?;
    }
    Ok(samples)
}

impl Run<'_> {
    async fn round(
        &self,
        (name, number): (&str, usize),
        samples: &mut Samples,
        peers: &mut Peers,
    ) -> anyhow::Result<()> {
        for measure in self.plan.measures(number) {
            eprint!("{name}: {measure} … ");
            let begun = Instant::now();
            if measure.starts_with("peer_") {
                peers.measure(measure, (self.servers, self.plan), samples).await?;
            } else if measure == "scale" {
                self.scale(samples).await?;
            } else if measure == "deep" {
                self.deep(samples).await?;
            } else {
                let mut corner = self.corner(if measure == "drain_two" { 2 } else { 1 }).await?;
                self.take(measure, &mut corner, samples).await?;
                corner.remove().await?;
            }
            eprintln!("{:.1} s", begun.elapsed().as_secs_f64());
        }
        Ok(())
    }

    async fn corner(&self, n_partitions: u16) -> anyhow::Result<Corner> {
        Corner::new(self.servers, self.scratch, n_partitions).await
    }

    async fn take(&self, measure: &'static str, corner: &mut Corner, samples: &mut Samples) -> anyhow::Result<()> {
        let Plan { n_jobs, n_single, .. } = *self.plan;
        match measure {
            "cycle" => {
                let (cycle, added) = limits::cycle(corner, n_jobs).await?;
                samples.add("cycle", cycle);
                samples.add("xadd_client", added);
            }
            "xadd" => samples.add(measure, limits::xadd(corner, LONGER * n_jobs).await?),
            "xadd_awaited" => samples.add(measure, limits::xadd_awaited(corner, n_single).await?),
            "unnest" => samples.add(measure, limits::unnest(corner, LONGER * n_jobs).await?),
            "copy" => {
                samples.add("copy_500", copy::copy(corner, LONGER * n_jobs, 500).await?);
                corner.forget_rows().await?;
                samples.add("copy_5000", copy::copy(corner, LONGER * n_jobs, 5_000).await?);
            }
            "enqueue" => {
                samples.add("enqueue_single", ours::enqueue_single(corner, n_single).await?);
                // As many as of the limit that they are held to.
                samples.add("enqueue_bulk", ours::enqueue_bulk(corner, &Load::small(LONGER * n_jobs)).await?);
                samples.add("enqueue_dedup", ours::enqueue_dedup(corner, LONGER * n_jobs).await?);
            }
            "journaled" => {
                corner.journal().await?;
                samples.add("enqueue_sql", ours::enqueue_in_sql(corner, n_jobs / 3).await?);
                corner.forget_rows().await?;
                let load = Load::small(n_jobs);
                samples.add("enqueue_journaled", ours::enqueue_bulk(corner, &load).await?);
                samples.add("drain_journaled", ours::drain_waiting(corner, &load).await?.jobs_per_s);
                ensure!(
                    corner.n_journaled().await? == 0,
                    "jobs are settled, and rows of theirs are left in the journal"
                );
            }
            "delayed" => samples.add("enqueue_delayed", ours::enqueue_delayed(corner, n_jobs).await?),
            "latency" | "latency_half" | "latency_idle" => self.latency(measure, corner, samples).await?,
            _ => self.drain(measure, corner, samples).await?,
        }
        Ok(())
    }

    async fn drain(&self, measure: &'static str, corner: &mut Corner, samples: &mut Samples) -> anyhow::Result<()> {
        let small = Load::small(self.plan.n_jobs);
        let third = small.n_jobs / 3; // Slower ones: fewer suffice.
        let load = match measure {
            "drain_1k" => Load { pad: noop::KIB, ..small },
            "drain_32k" => Load { pad: 32 * noop::KIB, n_jobs: small.n_jobs / 10, ..small },
            "drain_1ms" => Load { work: Work::Waits(1), ..small },
            "drain_20ms" => Load { work: Work::Waits(20), n_jobs: third, ..small },
            "drain_bare" => Load { work: Work::KeepsNothing, ..small },
            "drain_two" => Load { n_workers: 2, n_partitions: 2, ..small },
            "retries" => Load { work: Work::FailsOnce, n_jobs: third, ..small },
            _ => small,
        };
        let (enqueued_per_s, drained) = ours::enqueue_and_drain(corner, &load).await?;
        samples.add(measure, drained.jobs_per_s);
        if measure == "drain" {
            // Who shares its cores with those who submit bears less than a drain: half of that is half load.
            samples.add("half_load", 0.5 / (enqueued_per_s.recip() + drained.jobs_per_s.recip()));
            samples.add("busy_rss", drained.peak_rss_mb);
            samples.add("cpu_a_job", drained.cpu_us);
        }
        Ok(())
    }

    async fn latency(&self, measure: &'static str, corner: &mut Corner, samples: &mut Samples) -> anyhow::Result<()> {
        let Plan { arrivals, idle, .. } = *self.plan;
        let (idle, arrivals) = match measure {
            "latency_half" => {
                let per_s = samples.now("half_load").context("half load is known from the drain before it")?;
                (Duration::ZERO, Arrivals::dense(per_s, arrivals))
            }
            "latency_idle" => (Duration::ZERO, Arrivals::from_idle(arrivals)),
            _ => (idle, Arrivals::steady(arrivals)),
        };
        let (idle, Latency { start, completion }) = latency::measure(corner, idle, arrivals).await?;
        samples.add(format!("{measure}_start_p50"), start.p50_ms);
        samples.add(format!("{measure}_start_p99"), start.p99_ms);
        samples.add(format!("{measure}_completion_p50"), completion.p50_ms);
        samples.add(format!("{measure}_completion_p99"), completion.p99_ms);
        if measure == "latency" {
            samples.add("idle_rss", idle.rss_mb);
            samples.add("idle_core", idle.core);
            samples.add("idle_commands", idle.commands_per_s);
        }
        Ok(())
    }

    /// A deep queue, drained by turns with short ones: it is filled once a run, and no hiccup shall decide.
    async fn deep(&self, samples: &mut Samples) -> anyhow::Result<()> {
        let mut corner = self.corner(1).await?;
        let filled = deep::fill(&corner, self.plan.n_deep).await?;
        samples.add("enqueue_deep", filled.enqueue_per_s);
        samples.add("bytes_a_job", filled.bytes_a_job);
        samples.add("memory_per_job", filled.memory_ratio);
        // A third of what there is for each: a worker that is stopped goes on for a moment.
        let n_jobs = self.plan.n_jobs.min(self.plan.n_deep / (3 * DEEP_DRAINS));
        let (mut short, mut deep) = (Vec::new(), Vec::new());
        for _ in 0..DEEP_DRAINS {
            let mut beside = self.corner(1).await?;
            short.push(ours::drain(&mut beside, &Load::small(n_jobs)).await?.jobs_per_s);
            beside.remove().await?;
            deep.push(ours::drain_first(&mut corner, n_jobs).await?);
        }
        for (name, drains) in [("drain_short", short), ("drain_deep", deep)] {
            samples.add(name, Spread::of(drains).context("there were drains")?.median());
        }
        corner.remove().await
    }

    async fn scale(&self, samples: &mut Samples) -> anyhow::Result<()> {
        let (workers, partitions) = self.plan.grid;
        for &n_workers in workers {
            for &n_partitions in partitions {
                let mut corner = self.corner(n_partitions).await?;
                let load = Load { n_workers, n_partitions, ..Load::small(self.plan.n_jobs) };
                samples.add(scaled(n_workers, n_partitions), ours::drain(&mut corner, &load).await?.jobs_per_s);
                corner.remove().await?;
            }
        }
        Ok(())
    }
}

/// The name of a figure of the grid.
pub(crate) fn scaled(n_workers: u16, n_partitions: u16) -> String {
    format!("drain_w{n_workers}_p{n_partitions}")
}
