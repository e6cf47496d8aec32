//! Who takes part: a few hundred users, each with memories of real places, and one traveller with habits of her own.

use engine::client::Submission;
use serde_json::json;

use crate::{
    memory::{AddMemories, NewMemory},
    places::PlaceIndex,
};

/// The users of one run; every run has others, so that it can be repeated on the same servers.
pub(super) struct Cast {
    run: String,
    n_users: usize,
    n_memories: usize,
}

/// Texts a job.
const ITEMS: usize = 20;

/// What Ann, whom the report asks about, has told her travel agent.
const ANN: &[&str] = &[
    "I am allergic to peanuts and shellfish, so restaurants have to be careful.",
    "I always want a window seat on the plane.",
    "Night trains are my favourite way to cross Europe.",
    "My budget for a hotel room is 120 euros a night.",
    "We travel with two small children and a stroller.",
    "I collect old maps and never miss a museum of history.",
    "I get seasick on small boats.",
    "Our dog comes with us whenever the hotel allows it.",
    "I speak French and a little Portuguese.",
    "I prefer hiking in the mountains to lying on a beach.",
    "My passport expires in March of next year.",
    "I need a quiet room with a desk to work in the mornings.",
];

impl Cast {
    /// The cast of the run with this name.
    pub(super) fn new(run: &str, n_users: usize, n_memories: usize) -> Self {
        Self { run: run.to_owned(), n_users, n_memories }
    }

    /// One of the users.
    pub(super) fn user(&self, number: usize) -> String {
        format!("{}-{:03}", self.run, number % self.n_users)
    }

    /// The traveller with habits.
    pub(super) fn ann(&self) -> String {
        format!("{}-ann", self.run)
    }

    /// Everybody.
    pub(super) fn users(&self) -> Vec<String> {
        (0..self.n_users).map(|number| self.user(number)).chain([self.ann()]).collect()
    }

    /// How many memories there will be: every text is another for its user.
    pub(super) fn n_expected(&self) -> usize {
        self.n_memories + ANN.len()
    }

    /// The jobs that add all memories, Ann's first: the largest cities of the world, dealt out one by one.
    ///
    /// # Errors
    /// When a job cannot be written.
    pub(super) fn jobs(&self) -> anyhow::Result<Vec<Submission>> {
        let habits = ANN.iter().map(|text| NewMemory { text: (*text).to_owned(), ..NewMemory::default() });
        let mut jobs = vec![add(self.ann(), habits.collect())?];
        let places: Vec<_> = PlaceIndex::get().all().take(self.n_memories).collect();
        let mut round = 0;
        while round * self.n_users < places.len() {
            for number in 0..self.n_users {
                let own = places.iter().skip(round * self.n_users + number).step_by(self.n_users).take(ITEMS);
                let items: Vec<NewMemory> = own.map(|place| memory_of(place)).collect();
                if !items.is_empty() {
                    jobs.push(add(self.user(number), items)?);
                }
            }
            round += ITEMS;
        }
        Ok(jobs)
    }
}

fn memory_of(place: &crate::places::Place) -> NewMemory {
    let facts = [("place", json!(place.id())), ("country", json!(place.country_code()))];
    NewMemory {
        text: place.description(),
        metadata: facts.map(|(key, value)| (key.to_owned(), value)).into_iter().collect(),
        ..NewMemory::default()
    }
}

fn add(user_id: String, items: Vec<NewMemory>) -> anyhow::Result<Submission> {
    let options = engine::envelope::Options { user_id: Some(user_id.clone()), ..Default::default() };
    Ok(Submission::batch_job(&AddMemories { user_id, items })?.with(options))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_memory_is_given_once_and_no_text_twice_to_a_user() {
        for (n_users, n_memories) in [(7, 100), (20, 600), (3, 5), (300, 12_000)] {
            let cast = Cast::new("run", n_users, n_memories);
            let mut texts = HashSet::new();
            let mut n_items = 0;
            for job in cast.jobs().unwrap() {
                let AddMemories { user_id, items } = job.envelope.payload().unwrap();
                assert!(!items.is_empty() && items.len() <= ITEMS && cast.users().contains(&user_id));
                n_items += items.len();
                texts.extend(items.into_iter().map(|item| (user_id.clone(), item.text)));
            }
            assert_eq!((n_items, texts.len()), (cast.n_expected(), cast.n_expected()));
        }
    }
}
