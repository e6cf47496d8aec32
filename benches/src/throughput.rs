//! Measures jobs per second with a committed result each, beside the limits of the servers and beside other job systems.
//!
//! Rounds are interleaved: every round measures everything once, so that a busy moment of the machine
//! hits limits, peers and ours alike; only ratios of one run mean something. Every drain counts the committed
//! rows afterwards: a figure of a run that lost or doubled a job is never printed.
//!
//! `throughput [name …]` measures (all, or what is named); `QUICK=1` one short round, `FULL=1` long ones;
//! `--write-docs` writes `docs/benchmarks.md` anew. `throughput worker` is one of its own worker processes.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal: table and JSON on stdout, progress on stderr"
)]

mod adapter;
mod chart;
mod copy;
mod corner;
mod deep;
mod figures;
mod host;
mod latency;
mod limits;
mod noop;
mod ours;
mod page;
mod peers;
mod plan;
mod process;
mod report;
mod rounds;
mod samples;
mod wire;
mod worker;

use std::path::Path;

use anyhow::Context as _;

use crate::{corner::Servers, figures::Report, peers::Peers, plan::Plan};

const WRITE_DOCS: &str = "--write-docs";

const HELP: &str = "\
Measures jobs per second with a committed result each, beside the limits of the servers and beside other job systems.

  throughput [--write-docs] [name …]

QUICK=1 takes one short round, FULL=1 long ones; --write-docs writes docs/benchmarks.md anew. TRIPSAGE_DRAGONFLY_URL and
TRIPSAGE_DB_URL name the servers. Without names everything is measured, else of these what is named:
";

fn main() -> anyhow::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    if arguments.first().is_some_and(|first| first == "worker") {
        return runtime.block_on(worker::run());
    }
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{HELP}{}", plan::MEASURES.join(", "));
        return Ok(());
    }
    let n_words = arguments.len();
    arguments.retain(|argument| argument != WRITE_DOCS);
    let writes_docs = arguments.len() < n_words;
    let plan = Plan::from_environment(arguments)?;
    // On the runtime's own threads, as the tasks of a service are: bare sockets and clients alike.
    #[allow(clippy::disallowed_methods, reason = "awaited right here: nothing outlives it")]
    let measured = runtime.spawn(async move { measure(&plan, writes_docs).await });
    runtime.block_on(measured)?
}

async fn measure(plan: &Plan, writes_docs: bool) -> anyhow::Result<()> {
    let (servers, mut peers) = (Servers::from_environment()?, Peers::from_environment()?);
    let mut taken = Box::pin(rounds::run(&servers, plan, &mut peers)).await?;
    let host = host::describe(&servers, plan, &peers).await?;
    let report = Report::of(&mut taken, plan);
    report::print(&host, &report);
    if writes_docs {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        page::write(&docs, &host, &report, plan)?;
    }
    Ok(())
}
