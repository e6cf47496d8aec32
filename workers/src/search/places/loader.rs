//! Loads the table of places beside the jobs of a worker, so that no start waits for it.
//!
//! Promise: one worker of the fleet at a time; an embedder that fails is asked again, after longer and longer pauses, for as
//! long as the worker runs. A table that can be searched is left as it is: `tripsage migrate` brings it up to date.
//! Never ends the worker, and never keeps it from taking jobs.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use engine::{shutdown::Shutdown, store::Store, telemetry::metrics};

use super::{
    load::{LoadError, try_load},
    state::{PlacesState, Progress},
};
use crate::embedders::Embedder;

/// Loads the table of places.
#[derive(Debug, Clone)]
pub struct PlacesLoader {
    /// Postgres.
    pub store: Store,
    /// Turns descriptions into vectors.
    pub embedder: Embedder,
    /// Where it says how far it is.
    pub state: PlacesState,
    /// The pause after the first failure, and between looks at what another worker loads.
    pub interval: Duration,
    /// The longest pause, however many tries failed.
    pub longest: Duration,
}

impl PlacesLoader {
    /// Works until the table is loaded, or until told to stop.
    pub async fn run(self, shutdown: Shutdown) {
        self.state.set(Progress::Loading);
        let mut pauses = self.pauses();
        loop {
            let pause = match shutdown.run_until_stopped(try_load(&self.store, &self.embedder)).await {
                None => return,
                Some(Ok(true)) => break,
                Some(Ok(false)) => self.interval,
                Some(Err(error)) => {
                    self.failed(&error);
                    pauses.next().unwrap_or(self.longest)
                }
            };
            if shutdown.run_until_stopped(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
        self.state.set(Progress::Loaded);
        tracing::info!("places can be found by meaning");
    }

    /// Said once as a warning; the same again is of interest only to who looks for it.
    fn failed(&self, error: &LoadError) {
        metrics::role_failed("places-loader");
        let error = error.to_string();
        let before = self.state.set(Progress::Failed(error.clone()));
        if before == Progress::Failed(error.clone()) {
            tracing::debug!(error, "could not load the places for searches by meaning");
        } else {
            tracing::warn!(
                error,
                "could not load the places for searches by meaning; it is tried again, names are found meanwhile"
            );
        }
    }

    fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        let doubled = ExponentialBuilder::default().with_min_delay(self.interval).with_max_delay(self.longest);
        doubled.with_jitter().without_max_times().build()
    }
}
