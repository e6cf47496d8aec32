//! Other job systems, each through its adapter under `benches/peers/`: a child process that measures and prints a line.
//!
//! Promise: a peer that is not installed, fails or hangs is left out of the rest of the run, and why is said; none of its
//! processes outlives its measure.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::process::Command;

use crate::{
    adapter,
    corner::{self, Scratch, Servers},
    noop,
    plan::Plan,
    process,
    samples::{Samples, per_second},
};

/// A peer's measure.
pub(crate) struct Peer {
    /// Of the measure, and what the names of its figures begin with.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) title: &'static str,
    /// It gets the plan's jobs divided by this, so that the slowest is done in as many seconds.
    divisor: usize,
    /// Whether it needs a database of its own.
    on_postgres: bool,
}

impl Peer {
    /// The name of one of its figures: `enqueue` and `drain` in jobs per second, `p50` and `p99` in milliseconds.
    pub(crate) fn figure(&self, what: &str) -> String {
        format!("{}_{what}", self.name)
    }

    /// Jobs at once when it drains: of 100 and as many as ours, what it was faster with.
    fn at_once(&self) -> usize {
        if self.on_postgres { process::many() } else { 100 }
    }
}

/// All of them.
pub(crate) const PEERS: [Peer; 5] = [
    Peer { name: "peer_bullmq", title: "BullMQ (Node.js)", divisor: 1, on_postgres: false },
    Peer { name: "peer_bullmq_rust", title: "BullMQ (Rust)", divisor: 1, on_postgres: false },
    Peer { name: "peer_taskiq", title: "taskiq (Redis streams)", divisor: 4, on_postgres: false },
    Peer { name: "peer_awa", title: "awa (Rust, Postgres)", divisor: 1, on_postgres: true },
    Peer { name: "peer_awa_python", title: "awa (Python, Postgres)", divisor: 2, on_postgres: true },
];

/// Submissions a second, as of ours.
const RATE: u64 = 500;
/// Beyond the time of its arrivals; nothing that a peer is asked takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(45);

/// What the installer says of one.
#[derive(Deserialize)]
struct Installed {
    command: Option<Vec<String>>,
    versions: Option<String>,
    skip: Option<String>,
}

#[derive(Deserialize)]
struct Counted {
    jobs: usize,
    enqueue_seconds: f64,
    seconds: f64,
}

#[derive(Deserialize)]
struct Waited {
    jobs: usize,
    p50_ms: f64,
    p99_ms: f64,
}

/// What is installed, and what was left out.
pub(crate) struct Peers {
    installed: BTreeMap<String, Installed>,
    left_out: BTreeMap<&'static str, String>,
}

impl Peers {
    /// As the installer wrote it, into the file that the environment names.
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let installed = match listing() {
            Some(path) => serde_json::from_slice(&std::fs::read(&path).with_context(|| format!("read {path}"))?)?,
            None => BTreeMap::new(),
        };
        Ok(Self { installed, left_out: BTreeMap::new() })
    }

    /// Versions of those that were measured, and why others were not; a line each.
    pub(crate) fn lines(&self, plan: &Plan) -> Vec<String> {
        let line = |peer: &Peer| match (self.left_out.get(peer.name), self.installed.get(peer.name)) {
            (Some(why), _) => format!("{}: skipped: {why}", peer.title),
            (None, Some(Installed { versions: Some(versions), .. })) => format!("{}: {versions}", peer.title),
            (None, _) => peer.title.to_owned(),
        };
        PEERS.iter().filter(|peer| plan.wants(peer.name)).map(line).collect()
    }

    /// Measures one, unless it was left out before.
    pub(crate) async fn measure(
        &mut self,
        name: &str,
        (servers, plan): (&Servers, &Plan),
        samples: &mut Samples,
    ) -> anyhow::Result<()> {
        let peer =
            PEERS.iter().find(|peer| peer.name == name).context("a measure of a peer is in the list of peers")?;
        if self.left_out.contains_key(peer.name) {
            return Ok(());
        }
        let taken = match self.command(peer) {
            Ok(command) => take(peer, command, (servers, plan), samples).await,
            Err(error) => Err(error),
        };
        if let Err(error) = taken {
            eprint!("skipped: {error:#} … ");
            samples.forget(&["enqueue", "drain", "p50", "p99"].map(|figure| peer.figure(figure)));
            self.left_out.insert(peer.name, format!("{error:#}"));
        }
        Ok(())
    }

    fn command(&self, peer: &Peer) -> anyhow::Result<&[String]> {
        match self.installed.get(peer.name) {
            Some(Installed { command: Some(command), .. }) if !command.is_empty() => Ok(command),
            Some(Installed { skip: Some(why), .. }) => bail!("{why}"),
            _ => bail!("not installed: `make bench` does that"),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the benchmark is told its peers by the environment")]
fn listing() -> Option<String> {
    std::env::var("TRIPSAGE_BENCH_PEERS").ok().filter(|path| !path.is_empty())
}

async fn take(
    peer: &Peer,
    command: &[String],
    (servers, plan): (&Servers, &Plan),
    samples: &mut Samples,
) -> anyhow::Result<()> {
    let n_jobs = (plan.n_peer / peer.divisor).max(1);
    let counted: Counted = once(peer, command, (servers, plan), ("drain", &[n_jobs, peer.at_once()])).await?;
    ensure!(counted.jobs == n_jobs, "drain: of {n_jobs} jobs it counts {}", counted.jobs);
    samples.add(peer.figure("enqueue"), per_second(n_jobs, Duration::from_secs_f64(counted.enqueue_seconds)));
    samples.add(peer.figure("drain"), per_second(n_jobs, Duration::from_secs_f64(counted.seconds)));
    let arguments = [usize::try_from(RATE)?, usize::try_from(plan.arrivals.as_secs())?];
    let waited: Waited = once(peer, command, (servers, plan), ("latency", &arguments)).await?;
    ensure!(waited.jobs == arguments[0] * arguments[1], "latency: it counts {} jobs", waited.jobs);
    samples.add(peer.figure("p50"), waited.p50_ms);
    samples.add(peer.figure("p99"), waited.p99_ms);
    Ok(())
}

/// Runs the adapter once, on a name and, where it needs one, a database that nobody else has; removes both.
async fn once<A: DeserializeOwned>(
    peer: &Peer,
    program: &[String],
    (servers, plan): (&Servers, &Plan),
    (measure, numbers): (&str, &[usize]),
) -> anyhow::Result<A> {
    let name = format!("peer-{}", uuid::Uuid::now_v7().simple());
    let database = if peer.on_postgres { Some(Scratch::empty(servers).await?) } else { None };
    let mut command = Command::new(&program[0]);
    command.args(&program[1..]).arg(measure).args(numbers.iter().map(usize::to_string));
    command.env("REDIS_URL", &servers.dragonfly_url).env("PEER_NAME", &name);
    command.env("DATABASE_URL", database.as_ref().map_or("", |database| &database.url));
    command.env("PAYLOAD_BYTES", noop::SMALL.to_string());
    let answer = adapter::ask(command, PATIENCE + plan.arrivals).await;
    corner::unlink(servers, &name).await?;
    if let Some(database) = database {
        database.remove().await?;
    }
    answer.with_context(|| measure.to_owned())
}
