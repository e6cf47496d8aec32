//! How far a process is with loading the places for searches by meaning.
//!
//! Promise: what a search is told and what health says come from the same place. Never keeps a process from starting.

use std::sync::{Arc, Mutex, PoisonError};

/// What a process has done about the table of places so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// This process does not load it: another one, or `tripsage migrate`, has to.
    #[default]
    Left,
    /// It is being loaded, here or by another worker.
    Loading,
    /// The last try failed; there will be another.
    Failed(String),
    /// Places can be found by meaning.
    Loaded,
}

/// The state that the loader writes and everybody else reads. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct PlacesState(Arc<Mutex<Progress>>);

impl PlacesState {
    /// What has been done so far.
    #[must_use]
    pub fn get(&self) -> Progress {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the state; gives the one before.
    pub(super) fn set(&self, progress: Progress) -> Progress {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), progress)
    }

    /// Whether a search by meaning that found no table should come again: this process loads it, or has just done so.
    pub(super) fn is_coming(&self) -> bool {
        self.get() != Progress::Left
    }

    /// The check `places` of a worker's health: fails while the table is not there although this worker loads it.
    ///
    /// # Errors
    /// Why places cannot be found by meaning yet.
    pub fn check(&self) -> Result<(), String> {
        match self.get() {
            Progress::Left | Progress::Loaded => Ok(()),
            Progress::Loading => Err("places are not found by meaning yet: their table is being loaded".to_owned()),
            Progress::Failed(error) => {
                Err(format!("places are not found by meaning yet, loading is tried again: failed to {error}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_fails_while_the_table_is_awaited_and_not_where_nobody_loads_it() {
        let state = PlacesState::default();
        assert_eq!((state.check(), state.is_coming()), (Ok(()), false));
        assert_eq!(state.set(Progress::Loading), Progress::Left);
        assert!(state.check().is_err_and(|told| told.contains("being loaded")) && state.is_coming());
        state.set(Progress::Failed("get embeddings from h: cannot connect".to_owned()));
        assert!(state.check().is_err_and(|told| told.contains("failed to get embeddings from h")) && state.is_coming());
        state.set(Progress::Loaded);
        assert_eq!((state.check(), state.is_coming()), (Ok(()), true));
    }
}
