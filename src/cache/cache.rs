//! The cache's door: get or load, put, stop.

use std::{
    fmt,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    cached::{Cached, Outcome},
    flights::{Flight, Flights, Role},
    name::CacheName,
    policy::{Freshness, Policy},
    sealed,
    shelf::{Shelf, Stored},
};
use crate::{
    broker::{Connection, Expiring},
    clock::ServerClock,
    keys::Keys,
    shutdown::Shutdown,
    telemetry::metrics,
};

/// How often a caller waits for another's flight that brings nothing before it loads by itself.
const MAX_WAITS: usize = 3;

/// How the cache behaves.
#[derive(Clone, Debug)]
pub struct CacheOptions {
    /// The largest value, sealed, that is kept.
    pub max_value_bytes: usize,
    /// How long one command to the server may take before the caller goes on without it.
    pub patience: Duration,
    /// How long one refresh behind a stale value may take.
    pub refresh_limit: Duration,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { max_value_bytes: 1 << 20, patience: Duration::from_millis(250), refresh_limit: Duration::from_secs(30) }
    }
}

/// The cache. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Cache {
    /// None when it is switched off.
    inner: Option<Arc<Inner>>,
}

pub(super) struct Inner {
    pub(super) shelf: Shelf,
    pub(super) clock: Arc<ServerClock>,
    pub(super) flights: Arc<Flights>,
    pub(super) shutdown: Shutdown,
    pub(super) refresh_limit: Duration,
}

/// What to do about a stale value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WhenStale {
    /// Answer with it, refresh it behind.
    Serve,
    /// Load it anew, then answer.
    Reload,
}

impl Cache {
    /// A cache over this connection; expiries go by `clock`.
    pub fn new(connection: &Connection, keys: Keys, clock: Arc<ServerClock>, options: &CacheOptions) -> Self {
        let shelf = Shelf {
            entries: Expiring::new(connection.clone()),
            keys,
            patience: options.patience,
            max_value_bytes: options.max_value_bytes,
        };
        let (flights, shutdown) = (Arc::default(), Shutdown::new());
        Self { inner: Some(Arc::new(Inner { shelf, clock, flights, shutdown, refresh_limit: options.refresh_limit })) }
    }

    /// A cache that keeps nothing: every value is loaded.
    pub fn off() -> Self {
        Self { inner: None }
    }

    /// Whether it keeps anything.
    pub fn is_on(&self) -> bool {
        self.inner.is_some()
    }

    /// The value of `name`: from the cache while it is worth keeping, loaded otherwise.
    ///
    /// `load` may run in another task, after the answer, to refresh a stale value; or not at all, when the value
    /// is there or another caller of this process brings it. A name always has the same type.
    ///
    /// # Errors
    /// What `load` failed with, never anything of the cache's own.
    pub async fn get_or_load<T, E, F, Fut>(&self, name: &CacheName, policy: Policy, load: F) -> Result<Cached<T>, E>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        E: fmt::Debug + Send + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.get(name, policy, WhenStale::Serve, load).await
    }

    /// As [`Cache::get_or_load`], but a stale value is loaded anew before the answer: for warming.
    ///
    /// # Errors
    /// As there.
    pub async fn get_or_reload<T, E, F, Fut>(&self, name: &CacheName, policy: Policy, load: F) -> Result<Cached<T>, E>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        E: fmt::Debug + Send + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.get(name, policy, WhenStale::Reload, load).await
    }

    /// Keeps a value that is at hand already; gives whether the cache took it.
    pub async fn put<T: Serialize>(&self, name: &CacheName, policy: Policy, value: &T) -> bool {
        let Some(inner) = &self.inner else { return false };
        inner.keep(name, policy, value).await.is_some_and(|(_, written)| written)
    }

    /// Waits for refreshes that are under way, at most for `patience`; nothing new is begun.
    pub async fn stop(&self, patience: Duration) {
        let Some(inner) = &self.inner else { return };
        inner.shutdown.stop();
        if tokio::time::timeout(patience, inner.shutdown.finished()).await.is_err() {
            inner.shutdown.expire();
            inner.shutdown.finished().await;
        }
    }

    async fn get<T, E, F, Fut>(
        &self,
        name: &CacheName,
        policy: Policy,
        when_stale: WhenStale,
        load: F,
    ) -> Result<Cached<T>, E>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        E: fmt::Debug + Send + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let answer = match &self.inner {
            Some(inner) => inner.get(name, policy, when_stale, load).await,
            None => timed(name, load).await.map(|value| Cached::loaded(value, Outcome::Off)),
        };
        if let Ok(cached) = &answer {
            metrics::cache_read(name.namespace(), cached.outcome.as_str());
        }
        answer
    }
}

impl Inner {
    pub(super) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    async fn get<T, E, F, Fut>(
        self: &Arc<Self>,
        name: &CacheName,
        policy: Policy,
        when_stale: WhenStale,
        load: F,
    ) -> Result<Cached<T>, E>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        E: fmt::Debug + Send + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        for _ in 0..MAX_WAITS {
            let waiting = match self.flights.join(name.as_str()) {
                Role::Leader(flight) => {
                    return match self.stored(name, when_stale).await {
                        Some(stored) => Ok(self.serve(flight, stored, (name, policy), load)),
                        None => self.lead(flight, name, policy, load).await,
                    };
                }
                Role::Follower(waiting) => waiting,
            };
            let Some((sealed, outcome)) = waiting.brought().await else { continue };
            let usable = outcome != Outcome::Stale || when_stale == WhenStale::Serve;
            if let Some((value, lifetime)) = sealed::open(&sealed).filter(|_| usable) {
                return Ok(Cached { value, outcome, age: lifetime.age(self.now_ms()) });
            }
        }
        Ok(Cached::loaded(self.load(name, policy, load).await?.0, Outcome::Miss))
    }

    /// What the shelf has, if it may be served.
    async fn stored<T: DeserializeOwned>(&self, name: &CacheName, when_stale: WhenStale) -> Option<Stored<T>> {
        let stored = self.shelf.read(name, self.now_ms()).await?;
        let is_fresh = stored.lifetime.freshness(self.now_ms()) == Freshness::Fresh;
        (is_fresh || when_stale == WhenStale::Serve).then_some(stored)
    }

    /// Answers with what the shelf has, and has it refreshed where it is stale.
    fn serve<T, E, F, Fut>(
        self: &Arc<Self>,
        flight: Flight,
        stored: Stored<T>,
        (name, policy): (&CacheName, Policy),
        load: F,
    ) -> Cached<T>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        E: fmt::Debug + Send + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let now_ms = self.now_ms();
        let outcome = match stored.lifetime.freshness(now_ms) {
            Freshness::Fresh => Outcome::Hit,
            Freshness::Stale | Freshness::Gone => Outcome::Stale,
        };
        flight.bring((stored.sealed, outcome));
        if outcome == Outcome::Stale && !self.shutdown.is_stopping() {
            self.refresh_behind(name, policy, load);
        }
        Cached { value: stored.value, outcome, age: stored.lifetime.age(now_ms) }
    }

    /// Loads, for this caller and those who wait.
    async fn lead<T, E, F, Fut>(
        &self,
        flight: Flight,
        name: &CacheName,
        policy: Policy,
        load: F,
    ) -> Result<Cached<T>, E>
    where
        T: Serialize,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let (value, sealed) = self.load(name, policy, load).await?;
        if let Some(sealed) = sealed {
            flight.bring((sealed, Outcome::Miss));
        }
        Ok(Cached::loaded(value, Outcome::Miss))
    }

    /// Loads and keeps; gives the value, and its sealed form where it has one.
    pub(super) async fn load<T, E, F, Fut>(
        &self,
        name: &CacheName,
        policy: Policy,
        load: F,
    ) -> Result<(T, Option<Bytes>), E>
    where
        T: Serialize,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let value = timed(name, load).await?;
        let sealed = self.keep(name, policy, &value).await.map(|(sealed, _)| sealed);
        Ok((value, sealed))
    }

    /// Seals and writes; gives the sealed form, and whether it was written. None when it cannot be sealed.
    async fn keep<T: Serialize>(&self, name: &CacheName, policy: Policy, value: &T) -> Option<(Bytes, bool)> {
        let lifetime = policy.lifetime(self.now_ms(), fastrand::f64());
        let Ok(sealed) = sealed::seal(value, lifetime) else {
            metrics::cache_refused(name.namespace(), "not_encodable");
            return None;
        };
        let written = self.shelf.write(name, &sealed, lifetime).await;
        Some((sealed, written))
    }
}

/// Loads, and says how long it took.
async fn timed<T, E, F, Fut>(name: &CacheName, load: F) -> Result<T, E>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let began = Instant::now();
    let loaded = load().await;
    metrics::cache_loaded(name.namespace(), began.elapsed());
    loaded
}
