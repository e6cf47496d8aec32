//! Where sealed values lie: Dragonfly, with short patience.
//!
//! Promise: a server that is away, slow or full makes reads give none and writes give up; each time is counted.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{
    name::CacheName,
    policy::{Freshness, Lifetime},
    sealed,
};
use crate::{
    broker::{BrokerError, Expiring},
    keys::Keys,
    telemetry::metrics,
};

/// Sealed values and refresh locks in Dragonfly.
#[derive(Clone)]
pub(super) struct Shelf {
    pub(super) entries: Expiring,
    pub(super) keys: Keys,
    /// How long one command may take.
    pub(super) patience: Duration,
    /// The largest sealed value that is written.
    pub(super) max_value_bytes: usize,
}

/// A value that lay on the shelf.
pub(super) struct Stored<T> {
    pub(super) value: T,
    pub(super) lifetime: Lifetime,
    pub(super) sealed: Bytes,
}

impl Shelf {
    /// The value of this name unless it is gone at `now_ms`.
    pub(super) async fn read<T: DeserializeOwned>(&self, name: &CacheName, now_ms: u64) -> Option<Stored<T>> {
        let key = self.keys.cache(name.as_str()).value;
        let sealed = self.patiently("read", self.entries.get(&key)).await??;
        let (value, lifetime) = sealed::open(&sealed)?;
        (lifetime.freshness(now_ms) != Freshness::Gone).then_some(Stored { value, lifetime, sealed })
    }

    /// Keeps a sealed value until its hard expiry; gives whether it did.
    pub(super) async fn write(&self, name: &CacheName, sealed: &Bytes, lifetime: Lifetime) -> bool {
        if sealed.len() > self.max_value_bytes {
            metrics::cache_refused(name.namespace(), "too_large");
            return false;
        }
        let key = self.keys.cache(name.as_str()).value;
        let write = self.entries.set(&key, sealed.clone(), lifetime.whole());
        let written = self.patiently("write", write).await.is_some();
        if written {
            metrics::cache_written(name.namespace(), sealed.len());
        }
        written
    }

    /// Takes the lock that lets one of the fleet refresh this name, for `ttl`.
    pub(super) async fn claim(&self, name: &CacheName, ttl: Duration) -> bool {
        let key = self.keys.cache(name.as_str()).refresh;
        self.patiently("claim", self.entries.claim(&key, "1", ttl)).await.unwrap_or(false)
    }

    /// Gives the lock back; only for who is sure to hold it still.
    pub(super) async fn release(&self, name: &CacheName) {
        let key = self.keys.cache(name.as_str()).refresh;
        self.patiently("release", self.entries.delete(&key)).await;
    }

    async fn patiently<T>(
        &self,
        step: &'static str,
        command: impl Future<Output = Result<T, BrokerError>>,
    ) -> Option<T> {
        let problem = match tokio::time::timeout(self.patience, command).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        metrics::cache_failed(step);
        tracing::debug!(step, problem, "went on without the cache");
        None
    }
}
