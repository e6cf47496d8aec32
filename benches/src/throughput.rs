//! Measures jobs per second with a committed result each, beside the limits of the servers themselves.
//!
//! Rounds are interleaved: every round measures everything once, so that a busy moment of the machine
//! hits limits and ours alike; only ratios of one run mean something. Every drain counts the committed
//! rows afterwards: a figure of a run that lost or doubled a job is never printed.
//!
//! `throughput [name …]` measures (all, or what is named); `QUICK=1` one short round, `FULL=1` five long
//! ones. `throughput worker` is one of its own worker processes.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal: table and JSON on stdout, progress on stderr"
)]

mod corner;
mod host;
mod latency;
mod limits;
mod noop;
mod ours;
mod plan;
mod process;
mod report;
mod rounds;
mod wire;
mod worker;

use anyhow::Context as _;

use crate::{corner::Servers, plan::Plan};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    if arguments.peek().is_some_and(|first| first == "worker") {
        return runtime.block_on(worker::run());
    }
    let plan = Plan::from_environment(arguments.collect())?;
    let servers = Servers::from_environment()?;
    runtime.block_on(async {
        let taken = Box::pin(rounds::run(&servers, &plan)).await?;
        report::print(&host::describe(&servers, &plan).await?, &taken);
        Ok(())
    })
}
