//! How much is measured: rounds, sizes, and which measures.

use std::time::Duration;

use anyhow::bail;

/// The measures by name, in the order of a round.
pub(crate) const MEASURES: [&str; 28] = [
    "cycle",
    "xadd",
    "xadd_awaited",
    "unnest",
    "copy",
    "enqueue",
    "delayed",
    "journaled",
    "drain",
    "drain_bare",
    "drain_1k",
    "drain_32k",
    "drain_1ms",
    "drain_20ms",
    "drain_two",
    "retries",
    "latency",
    "latency_half",
    "latency_idle",
    "peer_bullmq",
    "peer_bullmq_rust",
    "peer_taskiq",
    "peer_awa",
    "peer_awa_python",
    "deep",
    "scale",
    // Groups: names for several.
    "limits",
    "peers",
];

const LIMITS: [&str; 5] = ["cycle", "xadd", "xadd_awaited", "unnest", "copy"];

/// What takes long and spreads little is measured in the first round alone, unless the plan is the full one.
const ONCE: [&str; 2] = ["deep", "scale"];

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
    /// Jobs a drain of the fastest peers.
    pub(crate) n_peer: usize,
    /// Jobs that wait in the deep queue.
    pub(crate) n_deep: usize,
    /// How long submissions arrive for a measure of latency.
    pub(crate) arrivals: Duration,
    /// How long an idle worker is watched.
    pub(crate) idle: Duration,
    /// Worker processes and partitions to combine.
    pub(crate) grid: (&'static [u16], &'static [u16]),
    /// Which measures; all when empty.
    names: Vec<String>,
}

fn quick() -> Plan {
    Plan {
        name: "quick",
        n_rounds: 1,
        warm_up: false,
        n_jobs: 10_000,
        n_single: 2_000,
        n_peer: 2_000,
        n_deep: 100_000,
        arrivals: Duration::from_secs(3),
        idle: Duration::from_secs(2),
        grid: (&[1, 2], &[1, 2]),
        names: Vec::new(),
    }
}

fn default() -> Plan {
    Plan {
        name: "default",
        n_rounds: 5,
        warm_up: true,
        n_jobs: 30_000,
        n_single: 5_000,
        n_peer: 5_000,
        n_deep: 1_000_000,
        arrivals: Duration::from_secs(4),
        idle: Duration::from_secs(4),
        grid: (&[1, 2, 4], &[1, 2, 4, 8]),
        ..quick()
    }
}

fn full() -> Plan {
    Plan {
        name: "full",
        n_jobs: 60_000,
        n_single: 10_000,
        n_peer: 20_000,
        arrivals: Duration::from_secs(20),
        idle: Duration::from_secs(10),
        ..default()
    }
}

/// A round before those that count, for warming up caches, pages and branch predictors.
fn warm_up() -> Plan {
    Plan {
        name: "warm-up",
        n_jobs: 5_000,
        n_single: 500,
        n_peer: 200,
        n_deep: 30_000,
        arrivals: Duration::from_secs(1),
        idle: Duration::from_secs(1),
        grid: (&[1], &[1]),
        ..quick()
    }
}

impl Plan {
    /// As `QUICK` and `FULL` say.
    pub(crate) fn from_environment(names: Vec<String>) -> anyhow::Result<Self> {
        if let Some(unknown) = names.iter().find(|name| !MEASURES.contains(&name.as_str())) {
            bail!("no measure is called `{unknown}`; there are {}", MEASURES.join(", "));
        }
        let plan = if is_set("QUICK") {
            quick()
        } else if is_set("FULL") {
            full()
        } else {
            default()
        };
        Ok(Self { names, ..plan })
    }

    #[cfg(test)]
    pub(crate) fn default_for_tests() -> Self {
        default()
    }

    /// The round before those that count.
    pub(crate) fn short(&self) -> Self {
        Self { names: self.names.clone(), ..warm_up() }
    }

    /// Whether a measure is wanted.
    pub(crate) fn wants(&self, measure: &str) -> bool {
        let group = |wanted: &str| match wanted {
            "limits" => LIMITS.contains(&measure),
            "peers" => measure.starts_with("peer_"),
            // Half of the load that a drain bears.
            "latency_half" => measure == "drain",
            _ => false,
        };
        let taken = !matches!(measure, "limits" | "peers");
        taken && (self.names.is_empty() || self.names.iter().any(|wanted| wanted == measure || group(wanted)))
    }

    /// The measures of a round; the first is 1.
    pub(crate) fn measures(&self, round: usize) -> impl Iterator<Item = &'static str> {
        let now = move |measure: &&str| round == 1 || self.name == full().name || !ONCE.contains(measure);
        MEASURES.into_iter().filter(|measure| self.wants(measure)).filter(now)
    }
}

#[allow(clippy::disallowed_methods, reason = "the benchmark is no part of the service: its two switches are its own")]
fn is_set(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| !value.is_empty() && value != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Plan {
        Plan { names: names.iter().map(|&name| name.to_owned()).collect(), ..default() }
    }

    #[test]
    fn a_group_stands_for_its_members() {
        let plan = named(&["peers"]);
        assert!(plan.wants("peer_awa") && !plan.wants("peers") && !plan.wants("drain"));
    }

    #[test]
    fn half_load_needs_the_whole() {
        assert_eq!(named(&["latency_half"]).measures(1).collect::<Vec<_>>(), ["drain", "latency_half"]);
    }

    #[test]
    fn what_takes_long_is_measured_in_the_first_round() {
        assert!(named(&[]).measures(1).any(|measure| measure == "deep"));
        assert!(named(&[]).measures(2).all(|measure| measure != "deep" && measure != "peers"));
    }
}
