//! What people search for: many things, a few of them very often.
//!
//! Searches are drawn from a pool by Zipf's law: the second most popular is asked half as often as the first, the
//! third a third as often. So repeated ones meet the cache, as they do in life.

use engine::{client::Submission, envelope::Options};
use fastrand::Rng;

use super::cast::Cast;
use crate::{
    cache::{Popular, WarmCache, WarmSearch},
    memory::MemoryQuery,
    places::{Place, PlaceIndex},
    search::{RecallMemories, SearchPlaces},
};

/// What can be searched for, the most popular first.
pub(super) struct Queries {
    pool: Vec<WarmSearch>,
    /// The sum of the weights up to each.
    up_to: Vec<f64>,
    rng: Rng,
}

/// Different searches among so many.
const ONE_IN: usize = 6;
/// The most that one job may name.
const MOST_NAMED: usize = 1_000;
/// How many popular searches are warmed.
const POPULAR: u32 = 100;
/// Always the same draws, so that runs can be compared.
const SEED: u64 = 2_026;

const WISHES: &[&str] = &[
    "a capital city",
    "somewhere in the tropics",
    "a large city in Asia",
    "where Spanish is spoken",
    "a small town in Europe",
    "a place in the southern hemisphere",
    "somewhere with an airport nearby",
    "a city in Africa where French is spoken",
];

impl Queries {
    /// A pool for so many searches.
    pub(super) fn new(cast: &Cast, n_searches: usize) -> Self {
        let places: Vec<&Place> = PlaceIndex::get().all().take(5_000).collect();
        let pool: Vec<WarmSearch> = (0..n_searches.div_ceil(ONE_IN)).map(|rank| search(cast, &places, rank)).collect();
        let mut sum = 0.0;
        let weights = (1..=pool.len()).map(|rank| {
            sum += 1.0 / f64::from(u32::try_from(rank).unwrap_or(u32::MAX));
            sum
        });
        let up_to = weights.collect();
        Self { pool, up_to, rng: Rng::with_seed(SEED) }
    }

    /// So many searches as people would ask them.
    ///
    /// # Errors
    /// When a job cannot be written.
    pub(super) fn draw(&mut self, n_searches: usize) -> anyhow::Result<Vec<Submission>> {
        let ranks: Vec<usize> = (0..n_searches).map(|_| self.rank()).collect();
        ranks.into_iter().map(|rank| job(&self.pool[rank])).collect()
    }

    /// Two jobs that warm: the better half of the pool, named, asked before or not; what the table of searches says
    /// is asked most.
    ///
    /// # Errors
    /// When a job cannot be written.
    pub(super) fn warming(&self) -> anyhow::Result<Vec<Submission>> {
        let named = self.pool.iter().take(self.pool.len().div_ceil(2).min(MOST_NAMED)).cloned().collect();
        let popular = Popular { namespace: None, limit: POPULAR, window_hours: 1 };
        let jobs =
            [WarmCache { searches: named, popular: None }, WarmCache { searches: Vec::new(), popular: Some(popular) }];
        jobs.iter().map(|job| Ok(Submission::job(job)?)).collect()
    }

    fn rank(&mut self) -> usize {
        let drawn = self.rng.f64() * self.up_to.last().copied().unwrap_or_default();
        self.up_to.partition_point(|&up_to| up_to < drawn).min(self.pool.len() - 1)
    }
}

/// The search of this rank: by name, by code, by meaning, in a user's memories.
fn search(cast: &Cast, places: &[&Place], rank: usize) -> WarmSearch {
    let place = places[rank * 7 % places.len()];
    match rank % 5 {
        0 => WarmSearch::Places(SearchPlaces::new(place.name())),
        1 => WarmSearch::Places(SearchPlaces::new(place.airports().next().unwrap_or_else(|| place.country()))),
        2 => WarmSearch::Places(SearchPlaces::new(format!("town near {} with an airport", place.name()))),
        _ => memories(cast.user(rank), WISHES[rank / 5 % WISHES.len()]),
    }
}

/// A search in a user's memories.
pub(super) fn memories(user_id: String, query: &str) -> WarmSearch {
    let query = MemoryQuery { user_id: Some(user_id), query: query.to_owned(), ..MemoryQuery::default() };
    // The default threshold is made for a large model's scores; a static model's are lower.
    WarmSearch::Memories(RecallMemories(MemoryQuery { top_k: Some(3), threshold: Some(0.1), ..query }))
}

/// The job that asks this.
///
/// # Errors
/// When it cannot be written.
pub(super) fn job(search: &WarmSearch) -> anyhow::Result<Submission> {
    Ok(match search {
        WarmSearch::Places(search) => Submission::job(search)?,
        WarmSearch::Memories(search) => {
            Submission::job(search)?.with(Options { user_id: search.0.user_id.clone(), ..Options::default() })
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_few_searches_are_asked_often_and_many_seldom() {
        let mut queries = Queries::new(&Cast::new("run", 20, 600), 1_200);
        let mut counts: HashMap<_, u32> = HashMap::new();
        for job in queries.draw(1_200).unwrap() {
            *counts.entry(job.envelope.payload).or_default() += 1;
        }
        assert!((60..=200).contains(&counts.len()), "{} different searches", counts.len());
        assert!(counts.values().max().unwrap() > &100);
    }

    #[test]
    fn every_search_of_the_pool_is_one_that_its_kind_takes() {
        let queries = Queries::new(&Cast::new("run", 300, 12_000), 4_000);
        assert!(queries.pool.iter().all(|search| job(search).is_ok()));
        assert_eq!(queries.warming().unwrap().len(), 2);
    }
}
