//! The report that a person reads.

use super::{
    failures::Redriven,
    findings::{CacheReads, Findings},
    phase::{Figures, Phase, per_second},
    scrape::sum_of,
    stage::Stage,
};
use crate::cache::Warmed;

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
        print_figures(phase.label(), &findings.figures(phase));
        if phase == Phase::Crash {
            print_figures("  those not in its hands", &findings.untouched_by_the_kill());
        }
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

fn print_figures(label: &str, figures: &Figures) {
    let (p50, p99) = (figures.quantile_ms(0.5), figures.quantile_ms(0.99));
    println!("  {label:<32} {:>7} {:>8.0} {p50:>9.1} {p99:>9.1}", figures.n_jobs, figures.jobs_per_s());
}

fn print_counts(findings: &Findings) {
    let Findings { audit, redriven, n_memories, n_missed, .. } = findings;
    println!("\nCounted in Postgres, in Dragonfly and from completions");
    counted("submitted", format!("{} jobs accepted", findings.fates.len()));
    counted("done", format!("{} by completions, {} committed results", findings.n_done(), audit.n_result_ids));
    counted("lost", format!("{} jobs with neither result nor dead letter", audit.n_lost));
    let (n_duplicated, n_again) = (findings.n_duplicated(), findings.n_republished());
    counted(
        "duplicated",
        format!("{n_duplicated} effects beyond one a job; {n_again} completions published again, no effect"),
    );
    let rate = per_second(findings.n_first_memories(), findings.figures(Phase::Memories).elapsed);
    counted(
        "memories",
        format!("{} rows of {n_memories} expected; {rate:.0} texts/s embedded and stored", audit.n_memories),
    );
    print_cache(findings);
    let by_metrics = sum_of(&findings.metrics, "tripsage_jobs_finished_total", "outcome=\"retried\"");
    let (n_retries, n_results) = (findings.n_retries(), audit.n_retried_results);
    counted(
        "retries",
        format!("{n_retries} by completions, {by_metrics} by metrics; {n_results} results of a later attempt"),
    );
    let (n_deaths, n_dead) = (findings.n_deaths(), audit.n_dead);
    let Redriven { n_listed, n_redriven } = redriven;
    counted(
        "dead",
        format!("{n_deaths} by completions, {n_listed} listed in Postgres, {n_redriven} put back, {n_dead} still dead"),
    );
    counted("missed", format!("{n_missed} completions that pub/sub did not bring and the replay streams did"));
}

fn print_cache(findings: &Findings) {
    let reads = findings.cache_reads();
    let (CacheReads { n_hits, n_stale, n_misses }, share) = (reads, reads.ratio() * 100.0);
    counted(
        "cache",
        format!("{n_hits} hits, {n_stale} stale, {n_misses} misses: {share:.1} % answered from the cache"),
    );
    let Warmed { requested, popular, warmed, already_fresh, failed, .. } = &findings.warmed;
    let made = format!("{warmed} made anew, {already_fresh} fresh already, {failed} failed");
    counted("warmed", format!("{requested} searches named, {popular} popular: {made}"));
}

fn counted(label: &str, text: String) {
    println!("  {label:<14} {text}");
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
