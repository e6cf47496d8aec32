//! Settles what handlers said: first Postgres, then Dragonfly, in batches.
//!
//! Promise: nothing is acknowledged before its result is committed; a result and its rows commit
//! together, at most once a job; an owner whose lease ran out commits nothing and settles nothing.
//! Never loses an outcome to an outage: it waits, and intake waits behind it. What is still unsettled
//! when the drain deadline passes stays unacknowledged and runs elsewhere.
//!
//! Batches form by themselves: an outcome that finds no other committed goes at once; while one batch is committed, the
//! next waits until that is through or half a batch has come; those that come while both lanes are busy go together.

mod acknowledge;
mod commit;
mod write;

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::{
    broker::SettleContext,
    cancellations::Cancellations,
    clock::ServerClock,
    cycles::Cycle,
    keys::Keys,
    registry::Registry,
    settlement::{Settlement, SharedBudget},
    shutdown::Shutdown,
    store::{Kept, Store},
};

/// Settlements that overlap: one commits while the other acknowledges. More would only make the batches smaller.
const LANES: usize = 2;

const NOT_POISONED: &str = "no code panics while it holds this lock";

/// Settles one queue's outcomes.
pub(crate) struct Settler<C> {
    pub(crate) outcomes: mpsc::Receiver<Settlement>,
    pub(crate) lane: Arc<Lane<C>>,
    pub(crate) max_batch: usize,
    /// Says that the loop goes on, as long as it is kept.
    pub(crate) _cycle: Cycle,
}

/// What a lane needs to settle a batch.
pub(crate) struct Lane<C> {
    pub(crate) registry: Arc<Registry<C>>,
    pub(crate) store: Store,
    /// Connections that settlements hand to one another while there is always a next one; none are kept at rest.
    pub(crate) kept: Mutex<Option<Vec<Kept>>>,
    pub(crate) clock: Arc<ServerClock>,
    pub(crate) keys: Keys,
    pub(crate) context: SettleContext,
    pub(crate) lease: Duration,
    pub(crate) inline_result_bytes: usize,
    pub(crate) cancellations: Arc<Cancellations>,
    pub(crate) budget: Arc<SharedBudget>,
    pub(crate) shutdown: Shutdown,
}

impl<C: Send + Sync + 'static> Settler<C> {
    /// Ends when nobody can send outcomes any more and all are settled.
    pub(crate) async fn run(mut self) {
        let lanes = Arc::new(Semaphore::new(LANES));
        let committing = Arc::new(Semaphore::new(1));
        loop {
            let free = Arc::clone(&lanes).acquire_owned().await.expect("the semaphore is never closed");
            self.lane.keep_connections(!self.outcomes.is_empty());
            let mut batch = Vec::new();
            if self.outcomes.recv_many(&mut batch, self.max_batch).await == 0 {
                break;
            }
            let turn = self.fill(&mut batch, &committing).await;
            let lane = Arc::clone(&self.lane);
            let tasks = lane.shutdown.clone();
            drop(tasks.spawn(async move {
                let committed = lane.commit(batch).await;
                drop(turn);
                lane.acknowledge(committed).await;
                drop(free);
            }));
        }
        drop(lanes.acquire_many(u32::try_from(LANES).expect("two")).await);
    }

    /// While another batch is committed, half of one is waited for: what many share costs each of them less. Gives the turn
    /// to commit, where it came first.
    async fn fill(&mut self, batch: &mut Vec<Settlement>, committing: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        let mut turn = pin!(Arc::clone(committing).acquire_owned());
        while batch.len() < self.max_batch / 2 {
            let rest = self.max_batch - batch.len();
            tokio::select! {
                biased;
                turn = &mut turn => return turn.ok(),
                n_more = self.outcomes.recv_many(batch, rest) => if n_more == 0 { break },
            }
        }
        None
    }
}

impl<C: Send + Sync + 'static> Lane<C> {
    /// While nothing waits to be settled, others may have the connections.
    fn keep_connections(&self, is_busy: bool) {
        let mut kept = self.kept.lock().expect(NOT_POISONED);
        if is_busy {
            kept.get_or_insert_default();
        } else {
            *kept = None;
        }
    }
}

/// A wait between tries: 50 ms doubling to 2 s, half of it jitter.
fn pause(n_failures: u32) -> Duration {
    let bound = Duration::from_millis(50) * (1 << n_failures.min(5));
    bound.mul_f64(0.5 + fastrand::f64() / 2.0)
}
