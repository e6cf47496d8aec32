//! How much is measured: rounds, sizes, and which measures.

use std::time::Duration;

use anyhow::bail;

/// The measures by name, in the order of a round.
pub(crate) const MEASURES: [&str; 9] =
    ["cycle", "xadd", "xadd_awaited", "unnest", "enqueue", "drain", "drain_1k", "drain_two", "latency"];

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// `quick`, `default` or `full`.
    pub(crate) name: &'static str,
    /// Counted rounds.
    pub(crate) n_rounds: usize,
    /// Whether a short round that does not count comes first.
    pub(crate) warm_up: bool,
    /// Jobs a drain, entries a limit.
    pub(crate) n_jobs: usize,
    /// Submissions that are awaited one by one.
    pub(crate) n_single: usize,
    /// How long submissions arrive for the latency measure.
    pub(crate) arrivals: Duration,
    /// How long an idle worker is watched.
    pub(crate) idle: Duration,
    /// Which measures; all when empty.
    pub(crate) names: Vec<String>,
}

impl Plan {
    /// As `QUICK` and `FULL` say.
    pub(crate) fn from_environment(names: Vec<String>) -> anyhow::Result<Self> {
        if let Some(unknown) = names.iter().find(|name| !MEASURES.contains(&name.as_str())) {
            bail!("no measure is called `{unknown}`; there are {}", MEASURES.join(", "));
        }
        let plan = if is_set("QUICK") {
            Self::sized("quick", 1, (10_000, 2_000), (3, 2))
        } else if is_set("FULL") {
            Self::sized("full", 5, (60_000, 10_000), (20, 10))
        } else {
            Self::sized("default", 3, (30_000, 5_000), (6, 4))
        };
        Ok(Self { names, ..plan })
    }

    fn sized(
        name: &'static str,
        n_rounds: usize,
        (n_jobs, n_single): (usize, usize),
        (arrivals, idle): (u64, u64),
    ) -> Self {
        let (arrivals, idle) = (Duration::from_secs(arrivals), Duration::from_secs(idle));
        Self { name, n_rounds, warm_up: n_rounds > 1, n_jobs, n_single, arrivals, idle, names: Vec::new() }
    }

    /// The same, short, for warming up caches, pages and branch predictors.
    pub(crate) fn short(&self) -> Self {
        let quick = Self::sized("warm-up", 1, (5_000, 500), (1, 1));
        Self { names: self.names.clone(), ..quick }
    }

    /// Whether a measure is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }
}

#[allow(clippy::disallowed_methods, reason = "the benchmark is no part of the service: its two switches are its own")]
fn is_set(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| !value.is_empty() && value != "0")
}
