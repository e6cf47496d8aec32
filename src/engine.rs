//! Assembly: starts the roles in order, and stops them in order.
//!
//! Start: connections → hearts → settlers → executors → consumers, promoters, reclaimers → registrar, listener, sampler.
//!
//! Stop, in this order, the whole within the drain deadline plus 13 seconds, whatever the servers do:
//! 1. consumers, reclaimers and promoters take nothing more; what is in hand and not begun goes back;
//! 2. goodbye is said, so that others claim it at once;
//! 3. running handlers end, or are cut short at the deadline (or at a second signal) and handed back within 3 s;
//! 4. settlers settle what came of them until the deadline, or for 3 s where that is later, and are given up 3 s later;
//! 5. hearts stop and connections close, within 3 s.
//!
//! To a server that answers nobody no goodbye is said, and each of these 3 s is 1 s.

mod options;
mod start;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::options::{Options, StartError};
use crate::{
    broker::{BrokerError, Connection, Fitness, Publisher, ServerVersion, warn_unless_silent},
    cycles::Cycles,
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
    cycles: Arc<Cycles>,
}

/// How often goodbye is said while running handlers end.
const GOODBYE: Duration = Duration::from_millis(250);

/// How long is waited for a goodbye to be heard.
const GOODBYE_HEARD: Duration = Duration::from_secs(1);

/// After the drain deadline: how long each further step may take.
const LAST_TRIES: Duration = Duration::from_secs(3);

/// The same while the server answers nobody.
const LAST_TRIES_IN_SILENCE: Duration = Duration::from_secs(1);

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
        let (cycles, holdings) = (Cycles::new(options.lease), Vec::new());
        let mut engine = Self { options, intake, settling, hearts, holdings, publisher, connection, cycles };
        engine.start_roles(&registry, &context, &store).await.map_err(failed)?;
        Ok(engine)
    }

    /// Stops the worker in the documented order. `hurry` ends the patience with running handlers, as a second signal does.
    pub async fn stop(self, hurry: impl Future<Output = ()>) {
        tracing::info!("stopping: taking no more jobs, handing back what has not begun");
        let deadline = tokio::time::Instant::now() + self.options.drain;
        self.cycles.close();
        self.intake.stop();
        self.say_goodbye().await;
        tokio::select! {
            () = self.intake.finished() => {}
            () = tokio::time::sleep_until(deadline) => self.cut_short("the drain deadline passed").await,
            () = hurry => self.cut_short("told a second time").await,
            () = self.keep_saying_goodbye() => {}
        }
        self.say_goodbye().await;
        // The executors are gone, and with them the settlers' senders: they settle what is left, then end.
        let settled_by = deadline.max(tokio::time::Instant::now() + self.last_tries());
        if tokio::time::timeout_at(settled_by, self.settling.finished()).await.is_err() {
            self.settling.expire();
            drop(tokio::time::timeout(self.last_tries(), self.settling.finished()).await);
        }
        self.hearts.stop();
        let has_closed = tokio::time::timeout(self.last_tries(), self.close()).await.is_ok();
        if !has_closed && !self.is_server_silent() {
            tracing::warn!("the server did not hear that this worker is gone; its lease runs out instead");
        }
        tracing::info!("stopped");
    }

    fn is_server_silent(&self) -> bool {
        self.connection.pulse().silence(Instant::now()).is_some()
    }

    fn last_tries(&self) -> Duration {
        if self.is_server_silent() { LAST_TRIES_IN_SILENCE } else { LAST_TRIES }
    }

    /// Hearts tell the server that they stop before their connections close.
    async fn close(&self) {
        self.hearts.finished().await;
        futures::future::join_all(self.holdings.iter().map(|holding| holding.partition.close())).await;
        self.connection.close().await;
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
        drop(tokio::time::timeout(self.last_tries(), self.intake.finished()).await);
    }

    async fn say_goodbye(&self) {
        if self.is_server_silent() {
            return;
        }
        let (channel, word) =
            (self.options.keys.control_channel(), Word::Goodbye { worker: self.options.worker.clone() });
        let said = tokio::time::timeout(GOODBYE_HEARD, self.publisher.publish(&channel, word.write())).await;
        if let Ok(Err(error)) = said {
            warn_unless_silent!(error, "could not say goodbye; others find what was handed back within a second");
        }
    }

    /// A sign of life from Dragonfly.
    ///
    /// # Errors
    /// When none comes.
    pub async fn ping(&self) -> Result<(), BrokerError> {
        self.connection.ping().await
    }

    /// This worker's loops, and when each completed its last cycle.
    pub fn cycles(&self) -> &Arc<Cycles> {
        &self.cycles
    }

    /// The connection that serves everything but partitions.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}
