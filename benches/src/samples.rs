//! Figures by name and round, and their arithmetic: medians, and ratios within a round.

use std::{collections::BTreeMap, time::Duration};

/// Figures by name, at most one a round.
#[derive(Default)]
pub(crate) struct Samples {
    round: usize,
    figures: BTreeMap<String, BTreeMap<usize, f64>>,
}

impl Samples {
    /// What is added from now on belongs to the next round.
    pub(crate) fn next_round(&mut self) {
        self.round += 1;
    }

    /// This round's figure.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64) {
        self.figures.entry(name.into()).or_default().insert(self.round, value);
    }

    /// Drops these.
    pub(crate) fn forget(&mut self, names: &[String]) {
        self.figures.retain(|name, _| !names.contains(name));
    }

    /// This round's figure, if it was taken.
    pub(crate) fn now(&self, name: &str) -> Option<f64> {
        self.figures.get(name)?.get(&self.round).copied()
    }

    /// Every round's figure.
    pub(crate) fn get(&self, name: &str) -> Option<Spread> {
        Spread::of(self.figures.get(name)?.values().copied().collect())
    }

    /// Round by round, so that both sides met the same machine.
    pub(crate) fn ratio(&self, of: &str, to: &str) -> Option<Spread> {
        let (of, to) = (self.figures.get(of)?, self.figures.get(to)?);
        Spread::of(of.iter().filter_map(|(round, of)| Some(of / to.get(round)?)).collect())
    }

    /// The best of several, round by round, under a name of its own.
    pub(crate) fn best(&mut self, name: &str, among: &[String], better: fn(f64, f64) -> f64) {
        let mut best = BTreeMap::new();
        for figures in among.iter().filter_map(|one| self.figures.get(one)) {
            for (&round, &figure) in figures {
                best.entry(round).and_modify(|best| *best = better(*best, figure)).or_insert(figure);
            }
        }
        if !best.is_empty() {
            self.figures.insert(name.to_owned(), best);
        }
    }
}

/// Figures of one thing, in order of size; at least one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spread(Vec<f64>);

impl Spread {
    pub(crate) fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        (!figures.is_empty()).then_some(Self(figures))
    }

    /// The one in the middle.
    pub(crate) fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len() % 2 == 1 { self.0[middle] } else { f64::midpoint(self.0[middle - 1], self.0[middle]) }
    }

    /// The least.
    pub(crate) fn min(&self) -> f64 {
        self.0[0]
    }

    /// The most.
    pub(crate) fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }
}

/// So many in such a time.
pub(crate) fn per_second(n: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX)) / took.as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(figures: &[(&str, &[f64])]) -> Samples {
        let mut samples = Samples::default();
        for round in 0..figures.iter().map(|(_, values)| values.len()).max().unwrap_or_default() {
            samples.next_round();
            for (name, values) in figures {
                if let Some(&value) = values.get(round) {
                    samples.add(*name, value);
                }
            }
        }
        samples
    }

    #[test]
    fn ratios_compare_within_a_round() {
        let samples = rounds(&[("drain", &[1.0, 3.0, 8.0]), ("unnest", &[2.0, 3.0, 2.0])]);
        assert_eq!(samples.ratio("drain", "unnest").unwrap().median(), 1.0);
    }

    #[test]
    fn a_round_that_lacks_one_side_has_no_ratio() {
        let mut samples = rounds(&[("drain", &[1.0])]);
        samples.next_round();
        samples.add("drain", 4.0);
        samples.add("peer", 2.0);
        assert_eq!(samples.ratio("drain", "peer"), Spread::of(vec![2.0]));
        assert_eq!(samples.ratio("drain", "nothing"), None);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(Spread::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap().median(), 2.5);
    }

    #[test]
    fn a_spread_knows_its_ends() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.min(), spread.max()), (1.0, 3.0));
    }

    #[test]
    fn the_best_peer_is_another_in_every_round() {
        let mut samples = rounds(&[("a", &[1.0, 9.0]), ("b", &[5.0, 2.0]), ("ours", &[2.0, 2.0])]);
        let peers = ["a".to_owned(), "b".to_owned(), "skipped".to_owned()];
        samples.best("least", &peers, f64::min);
        samples.best("none", &peers[2..], f64::min);
        assert_eq!(samples.get("least"), Spread::of(vec![1.0, 2.0]));
        assert_eq!(samples.get("none"), None);
        assert_eq!(samples.ratio("least", "ours"), Spread::of(vec![0.5, 1.0]));
    }

    #[test]
    fn a_rate_is_a_count_over_a_time() {
        assert_eq!(per_second(10, Duration::from_secs(4)), 2.5);
    }
}
