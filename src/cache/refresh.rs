//! Refreshes a stale value behind the callers' back.
//!
//! Promise: once across the fleet: a lock in Dragonfly that expires by itself, and a second look after it was
//! taken. A refresh ends before its lock does. One that fails keeps the lock, so that nobody tries again at
//! once; the stale value is served on until its hard expiry.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    cache::Inner,
    name::CacheName,
    policy::{Freshness, Policy},
};
use crate::telemetry::metrics;

/// A lock outlives the refresh that it covers by this time.
const LOCK_MARGIN: Duration = Duration::from_secs(5);

impl Inner {
    /// Starts a task that refreshes `name`, unless this process has one; stopping waits for it.
    pub(super) fn refresh_behind<T, E, F, Fut>(self: &Arc<Self>, name: &CacheName, policy: Policy, load: F)
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        E: fmt::Debug + Send + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let Some(refreshing) = self.flights.begin_refresh(name.as_str()) else { return };
        let (inner, name) = (Arc::clone(self), name.clone());
        self.shutdown.spawn(async move {
            let refreshed = Box::pin(inner.refresh(&name, policy, load));
            let outcome = inner.shutdown.run_until_expired(refreshed).await.unwrap_or("cut_short");
            metrics::cache_refreshed(name.namespace(), outcome);
            drop(refreshing);
        });
    }

    async fn refresh<T, E, F, Fut>(&self, name: &CacheName, policy: Policy, load: F) -> &'static str
    where
        T: Serialize + DeserializeOwned,
        E: fmt::Debug,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        if !self.shelf.claim(name, self.refresh_limit + LOCK_MARGIN).await {
            return "elsewhere";
        }
        // Another may have refreshed it between our reading and our lock.
        let stored = self.shelf.read::<T>(name, self.now_ms()).await;
        if stored.is_some_and(|stored| stored.lifetime.freshness(self.now_ms()) == Freshness::Fresh) {
            self.shelf.release(name).await;
            return "elsewhere";
        }
        match tokio::time::timeout(self.refresh_limit, self.load(name, policy, load)).await {
            Ok(Ok(_)) => {
                self.shelf.release(name).await;
                return "done";
            }
            Ok(Err(error)) => tracing::warn!(namespace = name.namespace(), ?error, "could not refresh a cached value"),
            Err(_) => tracing::warn!(namespace = name.namespace(), "could not refresh a cached value in time"),
        }
        "failed"
    }
}
