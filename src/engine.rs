//! Assembly: starts the roles in order, and stops them in order.
//!
//! Start: connections → hearts → settlers → executors → consumers, promoters, reclaimers → registrar, listener, sampler.
//!
//! Stop, in this order, the whole within the drain deadline plus a few seconds:
//! 1. consumers, reclaimers and promoters take nothing more; what is in hand and not begun goes back;
//! 2. goodbye is said, so that others claim it at once;
//! 3. running handlers end, or are cut short at the deadline (or at a second signal) and handed back;
//! 4. settlers settle what came of them, then end;
//! 5. hearts stop, connections close.

mod options;
mod start;

use std::{sync::Arc, time::Duration};

pub use self::options::{Options, StartError};
use crate::{
    broker::{BrokerError, Connection, Fitness, Publisher, ServerVersion},
    holding::Holding,
    listener::Word,
    registry::Registry,
    shutdown::Shutdown,
    store::Store,
};

/// A running worker.
pub struct Engine {
    options: Options,
    /// Consumers, promoters, reclaimers, registrar, listener, sampler, and the handlers they started.
    intake: Shutdown,
    /// Settlers.
    settling: Shutdown,
    /// Hearts.
    hearts: Shutdown,
    holdings: Vec<Arc<Holding>>,
    publisher: Publisher,
    connection: Connection,
}

/// How often goodbye is said while running handlers end.
const GOODBYE: Duration = Duration::from_millis(250);

/// After the drain deadline: how long settlers may still try.
const LAST_TRIES: Duration = Duration::from_secs(3);

impl Engine {
    /// Starts a worker.
    ///
    /// # Errors
    /// When Dragonfly cannot be reached, refuses, is too old, or may delete what waits.
    pub async fn start<C: Send + Sync + 'static>(
        options: Options,
        registry: Arc<Registry<C>>,
        context: Arc<C>,
        store: Store,
    ) -> Result<Self, StartError> {
        let at = options.address.shown().to_owned();
        let failed = |source| StartError::Broker { at: at.clone(), source };
        let connection = Connection::open(&options.address).await.map_err(failed)?;
        let version = ServerVersion::of(&connection).await.map_err(failed)?;
        if !version.is_new_enough() {
            return Err(StartError::TooOld { at, version });
        }
        tracing::info!(server = version.product, version = version.version, at, "connected to Dragonfly");
        let fitness = Fitness::of(&connection, &options.keys, version).await.map_err(failed)?;
        if let Some(refusal) = fitness.refusal() {
            return Err(StartError::Unfit { at, refusal });
        }
        for warning in fitness.warnings() {
            tracing::warn!(at, "{warning}");
        }
        let publisher = Publisher::new(connection.clone(), options.scope);
        let (intake, settling, hearts) = (Shutdown::new(), Shutdown::new(), Shutdown::new());
        let mut engine = Self { options, intake, settling, hearts, holdings: Vec::new(), publisher, connection };
        engine.start_roles(&registry, &context, &store).await.map_err(failed)?;
        Ok(engine)
    }

    /// Stops the worker in the documented order. `hurry` ends the patience with running handlers, as a second signal does.
    pub async fn stop(self, hurry: impl Future<Output = ()>) {
        tracing::info!("stopping: taking no more jobs, handing back what has not begun");
        self.intake.stop();
        self.say_goodbye().await;
        tokio::select! {
            () = self.intake.finished() => {}
            () = tokio::time::sleep(self.options.drain) => self.cut_short("the drain deadline passed").await,
            () = hurry => self.cut_short("told a second time").await,
            () = self.keep_saying_goodbye() => {}
        }
        self.say_goodbye().await;
        // The executors are gone, and with them the settlers' senders: they settle what is left, then end.
        if tokio::time::timeout(self.options.drain, self.settling.finished()).await.is_err() {
            self.settling.expire();
            drop(tokio::time::timeout(LAST_TRIES, self.settling.finished()).await);
        }
        self.hearts.stop();
        drop(tokio::time::timeout(LAST_TRIES, self.hearts.finished()).await);
        drop(
            tokio::time::timeout(
                LAST_TRIES,
                futures::future::join_all(self.holdings.iter().map(|holding| holding.partition.close())),
            )
            .await,
        );
        drop(tokio::time::timeout(LAST_TRIES, self.connection.close()).await);
        tracing::info!("stopped");
    }

    /// Deliveries are handed back as reads come home and batches are given up: others are to look again and again.
    async fn keep_saying_goodbye(&self) {
        loop {
            tokio::time::sleep(GOODBYE).await;
            self.say_goodbye().await;
        }
    }

    async fn cut_short(&self, why: &'static str) {
        tracing::warn!(why, "ending handlers that still run; their jobs run elsewhere, at no cost of an attempt");
        self.intake.expire();
        drop(tokio::time::timeout(LAST_TRIES, self.intake.finished()).await);
    }

    async fn say_goodbye(&self) {
        let word = Word::Goodbye { worker: self.options.worker.clone() };
        if let Err(error) = self.publisher.publish(&self.options.keys.control_channel(), word.write()).await {
            tracing::warn!(%error, "could not say goodbye; others find what was handed back within a second");
        }
    }

    /// A sign of life from Dragonfly.
    ///
    /// # Errors
    /// When none comes.
    pub async fn ping(&self) -> Result<(), BrokerError> {
        self.connection.ping().await
    }

    /// The connection that serves everything but partitions.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}
