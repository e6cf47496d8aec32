//! The parts of the demonstration, and what was measured in each.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::tally::Fate;

/// A part of the demonstration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Most of the memories, submitted as fast as they are taken.
    Memories,
    /// Half of the searches, submitted as fast as they are taken.
    Searches,
    /// Popular searches, warmed.
    Warming,
    /// Jobs that fail on purpose, and those that die of it put back.
    Failures,
    /// The rest at a steady pace, whatever comes back; a worker is killed in the middle.
    Crash,
    /// The searches that a person can judge.
    Shown,
}

impl Phase {
    /// All, in their order.
    pub(super) const ALL: [Self; 6] =
        [Self::Memories, Self::Searches, Self::Warming, Self::Crash, Self::Failures, Self::Shown];

    /// What the report calls it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Memories => "memories, all at once",
            Self::Searches => "searches, all at once",
            Self::Warming => "warming popular searches",
            Self::Crash => "steady load, a worker killed",
            Self::Failures => "failing on purpose, redriven",
            Self::Shown => "five searches to judge",
        }
    }
}

/// What was measured in a phase.
pub(super) struct Figures {
    /// Jobs submitted.
    pub(super) n_jobs: usize,
    /// From the first submission to the last completion.
    pub(super) elapsed: Duration,
    /// Submission to first completion, microseconds.
    latency: Histogram<u64>,
}

/// Latencies up to ten minutes, to three digits.
const HIGHEST_US: u64 = 600_000_000;

impl Figures {
    /// Of the jobs of one phase among these.
    pub(super) fn of<'f>(phase: Phase, fates: impl Iterator<Item = &'f Fate>) -> Self {
        let latency = Histogram::new_with_bounds(1, HIGHEST_US, 3).expect("the bounds are in order and the digits few");
        let mut figures = Self { n_jobs: 0, elapsed: Duration::ZERO, latency };
        let (mut first, mut last): (Option<Instant>, Option<Instant>) = (None, None);
        for fate in fates.filter(|fate| fate.phase == phase) {
            figures.n_jobs += 1;
            first = first.into_iter().chain([fate.submitted]).min();
            last = last.into_iter().chain(fate.completed).chain(fate.done.as_ref().map(|(at, _)| *at)).max();
            if let Some(latency) = fate.latency() {
                figures.latency.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(HIGHEST_US));
            }
        }
        figures.elapsed = first.zip(last).map_or(Duration::ZERO, |(first, last)| last.saturating_duration_since(first));
        figures
    }

    /// Jobs a second.
    pub(super) fn jobs_per_s(&self) -> f64 {
        per_second(self.n_jobs, self.elapsed)
    }

    /// The latency that this share of the jobs kept within, milliseconds.
    #[allow(clippy::cast_precision_loss, reason = "microseconds of minutes are far below 2^52")]
    pub(super) fn quantile_ms(&self, share: f64) -> f64 {
        self.latency.value_at_quantile(share) as f64 / 1e3
    }
}

/// So many of something in this time.
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(super) fn per_second(n: usize, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { n as f64 / elapsed.as_secs_f64() }
}
