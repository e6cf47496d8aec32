//! Whether what was sent over a connection has reached enough replicas.
//!
//! Promise: one question at a time is on its way over the connection, and its answer serves all who sent before it was asked.
//! A Dragonfly takes a tenth of a second to answer, and other commands of the connection wait behind the question.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep_until},
};

use super::{
    connection::{BrokerError, Connection, text},
    reply,
};

/// One question waits no longer than this at the server, for on Redis it holds up the submissions that come behind it.
const SLICE: Duration = Duration::from_millis(200);

/// The least time from one question to the next that comes after too few: a Dragonfly without replicas answers at once.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks for all who write over one connection.
pub struct Replicas {
    connection: Connection,
    /// Held while a question is on its way.
    turn: Mutex<()>,
    /// How many have begun to wait.
    n_waiting: AtomicU64,
    answers: watch::Sender<Answer>,
}

/// What the last question brought.
#[derive(Clone, Copy, Default)]
struct Answer {
    /// Everyone up to this number had sent everything before the question.
    covers: u64,
    /// How many replicas have what they sent.
    reached: u32,
    /// The server's number for the connection that was asked.
    connection: i64,
}

impl Replicas {
    /// Nothing has been asked yet.
    pub fn new(connection: Connection) -> Self {
        let answers = watch::Sender::new(Answer::default());
        Self { connection, turn: Mutex::default(), n_waiting: AtomicU64::new(0), answers }
    }

    /// Begins; what is sent over the connection after this can be waited for.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn begin(&self) -> Result<Writes<'_>, BrokerError> {
        Ok(Writes { replicas: self, connection: self.number().await? })
    }

    /// The server's number for the connection: another one after it was lost and made anew.
    async fn number(&self) -> Result<i64, BrokerError> {
        let id = self.connection.call("CLIENT", vec![text("ID")]).await?;
        reply::integer(&id).ok_or_else(|| BrokerError::odd("CLIENT ID", &id))
    }

    /// Asks once, for everyone who waits now.
    async fn ask(&self, wanted: u32, deadline: Instant) -> Result<(), BrokerError> {
        let (asked, covers) = (Instant::now(), self.n_waiting.load(Ordering::Acquire));
        let slice = deadline.saturating_duration_since(asked).min(SLICE);
        // 0 would mean for ever.
        let args = [wanted.to_string(), slice.as_millis().max(1).to_string()].map(text).to_vec();
        let waited = self.connection.call("WAIT", args).await?;
        let reached = reply::integer(&waited).and_then(|n| u32::try_from(n).ok());
        let reached = reached.ok_or_else(|| BrokerError::odd("WAIT", &waited))?;
        self.answers.send_replace(Answer { covers, reached, connection: self.number().await? });
        if reached < wanted {
            sleep_until(deadline.min(asked + PAUSE)).await;
        }
        Ok(())
    }
}

/// Writes over the connection, from now on.
pub struct Writes<'a> {
    replicas: &'a Replicas,
    connection: i64,
}

impl Writes<'_> {
    /// Waits until `wanted` replicas have everything that was sent and answered, at most for `within`; gives how many are
    /// known to have it. None are where the connection was lost on the way: the server counts for the new one alone.
    ///
    /// # Errors
    /// When it is this one's turn to ask and the server cannot be asked.
    pub async fn replicated(&self, wanted: u32, within: Duration) -> Result<u32, BrokerError> {
        let deadline = Instant::now() + within;
        let number = self.replicas.n_waiting.fetch_add(1, Ordering::AcqRel) + 1;
        let mut answers = self.replicas.answers.subscribe();
        loop {
            let enough = answers.wait_for(|answer| answer.covers >= number && answer.reached >= wanted);
            let turn = tokio::select! {
                biased;
                Ok(answer) = async { enough.await.map(|answer| *answer) } => return Ok(self.known(answer)),
                () = sleep_until(deadline) => break,
                turn = self.replicas.turn.lock() => turn,
            };
            self.replicas.ask(wanted, deadline).await?;
            drop(turn);
        }
        let last = *answers.borrow();
        Ok(if last.covers >= number { self.known(last) } else { 0 })
    }

    fn known(&self, answer: Answer) -> u32 {
        if answer.connection == self.connection { answer.reached } else { 0 }
    }
}
