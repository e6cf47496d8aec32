//! What a worker's `/metrics` say: the sums of its counters.

use std::{collections::HashMap, time::Duration};

/// Counters and gauges by name, with their labels as they were written.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    samples: HashMap<String, f64>,
}

/// A worker that has just been given all it can bear, on a machine with other work, answers late.
const LIMIT: Duration = Duration::from_secs(30);

impl Metrics {
    /// Asks the worker on this port.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) async fn scrape(port: u16) -> anyhow::Result<Self> {
        let answer = reqwest::Client::builder().no_proxy().timeout(LIMIT).build()?;
        let answer = answer.get(format!("http://127.0.0.1:{port}/metrics")).send().await?.error_for_status()?;
        Ok(Self::read(&answer.text().await?))
    }

    fn read(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self { samples: samples.collect() }
    }

    /// The sum of a counter over all its labels that contain `label` (`outcome="retried"`; empty: all).
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters of jobs are whole and small")]
    pub(super) fn sum(&self, name: &str, label: &str) -> u64 {
        let of_name =
            |sample: &str| sample == name || sample.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
        let samples = self.samples.iter().filter(|(sample, _)| of_name(sample) && sample.contains(label));
        samples.map(|(_, value)| value).sum::<f64>() as u64
    }
}

/// The sum over several workers.
pub(super) fn sum_of(metrics: &[Metrics], name: &str, label: &str) -> u64 {
    metrics.iter().map(|metrics| metrics.sum(name, label)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_summed_over_the_labels_asked_for() {
        let text = "# TYPE a counter\na{kind=\"x\",outcome=\"done\"} 3\na{kind=\"y\",outcome=\"done\"} 4\na{kind=\"y\",outcome=\"dead\"} 1\na_b 9\n";
        let metrics = Metrics::read(text);
        assert_eq!((metrics.sum("a", ""), metrics.sum("a", "outcome=\"done\""), metrics.sum("a_b", "")), (8, 7, 9));
        assert_eq!(sum_of(&[metrics.clone(), metrics], "a", "dead"), 2);
    }
}
