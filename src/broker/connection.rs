//! One connection to Dragonfly (or Redis, or Valkey), and the errors it gives.
//!
//! Promise: it reconnects by itself for ever, with jittered backoff; a command either answers or fails
//! within its time limit, and is never sent twice. Never shows the password.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use fred::{
    clients::Client,
    interfaces::{ClientLike, EventInterface},
    types::{
        Builder, CustomCommand, Value,
        config::{Config, ReconnectPolicy, TcpConfig, UnresponsiveConfig},
    },
};

use super::{
    pulse::{Open, Pulse, Sent},
    reply,
};
use crate::telemetry::metrics;

/// How long a command may take before it fails.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the server is.
#[derive(Clone)]
pub struct Address {
    config: Config,
    shown: String,
    pool_size: usize,
    /// Shared by every connection to this address and its clones.
    pulse: Arc<Pulse>,
}

impl Address {
    /// Reads `redis://` or `rediss://` (TLS) URLs; `password` fills in one that the URL lacks.
    ///
    /// # Errors
    /// Says what is wrong with the URL, without its password.
    pub fn parse(url: &str, password: Option<&str>) -> Result<Self, BrokerError> {
        let mut config = Config::from_url(url).map_err(|error| BrokerError::new("address", &error))?;
        if config.password.is_none() {
            config.password = password.map(str::to_owned);
        }
        config.fail_fast = true;
        let shown = config
            .server
            .hosts()
            .iter()
            .map(|host| format!("{}:{}", host.host, host.port))
            .collect::<Vec<_>>()
            .join(",");
        Ok(Self { config, shown, pool_size: 1, pulse: Arc::default() })
    }

    /// The same for connections that are a pool of so many, at least one.
    #[must_use]
    pub fn with_pool(&self, pool_size: usize) -> Self {
        Self { pool_size: pool_size.max(1), ..self.clone() }
    }

    /// Host and port, for messages.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    pub(super) fn builder(&self) -> Builder {
        let mut builder = Builder::from_config(self.config.clone());
        builder.set_policy(ReconnectPolicy::new_exponential(0, 50, 2_000, 2));
        builder.with_performance_config(|performance| {
            performance.default_command_timeout = COMMAND_TIMEOUT;
        });
        builder.with_connection_config(|connection| {
            connection.connection_timeout = COMMAND_TIMEOUT;
            connection.internal_command_timeout = COMMAND_TIMEOUT;
            // A command that was cut off may have run: whoever sent it decides whether it can be sent again.
            connection.max_command_attempts = 1;
            connection.unresponsive =
                UnresponsiveConfig { max_timeout: Some(COMMAND_TIMEOUT * 2), interval: Duration::from_secs(1) };
            connection.tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
        });
        builder
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

/// What the server said no to, or that it could not be asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{command}: {detail}")]
pub struct BrokerError {
    command: &'static str,
    kind: BrokerErrorKind,
    detail: String,
    /// Nothing else is answered either.
    of_silence: bool,
}

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerErrorKind {
    /// Not connected, cut off or out of time: the command may or may not have run.
    Unreachable,
    /// The stream or its group is gone: create the group, go on.
    NoGroup,
    /// The server's memory is full: nothing can be added until something is freed.
    OutOfMemory,
    /// The script has to be loaded again.
    NoScript,
    /// Anything else the server refused.
    Refused,
}

impl BrokerError {
    pub(super) fn new(command: &'static str, error: &fred::error::Error) -> Self {
        let detail = error.details();
        Self { command, kind: classify(error, detail), detail: readable(detail).to_owned(), of_silence: false }
    }

    pub(super) fn odd(command: &'static str, reply: &Value) -> Self {
        Self {
            command,
            kind: BrokerErrorKind::Refused,
            detail: format!("an unexpected reply of type {:?}", reply.kind()),
            of_silence: false,
        }
    }

    /// A refusal for want of memory that a script answered instead of failing.
    pub(crate) fn out_of_memory(command: &'static str) -> Self {
        let detail = "the server's memory is full".to_owned();
        Self { command, kind: BrokerErrorKind::OutOfMemory, detail, of_silence: false }
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> BrokerErrorKind {
        self.kind
    }

    /// Whether the server answers nobody: the observer says so, and no role has to.
    pub fn is_of_silence(&self) -> bool {
        self.of_silence
    }
}

/// The client library shows an error of the operating system as `Os { code: 111, kind: …, message: "…" }`.
fn readable(detail: &str) -> &str {
    let message = detail.split_once("message: \"").and_then(|(_, rest)| rest.split('"').next());
    message.filter(|_| detail.starts_with("Os {")).unwrap_or(detail)
}

/// By substring, not by prefix: Dragonfly puts `-ERR Error running script…` before a script's error code.
fn classify(error: &fred::error::Error, detail: &str) -> BrokerErrorKind {
    if !is_answer(error) {
        return BrokerErrorKind::Unreachable;
    }
    let has = |words: &[&str]| words.iter().any(|word| detail.contains(word));
    if has(&["NOSCRIPT"]) {
        BrokerErrorKind::NoScript
    } else if has(&["NOGROUP", "UNBLOCKED", "no such key"]) {
        BrokerErrorKind::NoGroup
    } else if has(&["Out of memory", "OOM "]) {
        BrokerErrorKind::OutOfMemory
    } else if has(&["LOADING", "MASTERDOWN", "READONLY"]) {
        BrokerErrorKind::Unreachable
    } else {
        BrokerErrorKind::Refused
    }
}

/// Whether the server itself said it.
fn is_answer(error: &fred::error::Error) -> bool {
    use fred::error::ErrorKind as Fred;
    let is_lost = matches!(
        error.kind(),
        Fred::IO | Fred::Timeout | Fred::Canceled | Fred::Backpressure | Fred::Tls | Fred::Routing
    );
    // Said, without a kind of its own, of a command that met a connection which was just lost.
    !is_lost && error.details() != "Failed to route command."
}

/// A connection, or a pool of them that take turns. Cheap to clone; clones share it, and commands sent together are
/// pipelined. What has to go the same way one after the other is sent through [`Connection::one`].
#[derive(Clone)]
pub struct Connection {
    clients: Arc<[Client]>,
    turn: Arc<AtomicUsize>,
    address: Address,
}

impl Connection {
    /// Connects, waiting at most the command time limit.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the password.
    pub async fn open(address: &Address) -> Result<Self, BrokerError> {
        let clients = futures::future::try_join_all((0..address.pool_size).map(|_| connect(address))).await?;
        Ok(Self { clients: clients.into(), turn: Arc::default(), address: address.clone() })
    }

    /// One of the pool's connections, always the same.
    #[must_use]
    pub fn one(&self) -> Self {
        Self { clients: Arc::new([self.client().clone()]), turn: Arc::default(), address: self.address.with_pool(1) }
    }

    fn client(&self) -> &Client {
        &self.clients[self.turn.fetch_add(1, Ordering::Relaxed) % self.clients.len()]
    }

    /// Where it leads.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether the server answers, as all connections to this address see it.
    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.address.pulse
    }

    /// Closes the connection once what was sent is answered.
    pub async fn close(&self) {
        let quit = futures::future::join_all(self.clients.iter().map(ClientLike::quit)).await;
        drop(quit); // a connection that is already gone is closed
    }

    /// Sends one command.
    ///
    /// # Errors
    /// What the server refused, or that it could not be asked.
    pub(crate) async fn call(&self, command: &'static str, args: Vec<Value>) -> Result<Value, BrokerError> {
        self.send(Sent::Command(command), command, args).await
    }

    /// Sends one command that loads or runs the script of this name.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub(super) async fn call_for(
        &self,
        script: &'static str,
        command: &'static str,
        args: Vec<Value>,
    ) -> Result<Value, BrokerError> {
        self.send(Sent::Script(script), command, args).await
    }

    /// Sends one command that may block at the server.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub(crate) async fn call_blocking(&self, command: &'static str, args: Vec<Value>) -> Result<Value, BrokerError> {
        let sent = self.client().custom::<Value, Value>(CustomCommand::new_static(command, None, true), args);
        // While it waits it is no sign of silence.
        let answered = Box::pin(sent).await;
        if answered.as_ref().err().is_none_or(is_answer) {
            self.pulse().heard(Instant::now());
        }
        answered.map_err(|error| self.failed(command, &error))
    }

    /// Sends the same command with many sets of arguments at once; gives the answers in the same order.
    ///
    /// # Errors
    /// As [`Connection::call`], the first of them; the others may have been carried out.
    pub(crate) async fn call_all(
        &self,
        command: &'static str,
        calls: impl Iterator<Item = Vec<Value>>,
    ) -> Result<Vec<Value>, BrokerError> {
        let failed = |error: fred::error::Error| self.failed(command, &error);
        let begun = Instant::now();
        let open = self.pulse().sent(Sent::Command(command), begun);
        let pipeline = self.client().pipeline();
        for args in calls {
            let queued = pipeline.custom::<(), Value>(CustomCommand::new_static(command, None, false), args);
            queued.await.map_err(failed)?;
        }
        let answered = pipeline.all().await;
        tell(open, answered.as_ref().err().is_none_or(is_answer));
        metrics::broker_called(command, begun.elapsed(), answered.is_ok());
        answered.map_err(failed)
    }

    /// Sends several commands at once; gives each one's answer, in the same order.
    ///
    /// # Errors
    /// When the server cannot be asked; some may have been carried out.
    pub(crate) async fn call_together(
        &self,
        calls: Vec<(&'static str, Vec<Value>)>,
    ) -> Result<Vec<Result<Value, BrokerError>>, BrokerError> {
        let begun = Instant::now();
        let pipeline = self.client().pipeline();
        let commands: Vec<&'static str> = calls.iter().map(|(command, _)| *command).collect();
        let open = self.pulse().sent(Sent::Command(commands.last().copied().unwrap_or_default()), begun);
        for (command, args) in calls {
            let queued = pipeline.custom::<(), Value>(CustomCommand::new_static(command, None, false), args);
            queued.await.map_err(|error| self.failed(command, &error))?;
        }
        let answers = Box::pin(pipeline.try_all::<Value>()).await;
        tell(open, answers.iter().any(|answer| answer.as_ref().err().is_none_or(is_answer)));
        let answers = answers.into_iter().zip(&commands);
        let answers: Vec<_> =
            answers.map(|(answer, command)| answer.map_err(|error| self.failed(command, &error))).collect();
        for (command, answer) in commands.iter().zip(&answers) {
            metrics::broker_called(command, begun.elapsed(), answer.is_ok());
        }
        Ok(answers)
    }

    /// Boxed: a call is as large as all that the client library may do for it, and would make what waits for it as large.
    async fn send(&self, what: Sent, command: &'static str, args: Vec<Value>) -> Result<Value, BrokerError> {
        let begun = Instant::now();
        let open = self.pulse().sent(what, begun);
        let sent = self.client().custom::<Value, Value>(CustomCommand::new_static(command, None, false), args);
        let answered = Box::pin(sent).await;
        tell(open, answered.as_ref().err().is_none_or(is_answer));
        metrics::broker_called(command, begun.elapsed(), answered.is_ok());
        answered.map_err(|error| self.failed(command, &error))
    }

    fn failed(&self, command: &'static str, error: &fred::error::Error) -> BrokerError {
        let error = BrokerError::new(command, error);
        let is_lost = error.kind == BrokerErrorKind::Unreachable;
        BrokerError { of_silence: is_lost && self.pulse().silence(Instant::now()).is_some(), ..error }
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// When none comes in time.
    pub async fn ping(&self) -> Result<(), BrokerError> {
        self.call("PING", Vec::new()).await.map(drop)
    }

    /// The server's clock, milliseconds since 1970.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn now_ms(&self) -> Result<u64, BrokerError> {
        let time = self.call("TIME", Vec::new()).await?;
        let parts = reply::array(&time);
        let part = |index| parts.get(index).and_then(reply::integer).and_then(|n| u64::try_from(n).ok());
        part(0)
            .zip(part(1))
            .map(|(seconds, micros)| seconds * 1000 + micros / 1000)
            .ok_or_else(|| BrokerError::odd("TIME", &time))
    }
}

fn tell(open: Open<'_>, is_answered: bool) {
    if is_answered { open.answered(Instant::now()) } else { open.failed() }
}

async fn connect(address: &Address) -> Result<Client, BrokerError> {
    let failed = |error: fred::error::Error| BrokerError::new("connect", &error);
    let client = address.builder().build().map_err(failed)?;
    client.init().await.map_err(failed)?;
    // Counted by a task of the client's own, which ends with it.
    drop(client.on_reconnect(|_| async {
        metrics::broker_reconnected();
        Ok(())
    }));
    Ok(client)
}

/// An argument of a command.
pub(crate) fn text(text: impl Into<String>) -> Value {
    Value::from(text.into())
}

/// An argument of a command.
pub(crate) fn bytes(bytes: Bytes) -> Value {
    Value::Bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fred::error::{Error, ErrorKind};

    #[test]
    fn errors_are_recognised_wherever_their_code_stands() {
        let kind = |text: &str| BrokerError::new("x", &Error::new(ErrorKind::Unknown, text.to_owned())).kind();
        assert_eq!(kind("NOGROUP No such key"), BrokerErrorKind::NoGroup);
        assert_eq!(
            kind("-ERR Error running script (call to abc): @user_script:3: -NOGROUP No such"),
            BrokerErrorKind::NoGroup
        );
        assert_eq!(kind("UNBLOCKED the stream key no longer exists"), BrokerErrorKind::NoGroup);
        assert_eq!(kind("-ERR Error running script: Out of memory"), BrokerErrorKind::OutOfMemory);
        assert_eq!(kind("OOM command not allowed"), BrokerErrorKind::OutOfMemory);
        assert_eq!(kind("NOSCRIPT No matching script"), BrokerErrorKind::NoScript);
        assert_eq!(kind("LOADING"), BrokerErrorKind::Unreachable);
        assert_eq!(kind("Failed to route command."), BrokerErrorKind::Unreachable);
        assert_eq!(kind("WRONGTYPE"), BrokerErrorKind::Refused);
    }

    #[test]
    fn an_error_of_the_system_is_told_in_words() {
        assert_eq!(
            readable("Os { code: 111, kind: ConnectionRefused, message: \"Connection refused\" }"),
            "Connection refused"
        );
        assert_eq!(readable("NOGROUP"), "NOGROUP");
    }

    #[test]
    fn an_address_never_shows_its_password() {
        let address = Address::parse("redis://:s3cret@localhost:6379/0", None).expect("a good URL");
        assert_eq!(format!("{address:?}"), "localhost:6379");
    }
}
