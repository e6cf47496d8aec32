//! Single flight in the process: of many that want the same at once one goes, the others wait for what it brings.
//!
//! Promise: a leader that fails, panics or is cancelled leaves nothing behind; those who waited learn it at
//! once, and one of them goes. The map holds only what is under way.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::watch;

use super::Outcome;

/// What a leader brought: the sealed value, and where it came from.
pub(super) type Brought = (Bytes, Outcome);

/// What is under way in this process.
#[derive(Debug, Default)]
pub(super) struct Flights {
    loading: Mutex<HashMap<String, watch::Receiver<Option<Brought>>>>,
    refreshing: Mutex<HashSet<String>>,
}

/// What a caller is to do.
pub(super) enum Role {
    /// Go, and bring it to the others.
    Leader(Flight),
    /// Wait for it.
    Follower(Waiting),
}

/// Held by a leader while it is under way.
pub(super) struct Flight {
    flights: Arc<Flights>,
    name: String,
    brought: watch::Sender<Option<Brought>>,
}

/// Held by one who waits.
pub(super) struct Waiting(watch::Receiver<Option<Brought>>);

/// Held by the one task of this process that refreshes a name.
pub(super) struct Refreshing {
    flights: Arc<Flights>,
    name: String,
}

impl Flights {
    /// Joins the flight for `name`, or begins it.
    pub(super) fn join(self: &Arc<Self>, name: &str) -> Role {
        let mut loading = lock(&self.loading);
        if let Some(waiting) = loading.get(name) {
            return Role::Follower(Waiting(waiting.clone()));
        }
        let (brought, waiting) = watch::channel(None);
        loading.insert(name.to_owned(), waiting);
        Role::Leader(Flight { flights: Arc::clone(self), name: name.to_owned(), brought })
    }

    /// Begins to refresh `name`, unless this process does so already.
    pub(super) fn begin_refresh(self: &Arc<Self>, name: &str) -> Option<Refreshing> {
        let begun = lock(&self.refreshing).insert(name.to_owned());
        begun.then(|| Refreshing { flights: Arc::clone(self), name: name.to_owned() })
    }
}

impl Flight {
    /// Brings the value to all who wait.
    pub(super) fn bring(self, brought: Brought) {
        self.brought.send_replace(Some(brought));
    }
}

impl Waiting {
    /// What the leader brought; none when it failed.
    pub(super) async fn brought(mut self) -> Option<Brought> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|brought| brought.clone())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // Before the sender goes: whoever is woken by its end finds the name free.
        lock(&self.flights.loading).remove(&self.name);
    }
}

impl Drop for Refreshing {
    fn drop(&mut self) {
        lock(&self.flights.refreshing).remove(&self.name);
    }
}

/// Nothing panics while it holds one of these locks; were it to, the maps would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn leader(flights: &Arc<Flights>) -> Flight {
        match flights.join("a") {
            Role::Leader(flight) => flight,
            Role::Follower(_) => panic!("expected to lead"),
        }
    }

    fn follower(flights: &Arc<Flights>) -> Waiting {
        match flights.join("a") {
            Role::Follower(waiting) => waiting,
            Role::Leader(_) => panic!("expected to follow"),
        }
    }

    #[tokio::test]
    async fn those_who_wait_get_what_the_leader_brings_and_the_map_is_empty_after() {
        let flights = Arc::new(Flights::default());
        let flight = leader(&flights);
        let waiting = [follower(&flights), follower(&flights)];
        flight.bring((Bytes::from_static(b"x"), Outcome::Miss));
        for waiting in waiting {
            assert_eq!(waiting.brought().await.unwrap().0, "x");
        }
        assert!(flights.loading.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_leader_that_is_cancelled_frees_those_who_wait() {
        let flights = Arc::new(Flights::default());
        let flight = leader(&flights);
        let waiting = follower(&flights);
        drop(flight);
        assert!(waiting.brought().await.is_none());
        drop(leader(&flights));
    }

    #[test]
    fn a_process_refreshes_a_name_once_at_a_time() {
        let flights = Arc::new(Flights::default());
        let refreshing = flights.begin_refresh("a").unwrap();
        assert!(flights.begin_refresh("a").is_none() && flights.begin_refresh("b").is_some());
        drop(refreshing);
        assert!(flights.begin_refresh("a").is_some());
    }
}
