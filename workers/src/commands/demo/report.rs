//! The report that a person reads.

use super::{
    findings::Findings,
    phase::{Phase, per_second},
    scrape::sum_of,
    stage::Stage,
};

/// Prints what was found out.
pub(super) fn print(stage: &Stage<'_>, findings: &Findings) {
    println!("\nDemonstration {}", stage.run);
    print_phases(findings);
    print_counts(findings);
    print_kill(findings);
    print_memory(findings);
    println!("\nFive searches to judge");
    for shown in &findings.shown {
        println!("  {}", shown.asked);
        shown.answers.iter().for_each(|answer| println!("      {answer}"));
    }
}

fn print_phases(findings: &Findings) {
    println!("\n  {:<32} {:>7} {:>8} {:>9} {:>9}", "phase", "jobs", "jobs/s", "p50 ms", "p99 ms");
    for phase in Phase::ALL {
        let figures = findings.figures(phase);
        let (p50, p99) = (figures.quantile_ms(0.5), figures.quantile_ms(0.99));
        println!("  {:<32} {:>7} {:>8.0} {p50:>9.1} {p99:>9.1}", phase.label(), figures.n_jobs, figures.jobs_per_s());
    }
    println!(
        "  Latency: from just before a job's submission to the arrival of its completion, on this process's clock."
    );
    println!("  All at once: jobs wait for those before them, so the latency is mostly the queue's.");
    println!(
        "  Steady load: {:.0} jobs/s, each submitted when its time has come, whatever has come back.",
        findings.killed.rate
    );
}

fn print_counts(findings: &Findings) {
    let (audit, reads) = (&findings.audit, findings.cache_reads());
    let memories = findings.figures(Phase::Memories);
    println!("\nCounted in Postgres, in Dragonfly and from completions");
    let line = |label: &str, text: String| println!("  {label:<14} {text}");
    line("submitted", format!("{} jobs accepted", findings.fates.len()));
    line("done", format!("{} by completions, {} committed results", findings.n_done(), audit.n_result_ids));
    line("lost", format!("{} jobs with neither result nor dead letter", audit.n_lost));
    line(
        "duplicated",
        format!(
            "{} effects beyond one a job ({} completions published again, which is none)",
            findings.n_duplicated(),
            findings.n_republished()
        ),
    );
    line(
        "memories",
        format!(
            "{} rows of {} expected; {:.0} texts/s embedded and stored",
            audit.n_memories,
            findings.n_memories,
            per_second(findings.n_first_memories(), memories.elapsed)
        ),
    );
    line(
        "cache",
        format!(
            "{} hits, {} stale, {} misses: {:.1} % answered from the cache",
            reads.n_hits,
            reads.n_stale,
            reads.n_misses,
            reads.ratio() * 100.0
        ),
    );
    line(
        "retries",
        format!(
            "{} by completions, {} by metrics; {} results of a later attempt",
            findings.n_retries(),
            sum_of(&findings.metrics, "tripsage_jobs_finished_total", "outcome=\"retried\""),
            audit.n_retried_results
        ),
    );
    line(
        "dead",
        format!(
            "{} by completions, {} listed in Postgres, {} put back, {} still dead",
            findings.n_deaths(),
            findings.redriven.n_listed,
            findings.redriven.n_redriven,
            audit.n_dead
        ),
    );
    line("missed", format!("{} completions that pub/sub did not bring and the replay streams did", findings.n_missed));
}

fn print_kill(findings: &Findings) {
    let killed = &findings.killed;
    println!("\nKilled in the middle of the load (SIGKILL): {}", killed.victim);
    println!("  in its hands   {} jobs: {}", killed.held.len(), killed.kinds());
    println!(
        "  reclaimed      {} by metrics; {} of {} are done",
        findings.n_reclaimed(),
        killed.n_back(&findings.fates),
        killed.held.len()
    );
    if let Some((first, last)) = killed.back_after(&findings.fates) {
        println!(
            "  done again     the first {:.1} s after the kill, the last {:.1} s",
            first.as_secs_f64(),
            last.as_secs_f64()
        );
    }
}

fn print_memory(findings: &Findings) {
    println!("\nWorkers' memory, MB (idle, at the end, at its peak)");
    for (name, memory) in &findings.memory {
        let [idle, end, peak] = [memory.idle, memory.end, memory.peak].map(|bytes| bytes / 1_000_000);
        println!("  {name:<30} {idle:>5} {end:>5} {peak:>5}");
    }
}
