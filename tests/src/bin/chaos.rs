//! `make chaos`: every fault under load, and whether the promises held.
//!
//! Progress goes to standard error; one JSON line for each scenario and a table to standard output. Exits with 1 when a
//! job was lost or an effect doubled where that is not allowed, or another promise was broken.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program of the command line")]

use std::process::ExitCode;

use clap::Parser;
use harness::chaos::{Plan, SCENARIOS, run_all, table, write_into};

/// Injects faults into real servers and workers under load, and counts what was lost or doubled.
#[derive(Debug, Parser)]
struct Args {
    /// Scenarios to play; all of them when none is named.
    names: Vec<String>,
    /// How often each is played.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Small loads and short outages.
    #[arg(long)]
    quick: bool,
    /// How many scenarios at the same time.
    #[arg(long, default_value_t = 3)]
    parallel: usize,
    /// Put the table into docs/guarantees.md.
    #[arg(long)]
    write_docs: bool,
    /// Only say what there is.
    #[arg(long)]
    list: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        SCENARIOS.iter().for_each(|scenario| println!("{:<28}{}", scenario.name, scenario.promise));
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = args.names.iter().find(|name| SCENARIOS.iter().all(|scenario| scenario.name != **name)) {
        eprintln!("error: no scenario is called `{unknown}`; `make chaos ARGS=--list` shows them");
        return ExitCode::from(2);
    }
    let plan = Plan { names: args.names, runs: args.runs, short: args.quick, parallel: args.parallel };
    let lines = run_all(&plan, |told| eprintln!("· {told}")).await;
    for line in &lines {
        println!("{}", serde_json::to_string(line).expect("numbers and text encode"));
    }
    println!("\n{}", table(&lines));
    if args.write_docs {
        write_into(&plan, &table(&lines));
    }
    if lines.iter().all(|line| line.wrong.is_empty()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
